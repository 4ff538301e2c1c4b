//! The address of an object store: `file:///folder`, `gs://bucket/prefix`, `s3://bucket/prefix` or `memory:///`.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore};

/// A folder in an object store.
pub struct Address {
    /// The store.
    pub objects: Arc<dyn ObjectStore>,
    /// The folder.
    pub root: Path,
}

/// Opens the store at `url`. A folder of this machine is created if it is missing. Credentials and regions come from the
/// cloud's usual environment variables.
///
/// # Errors
/// The store's reason.
pub fn open(url: &str) -> object_store::Result<Address> {
    let parsed = url::Url::parse(url).map_err(|error| generic(error.into()))?;

    if let Some(folder) = folder_of(&parsed) {
        std::fs::create_dir_all(&folder).map_err(|error| generic(error.into()))?;
        let objects = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        return Ok(Address {
            objects: Arc::new(objects),
            root: Path::default(),
        });
    }

    let environment = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let (objects, root) = object_store::parse_url_opts(&parsed, environment)?;
    Ok(Address {
        objects: objects.into(),
        root,
    })
}

/// Returns the folder of this machine that `url` names, if it does not exist.
pub fn missing_folder(url: &str) -> Option<PathBuf> {
    let folder = folder_of(&url::Url::parse(url).ok()?)?;
    (!folder.is_dir()).then_some(folder)
}

fn folder_of(url: &url::Url) -> Option<PathBuf> {
    (url.scheme() == "file").then(|| url.to_file_path().ok())?
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic {
        store: "checkpoints",
        source,
    }
}
