//! Tests that the two commands of the README and the tests compile each dependency once.

use std::collections::BTreeSet;
use std::process::Command;

/// Returns the dependencies that cargo compiles for a selection of packages, each with its
/// features.
fn dependencies(selection: &[&str]) -> BTreeSet<String> {
    let output = Command::new("cargo")
        .args(["tree", "--locked", "--offline", "--prefix", "none"])
        .args(["--format", "{p} {f}"])
        .args(selection)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");

    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text
        .lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned());
    lines.collect()
}

#[test]
fn programs_harness_and_tests_share_each_dependency() {
    let all = dependencies(&["--workspace", "--edges", "normal,build,dev"]);
    assert!(
        all.len() > 100,
        "the whole workspace has {} dependencies",
        all.len()
    );

    for program in ["platform", "bench"] {
        let own = dependencies(&["--package", program, "--edges", "normal,build"]);
        let twice: Vec<_> = own.difference(&all).collect();
        assert!(
            own.len() > 100 && twice.is_empty(),
            "{program} and the tests compile these with different features: {twice:#?}"
        );
    }
}
