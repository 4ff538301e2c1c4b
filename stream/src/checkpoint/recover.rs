//! What a new attempt starts from: the newest whole checkpoint.
//!
//! The order of a start is what keeps zombies out:
//!
//! 1. claim an attempt, a create-only object;
//! 2. open the publishers of all sink slots: that fences earlier attempts and frees what they left open;
//! 3. look whether a later attempt was claimed meanwhile: then this one is itself the zombie, and ends;
//! 4. load the newest checkpoint that is whole, falling back to an older one, and saying so;
//! 5. publish it as this attempt's own, before anything is committed.
//!
//! Step 3 is not in the design's model, where claiming and fencing are one step: between them a later attempt may have
//! claimed *and fenced*, and fencing that one in turn without ending would leave two lines of history.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::checkpoint::manifest::{Fingerprint, Manifest, ManifestError, VERSION};
use crate::checkpoint::part::{self, PartError};
use crate::checkpoint::store::{CheckpointStore, ManifestId, StoreError};

/// A whole checkpoint.
pub struct Checkpoint {
    /// Its manifest.
    pub manifest: Manifest,
    /// The parts that it names, in its order, checked.
    pub parts: Vec<Bytes>,
}

/// Why an attempt cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The store does not serve.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A later attempt has begun.
    #[error("attempt {newest} of the job has begun after this one, attempt {own}: this one ends")]
    Superseded {
        /// This attempt.
        own: u64,
        /// The later one.
        newest: u64,
    },
    /// The settings changed in a way that the checkpoint does not allow.
    #[error(
        "the checkpoint was written with {checkpoint:?}, the job now has {job:?}: restore the settings, \
         or start over under another --job name or with --fresh"
    )]
    SettingsChanged {
        /// The settings of the checkpoint.
        checkpoint: Box<Fingerprint>,
        /// The settings of the job.
        job: Box<Fingerprint>,
    },
    /// There are checkpoints, but none can be used.
    #[error(
        "none of the job's {count} checkpoints can be used; the newest: {newest}. Restore its objects, or start over with --fresh"
    )]
    NoneWhole {
        /// How many there are.
        count: usize,
        /// What is wrong with the newest.
        newest: Box<Flaw>,
    },
    /// The newest checkpoint must not be passed over.
    #[error("{0}")]
    Unreadable(Box<Flaw>),
}

/// What is wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// Its manifest.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    /// One of its parts.
    #[error("part {name}: {source}")]
    Part {
        /// The part.
        name: String,
        /// What is wrong with it.
        source: PartError,
    },
    /// An object of it.
    #[error("{0}")]
    Object(#[from] StoreError),
}

/// How many parts are read at a time.
const READS_AT_ONCE: usize = 16;

/// Loads the newest whole checkpoint for attempt `own`, or none when the job never had one.
///
/// # Errors
/// [`RecoverError`]. A job that has checkpoints never starts from nothing by itself.
pub async fn newest(store: &CheckpointStore, own: u64, job: &Fingerprint) -> Result<Option<Checkpoint>, RecoverError> {
    let newest = store.newest_attempt().await?;
    if newest > own {
        return Err(RecoverError::Superseded { own, newest });
    }
    let ids = store.manifests().await?;
    let mut first_flaw = None;
    for id in &ids {
        match load(store, *id).await {
            Ok(checkpoint) => return accept(checkpoint, job).map(Some),
            Err(flaw) if flaw.is_of_the_future() => return Err(RecoverError::Unreadable(Box::new(flaw))),
            Err(flaw) => {
                tracing::error!(attempt = id.attempt, boundary_ms = id.boundary, %flaw, "checkpoint cannot be used, trying the one before");
                first_flaw.get_or_insert(flaw);
            }
        }
    }
    match first_flaw {
        None => Ok(None),
        Some(flaw) => Err(RecoverError::NoneWhole { count: ids.len(), newest: Box::new(flaw) }),
    }
}

/// Loads one checkpoint whole.
///
/// # Errors
/// The first [`Flaw`] that was found.
pub async fn load(store: &CheckpointStore, id: ManifestId) -> Result<Checkpoint, Flaw> {
    let manifest = Manifest::from_bytes(&store.manifest(id).await?, store.job())?;
    let reads = manifest.parts.iter().map(|info| read_part(store, info.name.clone()));
    let parts = stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
    Ok(Checkpoint { manifest, parts })
}

async fn read_part(store: &CheckpointStore, name: String) -> Result<Bytes, Flaw> {
    let bytes = store.part(&name).await?;
    match part::verify(&bytes) {
        Ok(_) => Ok(bytes),
        Err(source) => Err(Flaw::Part { name, source }),
    }
}

fn accept(checkpoint: Checkpoint, job: &Fingerprint) -> Result<Checkpoint, RecoverError> {
    if checkpoint.manifest.fingerprint != *job {
        let of_checkpoint = Box::new(checkpoint.manifest.fingerprint);
        return Err(RecoverError::SettingsChanged { checkpoint: of_checkpoint, job: Box::new(job.clone()) });
    }
    Ok(checkpoint)
}

/// The manifest that attempt `own` of a job starts from: the adopted one under the new number, or an empty one.
pub fn adopt(adopted: Option<&Checkpoint>, own: u64, job: &str, fingerprint: &Fingerprint) -> Manifest {
    let empty = || Manifest {
        version: VERSION,
        job: job.to_owned(),
        attempt: own,
        boundary: 0,
        fingerprint: fingerprint.clone(),
        partitions: Vec::new(),
        parts: Vec::new(),
    };
    adopted.map_or_else(empty, |checkpoint| Manifest { attempt: own, ..checkpoint.manifest.clone() })
}

impl Flaw {
    /// A newer program wrote it: to fall back to something older would undo its work.
    fn is_of_the_future(&self) -> bool {
        matches!(self, Self::Manifest(ManifestError::Version(_)) | Self::Part { source: PartError::Version(_), .. })
    }
}
