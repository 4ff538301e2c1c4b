//! The folder for downloads of the harness, and for its servers' data.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Result, io_error};

/// `$TIDEMARK_CACHE`, or `tidemark` in the user's cache directory.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the cache, creating its folder.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn open() -> Result<Self> {
        let root = std::env::var_os("TIDEMARK_CACHE").map_or_else(user_cache, PathBuf::from);
        std::fs::create_dir_all(&root).map_err(io_error(format!("creating {}", root.display())))?;
        let root = root
            .canonicalize()
            .map_err(io_error(format!("finding {}", root.display())))?;
        Ok(Self { root })
    }

    /// Returns the folder of this name, which stays.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Returns a new folder that is deleted when the value is dropped.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn scratch(&self, purpose: &str) -> Result<TempDir> {
        let runs = self.root.join("runs");
        std::fs::create_dir_all(&runs).map_err(io_error(format!("creating {}", runs.display())))?;
        let prefix = format!("{purpose}-");

        tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(&runs)
            .map_err(io_error("creating a scratch folder"))
    }
}

fn user_cache() -> PathBuf {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let usual = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    named
        .or_else(usual)
        .unwrap_or_else(std::env::temp_dir)
        .join("tidemark")
}
