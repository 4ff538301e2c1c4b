//! Jars from Maven Central, cached by the content of the pom that lists them.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::debian::{self, JAVA};
use super::{Cache, CounterpartError, Result, io_error};

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// Returns the folder with the jars of the pom; they are fetched if they are missing.
///
/// # Errors
/// If Maven is missing or cannot fetch them.
pub fn jars(cache: &Cache, name: &str, pom: &str) -> Result<PathBuf> {
    cached(cache, name, pom, None)
}

/// As [`jars`]. Jars are kept only if they have this digest.
///
/// # Errors
/// If Maven is missing or cannot fetch them, or they do not have the expected digest.
pub fn pinned_jars(cache: &Cache, name: &str, pom: &str, sha256: &str) -> Result<PathBuf> {
    cached(cache, name, pom, Some(sha256))
}

fn cached(cache: &Cache, name: &str, pom: &str, sha256: Option<&str>) -> Result<PathBuf> {
    let folder = cache
        .folder("jars")
        .join(format!("{name}-{:08x}", crc32fast::hash(pom.as_bytes())));
    if folder.exists() {
        return Ok(folder);
    }

    let scratch = cache.scratch("jars")?;
    let fetched = fetch(name, pom, scratch.path())?;
    if let Some(sha256) = sha256 {
        check(name, &fetched, sha256)?;
    }

    let parent = folder.parent().expect("the folder was joined to one");
    std::fs::create_dir_all(parent).map_err(io_error(format!("creating {}", parent.display())))?;
    match std::fs::rename(&fetched, &folder) {
        Err(_) if folder.exists() => {} // Another run was first: its jars are the same.
        renamed => renamed.map_err(io_error(format!("moving jars to {}", folder.display())))?,
    }

    Ok(folder)
}

/// Fetches into a temporary folder, so that an existing cache entry is always complete.
fn fetch(name: &str, pom: &str, scratch: &Path) -> Result<PathBuf> {
    debian::provision(JAVA)?;
    println!("{name}: fetching jars from Maven Central");
    let pom_file = scratch.join("pom.xml");
    let jars = scratch.join("jars");
    std::fs::write(&pom_file, pom).map_err(io_error("writing a pom"))?;

    let mut mvn = Command::new("mvn");
    mvn.args(["--quiet", "--batch-mode", COPY])
        .arg("--file")
        .arg(&pom_file);
    mvn.arg(format!("-DoutputDirectory={}", jars.display()));
    debian::run("mvn", mvn)?;
    Ok(jars)
}

fn check(name: &str, folder: &Path, expected: &str) -> Result<()> {
    let found = digest(folder).map_err(io_error(format!("reading {}", folder.display())))?;
    if found == expected {
        return Ok(());
    }
    Err(CounterpartError::Unexpected {
        name: name.to_owned(),
        expected: expected.to_owned(),
        found,
    })
}

/// Returns the SHA-256 of the names and the SHA-256 of the files in a folder, sorted by name.
fn digest(folder: &Path) -> std::io::Result<String> {
    let mut files = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);

    let mut all = Sha256::new();
    for file in files {
        all.update(file.file_name().as_encoded_bytes());
        all.update(b"\n");
        all.update(Sha256::digest(std::fs::read(file.path())?));
    }

    Ok(all
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::digest;

    #[test]
    fn a_digest_depends_on_names_and_bytes_alone() {
        let folder_of = |files: &[(&str, &str)]| {
            let folder = TempDir::new().unwrap();
            for (name, content) in files {
                std::fs::write(folder.path().join(name), content).unwrap();
            }
            digest(folder.path()).unwrap()
        };

        let expected = folder_of(&[("a.jar", "1"), ("b.jar", "2")]);
        assert_eq!(folder_of(&[("b.jar", "2"), ("a.jar", "1")]), expected);
        assert_eq!(expected.len(), 64);

        for other in [
            &[("a.jar", "1"), ("b.jar", "3")][..],
            &[("a.jar", "1"), ("c.jar", "2")],
            &[("a.jar", "2"), ("b.jar", "1")],
            &[("a.jar", "1")],
        ] {
            assert_ne!(folder_of(other), expected, "{other:?}");
        }
    }
}
