//! A trial of an object store for the needs of checkpoints: create-only writes, reads, listings, deletions, and a clock
//! that agrees with this machine's. It uses objects of its own.
//!
//! Only the store's client retries, and the whole trial ends within [`LIMIT`].

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};

use super::CheckpointStore;

/// The time limit of the whole trial.
const LIMIT: Duration = Duration::from_secs(20);

/// The findings of a trial of a store that does all that checkpoints need.
///
/// ```
/// use stream::{CheckpointStore, StoreTrial};
///
/// let store = CheckpointStore::open("memory:///", "visits")?;
/// let now_ms = 1_795_341_600_000;
/// let StoreTrial { ahead_ms } = store.try_out(now_ms).expect("memory does all of it");
/// assert!(ahead_ms != 0, "this machine's clock does not show the time of the example");
/// # Ok::<(), stream::StoreError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoreTrial {
    /// The milliseconds by which the store's clock is ahead of this machine's; negative if it is behind.
    pub ahead_ms: i64,
}

/// A need of checkpoints that a store does not meet.
///
/// ```
/// use stream::StoreFault;
///
/// let fault = StoreFault::Overwrites { object: "visits/trials/1".to_owned() };
/// assert!(fault.to_string().contains("overwrites"));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// No object can be created.
    #[error("the store does not create {object}: {source}")]
    Create {
        /// The object.
        object: String,
        /// The store's reason.
        source: object_store::Error,
    },
    /// A create-only write replaces an existing object.
    #[error("the store overwrites {object}, although the write was create-only")]
    Overwrites {
        /// The object.
        object: String,
    },
    /// An object that was created cannot be read, or is read with other content.
    #[error("the store does not return {object} as it was created: {reason}")]
    Read {
        /// The object.
        object: String,
        /// The store's reason, or the difference.
        reason: String,
    },
    /// An object that was created is not in the listing of its folder.
    #[error("the store does not list {object}: {reason}")]
    List {
        /// The object.
        object: String,
        /// The store's reason, or the difference.
        reason: String,
    },
    /// An object cannot be deleted.
    #[error("the store does not delete {object}: {source}")]
    Delete {
        /// The object.
        object: String,
        /// The store's reason.
        source: object_store::Error,
    },
    /// The store does not answer.
    #[error("the store did not finish a trial within {} s", LIMIT.as_secs())]
    Silent,
    /// This process cannot wait for the store.
    #[error("the store cannot be tried: {0}")]
    Runtime(std::io::Error),
}

impl CheckpointStore {
    /// Creates an object below `{job}/trials`, tries to create it again with other content, reads it, lists it, and
    /// deletes it. `now_ms` is this machine's time in milliseconds since the Unix epoch; the object has it as its name.
    ///
    /// # Errors
    /// [`StoreFault`] with the first step that fails.
    pub fn try_out(&self, now_ms: u64) -> Result<StoreTrial, StoreFault> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StoreFault::Runtime)?;

        let tried = async { tokio::time::timeout(LIMIT, self.tried(now_ms)).await };
        runtime.block_on(tried).unwrap_or(Err(StoreFault::Silent))
    }

    async fn tried(&self, now_ms: u64) -> Result<StoreTrial, StoreFault> {
        let folder = self.root.clone().join("trials");
        let path = folder
            .clone()
            .join(format!("{now_ms}-{}", std::process::id()));
        let object = path.to_string();
        let first = Bytes::from_static(b"created once");

        self.try_create(&path, first.clone())
            .await
            .map_err(|source| StoreFault::Create {
                object: object.clone(),
                source,
            })?;

        let trial = self.try_existing(&folder, &path, &first, now_ms).await;
        let deleted = self.objects.delete(&path).await;
        let trial = trial?;
        deleted.map_err(|source| StoreFault::Delete { object, source })?;
        Ok(trial)
    }

    /// Tries everything on an object that exists.
    async fn try_existing(
        &self,
        folder: &Path,
        path: &Path,
        first: &Bytes,
        now_ms: u64,
    ) -> Result<StoreTrial, StoreFault> {
        let object = path.to_string();
        let read = |reason: String| StoreFault::Read {
            object: object.clone(),
            reason,
        };
        let list = |reason: String| StoreFault::List {
            object: object.clone(),
            reason,
        };

        let second = Bytes::from_static(b"created again");
        match self.try_create(path, second.clone()).await {
            Ok(()) => return Err(StoreFault::Overwrites { object }),
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(source) => return Err(StoreFault::Create { object, source }),
        }

        let found = self
            .objects
            .get(path)
            .await
            .map_err(|error| read(error.to_string()))?;
        let content = found
            .bytes()
            .await
            .map_err(|error| read(error.to_string()))?;
        if content == second {
            return Err(StoreFault::Overwrites { object });
        }
        if content != first {
            return Err(read("its content is different".to_owned()));
        }

        let listed: Vec<_> = self
            .objects
            .list(Some(folder))
            .try_collect()
            .await
            .map_err(|error| list(error.to_string()))?;
        let mut listed = listed.iter();
        let listed = listed.find(|found| found.location == *path);
        let listed = listed.ok_or_else(|| list("it is not in the listing".to_owned()))?;

        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let ahead_ms = listed.last_modified.timestamp_millis() - now_ms;
        Ok(StoreTrial { ahead_ms })
    }

    async fn try_create(&self, path: &Path, content: Bytes) -> object_store::Result<()> {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        self.objects
            .put_opts(path, content.into(), options)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests;
