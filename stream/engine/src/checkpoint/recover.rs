//! Recovery: loads the newest whole checkpoint for a new attempt.
//!
//! The order of the steps keeps zombies (superseded processes that still run) out:
//!
//! 1. Claim an attempt by creating a create-only object.
//! 2. Open the publishers of all workers, former ones included
//!    (`sink::fencing`). This fences earlier attempts and aborts their open transactions.
//! 3. Check whether a later attempt was claimed in the meantime. If so, this attempt is the zombie,
//!    and ends.
//! 4. Load the newest whole checkpoint. If a newer one is damaged, log it and fall back to an older
//!    one. Each process reads and verifies its own share (`checkpoint::share`) of the parts, and
//!    reports to process 0; damage that any of them finds makes process 0 fall back for all.
//! 5. Compare the checkpoint with the progress of the publishers.
//! 6. Publish the checkpoint as this attempt's own, before anything is committed.
//!
//! Results are committed only when their checkpoint is durable. So if the committed progress is
//! beyond the checkpoint, a newer checkpoint is lost; the names of skipped manifests bound how far
//! their results may reach. The job then continues on a new line (`checkpoint::lineage`) of
//! history, and replaces the results that it cannot repeat. If results were committed and no
//! checkpoint can be used, the job does not start by itself: an operator has to request a new start with
//! [`start_over`].
//!
//! Step 3 is needed because claiming and fencing are two steps. Between the two, a later attempt may have claimed *and
//! fenced*; fencing it in turn without ending would create two lines of history.

mod adoption;
mod error;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

pub use adoption::{adopt, reconcile, remembering};
use adoption::{branch_off, is_nothing};
pub use error::{Flaw, RecoverError};

use crate::checkpoint::lineage::Lineage;
use crate::checkpoint::manifest::{Fingerprint, Manifest};
use crate::checkpoint::part;
use crate::checkpoint::share::Share;
use crate::checkpoint::store::{CheckpointStore, ManifestId, StoreError};
use crate::flow::Slots;
use crate::pane::EventTimeMs;
use crate::sink::progress::KnownPublishers;

/// A whole checkpoint, as one process has read it.
pub struct Checkpoint {
    /// Its manifest.
    pub manifest: Manifest,
    /// The bytes of the process's share of the parts, verified, by name.
    pub parts: BTreeMap<String, Bytes>,
}

/// The number of parts that are read at a time.
pub(super) const READS_AT_ONCE: usize = 16;

/// Loads the newest whole checkpoint for attempt `own`. Returns none if the job never had one.
///
/// This process reads its share of the parts. `others` makes all other processes read theirs, and
/// returns a flaw that one of them found. So a checkpoint is whole for all processes or for none.
///
/// # Errors
/// [`RecoverError`], or an error of `others`. A job that has checkpoints never starts from nothing by
/// itself.
pub async fn newest<E: From<RecoverError>>(
    store: &CheckpointStore,
    own: u64,
    job: &Fingerprint,
    share: &Share,
    mut others: impl AsyncFnMut(ManifestId) -> Result<Option<Flaw>, E>,
) -> Result<Option<Checkpoint>, E> {
    let ids = candidates(store, own).await?;
    let mut first_flaw = None;

    for (passed_over, id) in ids.iter().enumerate() {
        match load_with(store, *id, share, &mut others).await? {
            Ok(checkpoint) => {
                let Checkpoint { manifest, parts } = accept(checkpoint, job)?;
                if passed_over > 0 && is_nothing(&manifest) {
                    break;
                }
                let manifest = fall_back(store, manifest, &ids[..passed_over]).await;
                let manifest = manifest.map_err(RecoverError::Store)?;
                return Ok(Some(Checkpoint { manifest, parts }));
            }
            Err(flaw) => {
                let flaw = flaw.unless_it_forbids_falling_back()?;
                tracing::error!(attempt = id.attempt, boundary_ms = id.boundary, %flaw, "checkpoint cannot be used, trying the one before");
                first_flaw.get_or_insert(flaw);
            }
        }
    }

    let none_whole = |flaw| RecoverError::NoneWhole {
        count: ids.len(),
        newest: Box::new(flaw),
    };
    first_flaw.map_or(Ok(None), |flaw| Err(none_whole(flaw).into()))
}

