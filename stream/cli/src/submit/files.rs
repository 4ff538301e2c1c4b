//! The files that a plan writes on this machine. A file has its final path only when it is complete.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Copies a file to a path that contains the hash of its content. A file with that path has the same content, so it is not
/// written again.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        return Ok(());
    }

    fs::create_dir_all(to.parent().unwrap_or(Path::new("/")))?;

    // A copy that was interrupted never has the final path.
    let partial = to.with_extension(format!("partial-{}", std::process::id()));
    fs::copy(from, &partial)?;
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o755))?;
    fs::rename(partial, to)
}

/// Writes a file that only its owner may read.
pub fn write_own(path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    let partial = path.with_extension("partial");

    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(partial, path)
}
