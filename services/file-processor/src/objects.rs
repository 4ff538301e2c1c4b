//! The object store: a folder or a bucket. Files are below `uploads/`; objects derived from them are
//! below `thumbnails/` and `bad-rows/`.
//!
//! A file is read in ranges, each with the condition that the object still has the version that is
//! processed. A failed range is retried alone. If the object is replaced meanwhile, the read fails
//! instead of mixing two versions.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use events::Timestamp;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::chunks::{Chunk, Stop};

/// Prefix of the files.
pub const UPLOADS: &str = "uploads/";
/// Prefix of the thumbnails, which are not processed as files.
pub const THUMBNAILS: &str = "thumbnails/";
/// Prefix of the bad rows of CSV files.
pub const BAD_ROWS: &str = "bad-rows/";

/// Size of a range, in bytes.
const RANGE_BYTES: u64 = 4 << 20;
/// Number of fetched ranges that wait for the reader. One more is being fetched.
const RANGES_AHEAD: usize = 1;
/// Size of a part of an upload, in bytes. S3 accepts no smaller parts, except the last.
const PART_BYTES: usize = 5 << 20;
/// Number of parts in flight at the same time.
const PARTS_AT_ONCE: usize = 2;

/// The store. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    root: Path,
    /// The folder of this machine that is the store, if it is one.
    folder: Option<PathBuf>,
}

/// One version of one object.
#[derive(Clone, Debug)]
pub struct Object {
    /// The key.
    pub key: String,
    /// Its size.
    pub size_bytes: u64,
    /// The time of the upload.
    pub uploaded_at: Timestamp,
    /// The name of this version, for people and ids.
    pub version: String,
    path: Path,
    e_tag: Option<String>,
    version_id: Option<String>,
}

/// The pieces of an object, for a thread that may block. Fetching ends when this value is dropped.
pub struct Pieces {
    /// The receiving end.
    pub chunks: mpsc::Receiver<Chunk>,
    /// The fetching end.
    pub fetching: Fetching,
}

/// Stops the fetching when it is dropped.
pub struct Fetching(JoinHandle<()>);

/// The error if a URL does not name a usable object store.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {url:?} for files: {source}")]
pub struct AddressError {
    url: String,
    source: object_store::Error,
}

/// The reason why an upload failed. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum UploadError<E> {
    /// The source of the bytes failed.
    #[error("the source of the upload failed")]
    Source(E),
    /// The store failed.
    #[error(transparent)]
    Objects(#[from] object_store::Error),
}

impl Objects {
    /// Opens the store at `url`: `file:///folder`, `s3://bucket` or `gs://bucket`. Credentials and
    /// regions come from the cloud's usual environment variables.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn open(url: &str) -> Result<Self, AddressError> {
        let refused = |source| AddressError {
            url: url.to_owned(),
            source,
        };

        let generic = |source: Box<dyn std::error::Error + Send + Sync>| {
            refused(object_store::Error::Generic {
                store: "files",
                source,
            })
        };
        let parsed = url::Url::parse(url).map_err(|error| generic(error.into()))?;

        if let ("file", Ok(folder)) = (parsed.scheme(), parsed.to_file_path()) {
            std::fs::create_dir_all(folder.join(UPLOADS)).map_err(|error| generic(error.into()))?;
            let store = LocalFileSystem::new_with_prefix(&folder)
                .map_err(refused)?
                .with_fsync(true);

            return Ok(Self {
                store: Arc::new(store),
                root: Path::default(),
                folder: Some(folder),
            });
        }

