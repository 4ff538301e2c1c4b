//! The programs under test: the binaries that were built together with this harness.

use std::path::PathBuf;

/// The error for a missing binary.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not built; `cargo build --release --workspace` builds it")]
pub struct NotBuilt(PathBuf);

/// Returns the binary `name` of the same target folder and profile as the running program.
///
/// # Errors
/// [`NotBuilt`].
pub fn find(name: &str) -> Result<PathBuf, NotBuilt> {
    let ours = std::env::current_exe().unwrap_or_default();
    // Tests run from a folder below the one with the binaries.
    let found = ours
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    found.ok_or_else(|| NotBuilt(ours.with_file_name(name)))
}