/// Returns the manifests of a job, the newest first, unless a later attempt than `own` was claimed.
async fn candidates(store: &CheckpointStore, own: u64) -> Result<Vec<ManifestId>, RecoverError> {
    let newest = store.newest_attempt().await?;
    if newest > own {
        return Err(RecoverError::Superseded { own, newest });
    }
    Ok(store.manifests().await?)
}

/// Loads a checkpoint together with the other processes.
async fn load_with<E>(
    store: &CheckpointStore,
    id: ManifestId,
    share: &Share,
    others: &mut impl AsyncFnMut(ManifestId) -> Result<Option<Flaw>, E>,
) -> Result<Result<Checkpoint, Flaw>, E> {
    let manifest = match manifest(store, id).await {
        Ok(manifest) => manifest,
        Err(flaw) => return Ok(Err(flaw)),
    };

    let reads = read_parts(store, &manifest, share);
    let (parts, flaw) = tokio::join!(reads, others(id));
    let flaw = flaw?;
    Ok(parts.and_then(|parts| match flaw {
        None => Ok(Checkpoint { manifest, parts }),
        Some(flaw) => Err(flaw),
    }))
}

/// Loads a process's share of a checkpoint whose manifest another process has read. The inner error
/// is damage of a part.
///
/// # Errors
/// [`RecoverError`] if the process cannot read the checkpoint for another reason.
pub async fn load_share(
    store: &CheckpointStore,
    id: ManifestId,
    share: &Share,
) -> Result<Result<Checkpoint, Flaw>, RecoverError> {
    let manifest = published(store, id).await?;
    Ok(match read_parts(store, &manifest, share).await {
        Ok(parts) => Ok(Checkpoint { manifest, parts }),
        Err(flaw) => Err(flaw.unless_it_forbids_falling_back()?),
    })
}

/// Reads a manifest that another process has read or written.
///
/// # Errors
/// [`RecoverError::Unreadable`], whatever is wrong with it: the other process can use it.
pub async fn published(store: &CheckpointStore, id: ManifestId) -> Result<Manifest, RecoverError> {
    let manifest = manifest(store, id).await;
    manifest.map_err(|flaw| RecoverError::Unreadable(Box::new(flaw)))
}

/// Branches off if newer manifests were skipped, because results may have been committed by them.
async fn fall_back(
    store: &CheckpointStore,
    manifest: Manifest,
    passed_over: &[ManifestId],
) -> Result<Manifest, StoreError> {
    let boundaries = || passed_over.iter().map(|id| id.boundary);
    // An attempt that had not come as far as the one before it shares that one's history only up to
    // where it began.
    let from = boundaries().fold(manifest.boundary, EventTimeMs::min);
    let until = boundaries().max().unwrap_or(0);

    if until <= from {
        return Ok(manifest);
    }

    let line = newest_line(store, passed_over).await?;
    Ok(branch_off(manifest, line, from, until))
}

/// Returns the greatest line of the manifests that can be read.
async fn newest_line(store: &CheckpointStore, ids: &[ManifestId]) -> Result<u32, StoreError> {
    let mut line = 0;
    for id in ids {
        let bytes = match store.manifest(*id).await {
            Err(StoreError::Missing(_)) => continue,
            answer => answer?,
        };
        line = line.max(
            Manifest::from_bytes(&bytes, store.job()).map_or(0, |manifest| manifest.lineage.line()),
        );
    }

    Ok(line)
}

