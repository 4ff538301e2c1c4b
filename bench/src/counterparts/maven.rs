//! Jars from Maven Central, cached by the content of the pom that lists them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::debian::{self, JAVA};
use super::{Cache, Result, io_error};

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// Returns the folder with the jars of the pom; they are fetched if they are missing.
///
/// # Errors
/// If Maven is missing or cannot fetch them.
pub fn jars(cache: &Cache, name: &str, pom: &str) -> Result<PathBuf> {
    let folder = cache
        .folder("jars")
        .join(format!("{name}-{:08x}", crc32fast::hash(pom.as_bytes())));
    if !folder.exists() {
        fetch(cache, name, pom, &folder)?;
    }

    Ok(folder)
}

/// Fetches into a temporary folder first, so that an existing cache entry is always complete.
fn fetch(cache: &Cache, name: &str, pom: &str, folder: &Path) -> Result<()> {
    debian::provision(JAVA)?;
    println!("{name}: fetching jars from Maven Central");
    let scratch = cache.scratch("jars")?;
    let pom_file = scratch.path().join("pom.xml");
    let jars = scratch.path().join("jars");
    std::fs::write(&pom_file, pom).map_err(io_error("writing a pom"))?;

    let mut mvn = Command::new("mvn");
    mvn.args(["--quiet", "--batch-mode", COPY])
        .arg("--file")
        .arg(&pom_file);
    mvn.arg(format!("-DoutputDirectory={}", jars.display()));
    debian::run("mvn", mvn)?;

    let parent = folder.parent().expect("the folder was joined to one");
    std::fs::create_dir_all(parent).map_err(io_error(format!("creating {}", parent.display())))?;
    match std::fs::rename(&jars, folder) {
        Err(_) if folder.exists() => Ok(()), // Another run was first: its jars are the same.
        renamed => renamed.map_err(io_error(format!("moving jars to {}", folder.display()))),
    }
}