        let environment = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (store, root) = object_store::parse_url_opts(&parsed, environment).map_err(refused)?;
        Ok(Self {
            store: store.into(),
            root,
            folder: None,
        })
    }

    /// Returns the folder of this machine that is the store, or `None` for a bucket. A folder sends no
    /// notifications.
    pub fn folder(&self) -> Option<&std::path::Path> {
        self.folder.as_deref()
    }

    /// Returns the object at `key`, in the version `version_id` if one is given, or `None` if it
    /// does not exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(
        &self,
        key: &str,
        version_id: Option<&str>,
    ) -> Result<Option<Object>, object_store::Error> {
        let Ok(path) = self.path(key) else {
            return Ok(None);
        };

        let asked = GetOptions {
            head: true,
            version: version_id.map(str::to_owned),
            ..GetOptions::default()
        };

        match self.store.get_opts(&path, asked).await {
            Ok(found) => Ok(Some(Object::new(key, found.meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the first `length` bytes, or the whole object if it is shorter.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn head(&self, object: &Object, length: u64) -> Result<Bytes, object_store::Error> {
        self.range(object, 0..length.min(object.size_bytes)).await
    }

    /// Starts to fetch the object from beginning to end.
    pub fn fetch(&self, object: &Object) -> Pieces {
        let (sender, chunks) = mpsc::channel(RANGES_AHEAD);
        let objects = self.clone();
        let object = object.clone();

        let fetching = tokio::spawn(async move {
            let mut at = 0;
            while at < object.size_bytes {
                let end = (at + RANGE_BYTES).min(object.size_bytes);
                let chunk = objects.range(&object, at..end).await.map_err(Stop::from);
                let is_failure = chunk.is_err();

                if sender.send(chunk).await.is_err() || is_failure {
                    return;
                }

                at = end;
            }
        });

        Pieces {
            chunks,
            fetching: Fetching(fetching),
        }
    }

    async fn range(
        &self,
        object: &Object,
        range: Range<u64>,
    ) -> Result<Bytes, object_store::Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }

        let asked = GetOptions {
            if_match: object.e_tag.clone(),
            version: object.version_id.clone(),
            range: Some(range.into()),
            ..GetOptions::default()
        };

        self.store
            .get_opts(&object.path, asked)
            .await?
            .bytes()
            .await
    }

    /// Writes `bytes` to `key`. Replaces an existing object.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), object_store::Error> {
        self.store
            .put(&self.path(key)?, bytes.into())
            .await
            .map(drop)
    }

    /// Writes the pieces of a stream to `key`.
    ///
    /// # Errors
    /// When the source or the store fails; nothing is at `key` then.
    pub async fn upload<E>(
        &self,
        key: &str,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Object, UploadError<E>> {
        let path = self.path(key).map_err(object_store::Error::from)?;
        let upload = self.store.put_multipart(&path).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut size_bytes = 0;
        let mut pieces = std::pin::pin!(pieces);

        while let Some(piece) = pieces.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    upload.abort().await?;
                    return Err(UploadError::Source(error));
                }
            };
            size_bytes += piece.len() as u64;
            if let Err(error) = upload.wait_for_capacity(PARTS_AT_ONCE).await {
                upload.abort().await?;
                return Err(error.into());
            }
            upload.put(piece);
        }

        let put = upload.finish().await?;
        let meta = ObjectMeta {
            location: path,
            last_modified: std::time::SystemTime::now().into(),
            size: size_bytes,
            e_tag: put.e_tag,
            version: put.version,
        };

        Ok(Object::new(key, meta))
    }

    /// Returns every file.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn uploads(&self) -> Result<Vec<Object>, object_store::Error> {
        let found: Vec<ObjectMeta> = self
            .store
            .list(Some(&self.path(UPLOADS)?))
            .try_collect()
            .await?;

        let objects = found
            .into_iter()
            .map(|meta| Object::new(&self.key(&meta.location), meta));

        Ok(objects.collect())
    }

    fn path(&self, key: &str) -> Result<Path, object_store::path::Error> {
        Path::parse(format!("{}/{key}", self.root))
    }

    fn key(&self, path: &Path) -> String {
        let path = path.as_ref();
        path.strip_prefix(self.root.as_ref())
            .unwrap_or(path)
            .trim_start_matches('/')
            .to_owned()
    }
}

impl Object {
    fn new(key: &str, meta: ObjectMeta) -> Self {
        let uploaded_at = u64::try_from(meta.last_modified.timestamp_millis())
            .ok()
            .and_then(Timestamp::from_ms);

        let tag = meta
            .e_tag
            .as_deref()
            .map(|tag| tag.trim_matches('"').to_owned());

        Self {
            key: key.to_owned(),
            size_bytes: meta.size,
            uploaded_at: uploaded_at.unwrap_or_else(Timestamp::now),
            version: meta.version.clone().or(tag).unwrap_or_default(),
            path: meta.location,
            e_tag: meta.e_tag,
            version_id: meta.version,
        }
    }
}

#[cfg(test)]
impl Object {
    /// Returns an object without content, for tests of decisions about objects.
    pub fn for_test(key: &str, version: &str, changed_at: Timestamp) -> Self {
        Self {
            key: key.to_owned(),
            size_bytes: 0,
            uploaded_at: changed_at,
            version: version.to_owned(),
            path: Path::default(),
            e_tag: None,
            version_id: None,
        }
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.abort();
    }
}
