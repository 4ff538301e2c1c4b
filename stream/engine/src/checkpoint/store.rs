//! The checkpoints of one job in an object store: create-only objects. Operations are retried until
//! the store answers.
//!
//! ```text
//! {job}/attempts/{attempt}                     empty; its creator owns the attempt
//! {job}/parts/{attempt}-{worker}-{first}-{last}
//! {job}/parts/{attempt}-m{merge}-{first}-{last}
//! {job}/manifests/{attempt}-{boundary}.json
//! ```
//!
//! Invariants: no object is overwritten. A create whose reply was lost is tried again; it
//! has succeeded if the object exists with the same bytes.
//!
//! Requests to a store that does not answer are repeated without limit. If it refuses the credentials
//! or the right (401, 403), they are repeated for a minute: tokens are renewed and granted rights take
//! effect with a delay. A request that no retry can mend, such as one with an invalid name, fails at
//! once.

pub mod address;
pub mod failure;
mod manifest_id;
pub mod trial;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use self::address::Address;
use self::failure::Failure;
pub use self::manifest_id::ManifestId;
use crate::checkpoint::manifest::Manifest;

/// The reason why an object could not be created, read or listed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address does not name an object store.
    #[error("cannot use {url:?} for checkpoints: {source}")]
    Address {
        /// The address.
        url: String,
        /// The reason why it cannot be used.
        source: object_store::Error,
    },
    /// The folder of existing checkpoints does not exist.
    #[error(
        "there is no folder {}: correct --checkpoints, or create the folder if its checkpoints are lost",
        .0.display()
    )]
    NoFolder(PathBuf),
    /// Another process has created the object with other content.
    #[error("{0} exists already with other content: another process runs the same job")]
    Taken(Path),
    /// The store refuses the operation: at once, or for as long as the refusal was given to pass.
    #[error("the object store refuses {path}: {source}")]
    Refused {
        /// The object.
        path: Path,
        /// The store's reason.
        source: object_store::Error,
    },
    /// The object is not there.
    #[error("{0} is missing")]
    Missing(Path),
}

/// The checkpoints of one job.
#[derive(Clone)]
pub struct CheckpointStore {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    job: String,
    refusal_limit: Duration,
    /// The number of requests that were repeated.
    retries: Arc<AtomicU64>,
}

/// Everything that a job has in the store, as listings show it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Contents {
    /// The attempts that were claimed and whose markers are not deleted, in order.
    pub attempts: Vec<u64>,
    /// The manifests, the newest first, each with the time when it was written (milliseconds since
    /// the epoch).
    pub manifests: Vec<(ManifestId, u64)>,
    /// The parts' sizes in bytes, by name.
    pub parts: BTreeMap<String, u64>,
}

/// The first and the last delay between retries when the store does not answer; the delay doubles
/// in between.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(5);
/// The time for which refused credentials and rights are tried again.
const REFUSAL_LIMIT: Duration = Duration::from_secs(60);

impl CheckpointStore {
    /// Opens the checkpoints of `job` at `url`: `file:///folder`, `gs://bucket/prefix`,
    /// `s3://bucket/prefix` or `memory:///`. Credentials and regions come from the cloud's usual
    /// environment variables.
    ///
    /// # Errors
    /// [`StoreError::Address`].
    pub fn open(url: &str, job: &str) -> Result<Self, StoreError> {
        let address = |source| StoreError::Address {
            url: url.to_owned(),
            source,
        };

        let Address { objects, root } = address::open(url).map_err(address)?;
        Ok(Self::new(objects, root, job))
    }

    /// Opens the checkpoints of `job` at `url` as [`open`](Self::open) does, but creates no folder.
    ///
    /// # Errors
    /// [`StoreError::NoFolder`] if `url` names a folder of this machine that does not exist; [`StoreError::Address`].
    pub fn open_existing(url: &str, job: &str) -> Result<Self, StoreError> {
        match address::missing_folder(url) {
            Some(folder) => Err(StoreError::NoFolder(folder)),
            None => Self::open(url, job),
        }
    }

