//! The programs under test: the binaries that were built together with this harness.

use std::path::PathBuf;

/// A binary is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not built; `cargo build --release --workspace` builds it")]
pub struct NotBuilt(PathBuf);

/// The binary `name` of the same target folder and profile as the running program.
///
/// # Errors
/// [`NotBuilt`].
pub fn find(name: &str) -> Result<PathBuf, NotBuilt> {
    let ours = std::env::current_exe().unwrap_or_default();
    // Tests run from a folder below the one that holds the binaries.
    let found = ours
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    found.ok_or_else(|| NotBuilt(ours.with_file_name(name)))
}
