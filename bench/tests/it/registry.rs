//! Tests that the libraries of `stream/` can be packed for a registry.

use std::process::Command;

use crate::architecture::{Package, packages, root};

/// Returns the metadata that a registry or its readers would miss in a package.
fn unfit_for_a_registry(package: &Package) -> Vec<String> {
    let fields = [
        ("description", package.description.is_some()),
        ("keywords", (1..=5).contains(&package.keywords.len())),
        ("categories", (1..=5).contains(&package.categories.len())),
        ("repository", package.repository.is_some()),
        ("documentation", package.documentation.is_some()),
        ("license", package.license.is_some()),
        ("rust-version", package.rust_version.is_some()),
        (
            "publish",
            package.publish.as_ref().is_none_or(|to| !to.is_empty()),
        ),
    ];
    let missing = fields.iter().filter(|(_, is_there)| !is_there);
    let mut found: Vec<String> = missing.map(|(name, _)| (*name).to_owned()).collect();

    let folder = package.manifest_path.parent().unwrap();
    let readme = package.readme.as_ref().map(|readme| folder.join(readme));
    if !readme.is_some_and(|readme| readme.is_file()) {
        found.push("readme".to_owned());
    }

    let linked = package.dependencies.iter();
    let without_version = linked.filter(|one| one.kind.is_none() && one.req == "*");
    found.extend(without_version.map(|one| format!("the version of {}", one.name)));
    found
}

#[test]
fn the_libraries_have_all_that_a_registry_needs() {
    let packages = packages();
    for name in ["record-log", "stream", "stream-cli"] {
        let package = packages
            .iter()
            .find(|package| package.name == name)
            .unwrap();
        assert_eq!(
            unfit_for_a_registry(package),
            Vec::<String>::new(),
            "{name}"
        );

        let linked = package.dependencies.iter().filter(|one| one.kind.is_none());
        for dependency in linked {
            let ours = packages.iter().find(|ours| ours.name == dependency.name);
            let is_kept_back = |ours: &Package| ours.publish.as_ref().is_some_and(Vec::is_empty);
            assert!(
                !ours.is_some_and(is_kept_back),
                "{name} needs {}",
                dependency.name
            );
        }
    }

    let service = packages
        .iter()
        .find(|package| package.name == "orders")
        .unwrap();
    assert!(unfit_for_a_registry(service).contains(&"publish".to_owned()));
}

#[test]
fn a_package_of_a_library_has_its_sources_and_its_readme() {
    for name in ["record-log", "stream", "stream-cli"] {
        let output = Command::new("cargo")
            .args([
                "package",
                "--list",
                "--offline",
                "--allow-dirty",
                "-p",
                name,
            ])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");

        let list = String::from_utf8(output.stdout).unwrap();
        for file in ["README.md", "src/lib.rs", "Cargo.toml"] {
            assert!(
                list.lines().any(|line| line == file),
                "{name} has no {file}: {list}"
            );
        }
    }
}