    /// Returns the checkpoints of `job` below `root` in a store that is already open.
    pub fn new(objects: Arc<dyn ObjectStore>, root: Path, job: &str) -> Self {
        Self {
            objects,
            root: root.join(job),
            job: job.to_owned(),
            refusal_limit: REFUSAL_LIMIT,
            retries: Arc::default(),
        }
    }

    /// Returns the checkpoints with another limit for how long refused credentials and rights are
    /// tried again.
    #[must_use]
    #[doc(hidden)]
    pub fn with_refusal_limit(self, refusal_limit: Duration) -> Self {
        Self {
            refusal_limit,
            ..self
        }
    }

    /// Returns the number of requests that were repeated so far.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Returns the job's name.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// Claims the next attempt.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    #[doc(hidden)]
    pub async fn claim_attempt(&self) -> Result<u64, StoreError> {
        let mut attempt = self.newest_attempt().await? + 1;
        // Each try claims a new number: a lost reply may have been a success, and an unused number
        // costs nothing.
        while !self
            .create_once(&self.attempt_path(attempt), Bytes::new())
            .await?
        {
            attempt += 1;
        }

        Ok(attempt)
    }

    /// Creates the marker of an attempt if it does not exist, so that later attempts have higher numbers.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub(crate) async fn mark_attempt(&self, attempt: u64) -> Result<(), StoreError> {
        let path = self.attempt_path(attempt);
        self.create_once(&path, Bytes::new()).await.map(|_| ())
    }

    /// Returns the highest attempt whose marker exists; 0 if there is none.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub(crate) async fn newest_attempt(&self) -> Result<u64, StoreError> {
        Ok(self.attempts().await?.into_iter().max().unwrap_or(0))
    }

    async fn attempts(&self) -> Result<Vec<u64>, StoreError> {
        let objects = self.list("attempts").await?;
        Ok(objects
            .iter()
            .filter_map(|object| object.location.filename()?.parse().ok())
            .collect())
    }

    /// Creates a part.
    ///
    /// # Errors
    /// [`StoreError::Taken`], [`StoreError::Refused`].
    #[doc(hidden)]
    pub async fn create_part(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.create(&self.part_path(name), bytes.into()).await
    }

    /// Creates the manifest's object, named by its attempt and boundary.
    ///
    /// # Errors
    /// [`StoreError::Taken`], [`StoreError::Refused`].
    #[doc(hidden)]
    pub async fn create_manifest(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let id = ManifestId {
            attempt: manifest.attempt,
            boundary: manifest.boundary,
        };
        self.create(&self.manifest_path(id), manifest.to_bytes().into())
            .await
    }

    /// Returns all manifests, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub(crate) async fn manifests(&self) -> Result<Vec<ManifestId>, StoreError> {
        Ok(self
            .list_manifests()
            .await?
            .into_iter()
            .map(|(id, _)| id)
            .collect())
    }

    async fn list_manifests(&self) -> Result<Vec<(ManifestId, u64)>, StoreError> {
        let objects = self.list("manifests").await?;
        let manifest = |object: &ObjectMeta| {
            let written_at_ms = u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0);
            Some((
                ManifestId::of_file(object.location.filename()?)?,
                written_at_ms,
            ))
        };
        let mut manifests: Vec<_> = objects.iter().filter_map(manifest).collect();
        manifests.sort_by_key(|(id, _)| Reverse(*id));

        Ok(manifests)
    }

    /// Lists everything that the job has in the store.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub(crate) async fn contents(&self) -> Result<Contents, StoreError> {
        let mut attempts = self.attempts().await?;
        attempts.sort_unstable();
        let manifests = self.list_manifests().await?;

        let part = |object: ObjectMeta| {
            object
                .location
                .filename()
                .map(|name| (name.to_owned(), object.size))
        };

        let parts = self
            .list("parts")
            .await?
            .into_iter()
            .filter_map(part)
            .collect();

        Ok(Contents {
            attempts,
            manifests,
            parts,
        })
    }

    /// Reads the bytes of a manifest.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Refused`].
    pub(crate) async fn manifest(&self, id: ManifestId) -> Result<Bytes, StoreError> {
        self.read(&self.manifest_path(id)).await
    }

    /// Reads the bytes of a part.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Refused`].
    pub(crate) async fn part(&self, name: &str) -> Result<Bytes, StoreError> {
        self.read(&self.part_path(name)).await
    }

    /// Returns the names of all parts.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub(crate) async fn parts(&self) -> Result<Vec<String>, StoreError> {
        let objects = self.list("parts").await?;
        Ok(objects
            .iter()
            .filter_map(|object| object.location.filename().map(str::to_owned))
            .collect())
    }

    /// Deletes an attempt's marker. It must not be the newest one, whose number would then be
    /// claimed again.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub(crate) async fn delete_attempt(&self, attempt: u64) -> Result<(), StoreError> {
        self.delete(&self.attempt_path(attempt)).await
    }

    /// Deletes a manifest that no recovery needs.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub(crate) async fn delete_manifest(&self, id: ManifestId) -> Result<(), StoreError> {
        self.delete(&self.manifest_path(id)).await
    }

    /// Deletes a part that no kept manifest names.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub(crate) async fn delete_part(&self, name: &str) -> Result<(), StoreError> {
        self.delete(&self.part_path(name)).await
    }

    fn attempt_path(&self, attempt: u64) -> Path {
        self.root
            .clone()
            .join("attempts")
            .join(format!("{attempt:010}"))
    }

    fn part_path(&self, name: &str) -> Path {
        self.root.clone().join("parts").join(name)
    }

    fn manifest_path(&self, id: ManifestId) -> Path {
        self.root
            .clone()
            .join("manifests")
            .join(format!("{:010}-{:015}.json", id.attempt, id.boundary))
    }

    /// Creates an object, retrying while the store does not answer.
    async fn create(&self, path: &Path, bytes: Bytes) -> Result<(), StoreError> {
        if self.create_once(path, bytes.clone()).await? || self.read(path).await? == bytes {
            return Ok(());
        }
        Err(StoreError::Taken(path.clone()))
    }

    /// Creates an object. Returns false if it exists already.
    async fn create_once(&self, path: &Path, bytes: Bytes) -> Result<bool, StoreError> {
        let attempt = || async {
            let options = PutOptions {
                mode: PutMode::Create,
                ..PutOptions::default()
            };
            match self
                .objects
                .put_opts(path, bytes.clone().into(), options)
                .await
            {
                Ok(_) => Ok(true),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.persist("create", path, attempt).await
    }

    async fn read(&self, path: &Path) -> Result<Bytes, StoreError> {
        self.persist("read", path, || async {
            self.objects.get(path).await?.bytes().await
        })
        .await
    }

    async fn delete(&self, path: &Path) -> Result<(), StoreError> {
        let attempt = || async {
            match self.objects.delete(path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.persist("delete", path, attempt).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let prefix = self.root.clone().join(folder);
        let attempt = || async {
            self.objects
                .list(Some(&prefix))
                .try_collect::<Vec<_>>()
                .await
        };
        self.persist("list", &prefix, attempt).await
    }

    /// Retries an operation until the store answers with success, or with a refusal that does not
    /// pass.
    async fn persist<T, F: Future<Output = object_store::Result<T>>>(
        &self,
        action: &str,
        path: &Path,
        attempt: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let mut delay = FIRST_DELAY;
        let mut forbidden_since: Option<Instant> = None;
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(object_store::Error::NotFound { .. }) => {
                    return Err(StoreError::Missing(path.clone()));
                }
                Err(error) => error,
            };

            let is_final = match Failure::of(&error) {
                Failure::Unavailable => false,
                Failure::Forbidden => {
                    let since = *forbidden_since.get_or_insert_with(Instant::now);
                    since.elapsed() >= self.refusal_limit
                }
                Failure::Impossible => true,
            };
            if is_final {
                return Err(StoreError::Refused {
                    path: path.clone(),
                    source: error,
                });
            }

            self.retries.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%path, %error, delay_ms = delay.as_millis(), "cannot {action} a checkpoint object, trying again");
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(LAST_DELAY);
        }
    }
}

impl fmt::Debug for CheckpointStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = self.objects.to_string();
        let mut shown = f.debug_struct("CheckpointStore");
        shown.field("store", &store).field("root", &self.root);
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
