//! The folder that holds the state of one run: SQL, tables, the record log, objects.
//!
//! The folder is locked while it is open, because the embedded stores support one process only. The
//! operating system releases the lock when the process ends, even after a crash, so there is
//! nothing to clean up.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// An open, locked data folder.
pub struct DataFolder {
    path: PathBuf,
    lock: File,
    removed_on_drop: Option<tempfile::TempDir>,
}

impl DataFolder {
    /// Opens the folder and creates it if it is missing.
    ///
    /// # Errors
    /// [`DataFolderError::Locked`] when another run holds it; [`DataFolderError::Unusable`] when it
    /// cannot be written.
    pub fn open(path: &Path) -> Result<Self, DataFolderError> {
        let unusable = |source| DataFolderError::Unusable {
            path: path.to_owned(),
            source,
        };
        std::fs::create_dir_all(path).map_err(unusable)?;

        let path = path.canonicalize().map_err(unusable)?;
        let lock = lock(&path)?;
        Ok(Self {
            path,
            lock,
            removed_on_drop: None,
        })
    }

    /// Opens a new folder that is removed when it is dropped.
    ///
    /// # Errors
    /// [`DataFolderError::Unusable`] when the system's temporary folder cannot be written.
    pub fn ephemeral() -> Result<Self, DataFolderError> {
        let unusable = |source| DataFolderError::Unusable {
            path: std::env::temp_dir(),
            source,
        };

        let folder = tempfile::Builder::new()
            .prefix("tidemark-")
            .tempdir()
            .map_err(unusable)?;
        let mut opened = Self::open(folder.path())?;
        opened.removed_on_drop = Some(folder);

        Ok(opened)
    }

    /// Returns `true` if the folder is removed when it is dropped.
    pub fn is_ephemeral(&self) -> bool {
        self.removed_on_drop.is_some()
    }

    /// Returns the canonical path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataFolder {
    /// Ends the lock. Closing the file would not always end it: a child process has a copy of the
    /// file from its fork until its exec, and the lock lasts as long as any copy.
    fn drop(&mut self) {
        if let Err(failed) = self.lock.unlock() {
            tracing::warn!(error = %failed, "cannot unlock the data folder");
        }
    }
}

/// Locks the folder and writes this process's id into the lock file, for the error message of a
/// second process.
fn lock(folder: &Path) -> Result<File, DataFolderError> {
    let path = folder.join("lock");
    let unusable = |source: io::Error| DataFolderError::Unusable {
        path: path.clone(),
        source,
    };

    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(unusable)?;

    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(unusable)?;
            return Err(DataFolderError::Locked {
                path: folder.to_owned(),
                holder: holder.trim().to_owned(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }

    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(unusable)?;

    Ok(file)
}

/// Returns the default path: `tidemark` in the user's data folder, as in the XDG base directory
/// specification.
pub fn default_path() -> PathBuf {
    let data_home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    data_home
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/share")))
        .unwrap_or_else(std::env::temp_dir)
        .join("tidemark")
}

/// The reason why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// Another run holds the lock.
    #[error("the data folder {} is in use by process {holder}; stop that one, or name another with --data", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The id of the process that holds it.
        holder: String,
    },
    /// The folder cannot be created or written.
    #[error("the data folder {} cannot be used: {source}; name another with --data", path.display())]
    Unusable {
        /// The path that could not be used.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_refused_and_told_who_has_the_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let held = DataFolder::open(scratch.path()).unwrap();
        let refused = DataFolder::open(scratch.path()).err().unwrap().to_string();

        assert!(
            refused.contains(&std::process::id().to_string()) && refused.contains("--data"),
            "{refused}"
        );

        let _copy_of_a_child = held.lock.try_clone().unwrap();
        drop(held);
        DataFolder::open(scratch.path()).unwrap();
    }

    #[test]
    fn an_ephemeral_folder_leaves_nothing_behind() {
        let folder = DataFolder::ephemeral().unwrap();
        let path = folder.path().to_owned();
        std::fs::write(path.join("state"), b"x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