/// Makes the next attempt start from nothing, whatever checkpoints there are. It reads the topic
/// from its oldest record, and replaces results by higher revisions. If some of a window's records
/// have expired, only the rest is counted. Call this once, while the job is not running; a job that
/// is restarted afterwards continues from its new checkpoints.
///
/// # Errors
/// [`StoreError`].
pub async fn start_over(
    store: &CheckpointStore,
    fingerprint: &Fingerprint,
) -> Result<(), StoreError> {
    let own = store.claim_attempt().await?;
    let ids = store.manifests().await?;
    let until = ids.iter().map(|id| id.boundary).max().unwrap_or(0);
    let line = newest_line(store, &ids).await?;
    let empty = adopt(None, own, store.job(), fingerprint);
    let lineage = Lineage::default().branched(line, 0, until);
    store.create_manifest(&Manifest { lineage, ..empty }).await
}

/// Loads one whole checkpoint, with all its parts.
///
/// # Errors
/// The first [`Flaw`] that was found.
pub async fn load(store: &CheckpointStore, id: ManifestId) -> Result<Checkpoint, Flaw> {
    let manifest = manifest(store, id).await?;
    let parts = read_parts(store, &manifest, &Share::everything()).await?;
    Ok(Checkpoint { manifest, parts })
}

async fn manifest(store: &CheckpointStore, id: ManifestId) -> Result<Manifest, Flaw> {
    let bytes = store.manifest(id).await?;
    Ok(Manifest::from_bytes(&bytes, store.job())?)
}

/// Reads and verifies the parts of a share.
async fn read_parts(
    store: &CheckpointStore,
    manifest: &Manifest,
    share: &Share,
) -> Result<BTreeMap<String, Bytes>, Flaw> {
    let read = async |name: String| {
        let bytes = read_part(store, name.clone()).await?;
        Ok((name, bytes))
    };
    let own = share.of(&manifest.parts);
    let reads: Vec<_> = own.map(|part| read(part.name.clone())).collect();

    stream::iter(reads)
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await
}

pub(super) async fn read_part(store: &CheckpointStore, name: String) -> Result<Bytes, Flaw> {
    let bytes = store.part(&name).await?;
    match part::verify(&bytes) {
        Ok(_) => Ok(bytes),
        Err(source) => Err(Flaw::Part { name, source }),
    }
}

/// Returns what the newest readable checkpoint contains about the job's publishers.
///
/// # Errors
/// [`StoreError`].
pub async fn known_publishers(store: &CheckpointStore) -> Result<KnownPublishers, StoreError> {
    for id in store.manifests().await? {
        let bytes = match store.manifest(id).await {
            Err(StoreError::Missing(_)) => continue,
            answer => answer?,
        };
        let Ok(manifest) = Manifest::from_bytes(&bytes, store.job()) else {
            continue;
        };
        let kept = Some(manifest.slots_kept).filter(|kept| *kept > 0);
        return Ok(KnownPublishers {
            publishers: manifest.publishers_kept,
            former_slots: manifest.fingerprint.slots.map(Slots::count).or(kept),
        });
    }
    Ok(KnownPublishers::default())
}

/// Checks the settings of a checkpoint. One that contains nothing, as [`start_over`] writes it, fits all settings.
fn accept(checkpoint: Checkpoint, job: &Fingerprint) -> Result<Checkpoint, RecoverError> {
    let Manifest {
        boundary,
        partitions,
        parts,
        ..
    } = &checkpoint.manifest;
    if *boundary == 0 && partitions.is_empty() && parts.is_empty() {
        return Ok(checkpoint);
    }

    let differences = checkpoint.manifest.fingerprint.differences(job);
    if differences.is_empty() {
        Ok(checkpoint)
    } else {
        Err(RecoverError::SettingsChanged(differences))
    }
}

impl Checkpoint {
    /// Returns the size of the parts that were read.
    pub fn read_bytes(&self) -> u64 {
        self.parts.values().map(|part| part.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests;
