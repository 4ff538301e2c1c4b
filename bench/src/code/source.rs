//! The source files of the workspace's crates, read and parsed once.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::CodeError;

/// A crate of the workspace.
pub struct Crate {
    /// The package's name.
    pub name: String,
    /// The package's folder.
    pub folder: PathBuf,
    /// The files below `src`, in the order of their paths.
    pub files: Vec<SourceFile>,
}

/// A file of a crate.
pub struct SourceFile {
    /// The path below `src`.
    pub path: String,
    /// The path of the file's module from the root of its crate; empty for `lib.rs` and `main.rs`.
    pub module: Vec<String>,
    /// The text.
    pub text: String,
    /// The items, without those of tests.
    pub items: Vec<syn::Item>,
    /// The modules of tests that the file declares.
    test_modules: Vec<Vec<String>>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

impl Package {
    /// Returns the folder of its sources. A package of tests has none.
    fn sources(&self) -> PathBuf {
        self.manifest_path.with_file_name("src")
    }
}

/// Reads all crates of the workspace that this program was built in, except packages of tests.
///
/// # Errors
/// [`CodeError::Metadata`], [`CodeError::Unreadable`], [`CodeError::Unparsable`].
pub fn read_workspace() -> Result<Vec<Crate>, CodeError> {
    let metadata = metadata()?;

    let packages = metadata.packages.into_iter();
    let with_sources = packages.filter(|package| package.sources().is_dir());
    with_sources.map(read_crate).collect()
}

fn metadata() -> Result<Metadata, CodeError> {
    let output = Command::new("cargo")
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .map_err(|error| CodeError::Metadata(error.to_string()))?;

    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(CodeError::Metadata(reason));
    }

    serde_json::from_slice(&output.stdout).map_err(|error| CodeError::Metadata(error.to_string()))
}

fn read_crate(package: Package) -> Result<Crate, CodeError> {
    let root = package.sources();
    let mut paths = Vec::new();
    find_files(&root, &mut paths)?;
    paths.sort();

    let files = paths.iter().map(|path| read_file(&root, path));
    Ok(Crate {
        name: package.name,
        folder: package.manifest_path.with_file_name(""),
        files: without_tests(files.collect::<Result<_, _>>()?),
    })
}

/// Leaves out the files of modules that are compiled for tests only.
fn without_tests(mut files: Vec<SourceFile>) -> Vec<SourceFile> {
    let declared = files.iter().flat_map(|file| file.test_modules.clone());
    let declared: Vec<Vec<String>> = declared.collect();

    files.retain(|file| {
        !declared
            .iter()
            .any(|module| file.module.starts_with(module))
    });
    files
}

fn find_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), CodeError> {
    let unreadable = |source| CodeError::Unreadable {
        path: folder.display().to_string(),
        source,
    };

    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            find_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }

    Ok(())
}

fn read_file(root: &Path, path: &Path) -> Result<SourceFile, CodeError> {
    let name = path
        .strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string();

    let text = std::fs::read_to_string(path).map_err(|source| CodeError::Unreadable {
        path: name.clone(),
        source,
    })?;

    parse(&name, text).map_err(|source| CodeError::Unparsable { path: name, source })
}

fn parse(path: &str, text: String) -> Result<SourceFile, syn::Error> {
    let items = syn::parse_file(&text)?.items;
    let (tests, items): (Vec<_>, Vec<_>) = items.into_iter().partition(is_test);

    let module = module_of(path);
    let test_modules = tests.iter().filter_map(|item| match item {
        syn::Item::Mod(declared) => {
            let name = declared.ident.to_string();
            Some([&module[..], &[name]].concat())
        }
        _ => None,
    });

    Ok(SourceFile {
        path: path.to_owned(),
        test_modules: test_modules.collect(),
        module,
        text,
        items,
    })
}

/// Returns the path of a file's module.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs");
    let segments = path.split('/').filter(|segment| *segment != "mod");
    let module: Vec<String> = segments.map(str::to_owned).collect();

    match &*module {
        [root] if root == "lib" || root == "main" => Vec::new(),
        _ => module,
    }
}

/// Returns `true` if an item is compiled for tests only.
fn is_test(item: &syn::Item) -> bool {
    let syn::Item::Mod(module) = item else {
        return false;
    };

    module.attrs.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|condition| condition == "test")
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Returns a crate named `shop` of the given files.
    pub fn member(files: &[(&str, &str)]) -> Crate {
        let files = files
            .iter()
            .map(|(path, text)| parse(path, (*text).to_owned()).unwrap());
        Crate {
            name: "shop".to_owned(),
            folder: PathBuf::new(),
            files: without_tests(files.collect()),
        }
    }

    #[test]
    fn a_file_is_the_module_of_its_path() {
        assert_eq!(module_of("lib.rs"), Vec::<String>::new());
        assert_eq!(module_of("a.rs"), ["a"]);
        assert_eq!(module_of("a/b.rs"), ["a", "b"]);
        assert_eq!(module_of("a/mod.rs"), ["a"]);
    }

    #[test]
    fn items_of_tests_are_left_out() {
        let files = member(&[(
            "lib.rs",
            "struct A; #[cfg(test)] mod tests {} #[cfg(unix)] mod unix {}",
        )]);
        assert_eq!(files.files[0].items.len(), 2);
    }

    #[test]
    fn files_of_tests_are_left_out() {
        let files = member(&[
            ("lib.rs", "mod a; #[cfg(test)] mod broker;"),
            ("a.rs", "#[cfg(test)] mod tests;"),
            ("a/tests.rs", "mod deep;"),
            ("a/tests/deep.rs", ""),
            ("broker.rs", ""),
            ("tests.rs", ""),
        ]);
        let paths: Vec<&str> = files.files.iter().map(|file| &*file.path).collect();
        assert_eq!(paths, ["lib.rs", "a.rs", "tests.rs"]);
    }

    #[test]
    fn the_workspace_is_read() {
        let crates = read_workspace().unwrap();
        let engine = crates.iter().find(|member| member.name == "stream");
        let files = &engine.unwrap().files;
        assert!(files.iter().any(|file| file.path == "dataflow.rs"));
    }
}
