//! Recovery: loads the newest whole checkpoint for a new attempt.
//!
//! The order of the steps keeps zombies (superseded processes that still run) out:
//!
//! 1. Claim an attempt by creating a create-only object.
//! 2. Open the publishers of all workers, former ones included
//!    (`sink::fencing`). This fences earlier attempts and aborts what they left
//!    open.
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
//! checkpoint can be used, the job does not start by itself: an operator has to call for a new
//! start with [`start_over`].
//!
//! Step 3 is not in the design's model, in which claiming and fencing are one step. Between the
//! two, a later attempt may have claimed *and fenced*; fencing it in turn without ending would
//! create two lines of history.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::checkpoint::lineage::{Lineage, Progress};
use crate::checkpoint::manifest::{Difference, Fingerprint, Manifest, ManifestError, VERSION};
use crate::checkpoint::memory::Memory;
use crate::checkpoint::part::{self, PartError};
use crate::checkpoint::share::Share;
use crate::checkpoint::store::{CheckpointStore, ManifestId, StoreError};
use crate::flow::Slots;
use crate::pane::{EventTimeMs, Windows};
use crate::sink::progress::{Carried, KnownPublishers, UnknownProgress};

/// A whole checkpoint, as one process has read it.
pub struct Checkpoint {
    /// Its manifest.
    pub manifest: Manifest,
    /// The bytes of the process's share of the parts, verified, by name.
    pub parts: BTreeMap<String, Bytes>,
}

/// Why an attempt cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The object store failed.
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
    /// The settings have changed in a way that the checkpoint does not allow.
    #[error(
        "the job has a checkpoint that was written with other settings: {}. Restore what has changed, \
         or start over, under another --job name or by `order-analytics start-over`",
        .0.iter().map(Difference::to_string).collect::<Vec<_>>().join(", ")
    )]
    SettingsChanged(Vec<Difference>),
    /// There are checkpoints, but none can be used.
    #[error(
        "none of the job's {count} checkpoints can be used; the newest: {newest}. Restore its objects, or start over by `order-analytics start-over`"
    )]
    NoneWhole {
        /// The number of checkpoints.
        count: usize,
        /// What is wrong with the newest.
        newest: Box<Flaw>,
    },
    /// Results were committed, but there is no checkpoint.
    #[error(
        "results up to {until_ms} ms of event time were committed, but the job has no checkpoint at its --checkpoints address: \
         correct that, restore its objects, or start over by `order-analytics start-over`"
    )]
    CheckpointsLost {
        /// The event time by which the results end.
        until_ms: EventTimeMs,
    },
    /// The log has lost the job's progress, and the checkpoint, written by an earlier version, does
    /// not contain it.
    #[error(
        "the log holds no progress of the job, whose checkpoint reaches {boundary_ms} ms of event time: it expired \
         (offsets.retention.minutes), or its topic was deleted. Replace the results by `order-analytics start-over`"
    )]
    ProgressLost {
        /// The checkpoint's boundary.
        boundary_ms: EventTimeMs,
    },
    /// A publisher's progress cannot be read.
    #[error(transparent)]
    Progress(#[from] UnknownProgress),
    /// The newest checkpoint cannot be read, and must not be skipped.
    #[error("{0}")]
    Unreadable(Box<Flaw>),
}

/// What is wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// Its manifest cannot be used.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    /// One of its parts cannot be used.
    #[error("part {name}: {source}")]
    Part {
        /// The part's name.
        name: String,
        /// What is wrong with it.
        source: PartError,
    },
    /// One of its objects cannot be read.
    #[error("{0}")]
    Object(#[from] StoreError),
    /// Another process found damage in its share.
    #[error("process {process}: {reason}")]
    Elsewhere {
        /// The process.
        process: u16,
        /// What it found.
        reason: String,
    },
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

/// Returns whether the manifest is the empty one of a new job. Falling back to it would silently
/// restart from zero.
fn is_nothing(manifest: &Manifest) -> bool {
    manifest.boundary == 0 && manifest.lineage.is_straight()
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

fn branch_off(manifest: Manifest, line: u32, from: EventTimeMs, until: EventTimeMs) -> Manifest {
    let lineage = manifest.lineage.branched(line, from, until);
    tracing::error!(
        from_ms = from,
        until_ms = lineage.until(),
        line = lineage.line(),
        "what was committed is not known for certain: results are replaced by higher revisions"
    );

    Manifest {
        lineage,
        ..manifest
    }
}

/// Compares the manifest that is to be adopted with the progress that all publishers carry.
///
/// A publisher that should carry a progress and carries none, or an older one than the manifest
/// notes, may have committed anything before the boundary. Everything that is not known to be
/// committed is committed again on a new line, so that it replaces the earlier results.
/// `progress_topic` is named in the log.
///
/// # Errors
/// [`RecoverError::CheckpointsLost`], [`RecoverError::ProgressLost`].
pub fn reconcile(
    adopted: Manifest,
    carried: &Carried,
    progress_topic: Option<&str>,
) -> Result<Manifest, RecoverError> {
    let line = adopted.lineage.line();
    let older = with_older_progress(&adopted, carried);
    let is_lost = is_progress_lost(&adopted, carried) || !older.is_empty();
    let adopted = compare(adopted, carried.progress.furthest())?;
    let adopted = Manifest {
        furthest: carried.furthest.clone(),
        ..adopted
    };

    if !is_lost || adopted.lineage.line() > line {
        return Ok(adopted);
    }

    if adopted.publishers_kept == 0 && adopted.slots_kept == 0 {
        return Err(RecoverError::ProgressLost {
            boundary_ms: adopted.boundary,
        });
    }

    tracing::error!(
        without = ?carried.without,
        ?older,
        topic = progress_topic,
        "the progress of publishers is missing, or older than the checkpoint: its topic was deleted, recreated, emptied or \
         restored. Results are replaced by higher revisions; keep the topic, with cleanup.policy=compact"
    );

    let boundary = adopted.boundary;
    Ok(branch_off(adopted, line, boundary, boundary))
}

/// Returns whether some publisher has committed, or may have, and carries no progress.
fn is_progress_lost(adopted: &Manifest, carried: &Carried) -> bool {
    let (publishers, slots) = (adopted.publishers_kept, adopted.slots_kept);
    if publishers > 0 {
        return carried.without.iter().any(|number| *number < publishers);
    }
    if slots > 0 {
        return !carried.progress.has_former_slots(slots);
    }
    // An earlier version wrote the manifest: it committed once its first checkpoint was durable.
    adopted.boundary > 0 && carried.progress.furthest().is_none()
}

/// Returns the publishers whose progress is older than the one that they are known to have committed.
fn with_older_progress(adopted: &Manifest, carried: &Carried) -> Vec<u32> {
    let is_older = |(publisher, known): &(&u32, &u64)| {
        let found = carried.furthest.get(publisher);
        found.is_some_and(|found| found < *known)
    };
    let older = adopted.furthest.iter().filter(is_older);
    older.map(|(publisher, _)| *publisher).collect()
}

/// Compares the manifest with the furthest progress of results.
fn compare(adopted: Manifest, furthest: Option<u64>) -> Result<Manifest, RecoverError> {
    let Some(progress) = furthest.map(Progress::of) else {
        return Ok(adopted);
    };

    let until_ms = progress.before.saturating_sub(1) + adopted.fingerprint.pane_ms;
    let line = adopted.lineage.line();
    if progress.line < line {
        // The branch exists already; its end was inferred from the names of manifests and may lie
        // too early.
        return Ok(Manifest {
            lineage: adopted.lineage.known_until(until_ms),
            ..adopted
        });
    }

    if progress.line == line && progress.before <= adopted.boundary {
        return Ok(adopted);
    }
    if is_nothing(&adopted) {
        return Err(RecoverError::CheckpointsLost { until_ms });
    }

    let from = adopted.boundary;
    Ok(branch_off(adopted, progress.line, from, until_ms))
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

fn accept(checkpoint: Checkpoint, job: &Fingerprint) -> Result<Checkpoint, RecoverError> {
    let differences = checkpoint.manifest.fingerprint.differences(job);
    if differences.is_empty() {
        Ok(checkpoint)
    } else {
        Err(RecoverError::SettingsChanged(differences))
    }
}

/// Returns the manifest that attempt `own` of a job starts from: the adopted one under the new
/// number, or an empty one.
pub fn adopt(
    adopted: Option<&Checkpoint>,
    own: u64,
    job: &str,
    fingerprint: &Fingerprint,
) -> Manifest {
    let empty = || Manifest {
        version: VERSION,
        job: job.to_owned(),
        attempt: own,
        boundary: 0,
        fingerprint: fingerprint.clone(),
        lineage: Lineage::default(),
        publishers_kept: 0,
        slots_kept: 0,
        committed: 0,
        furthest: BTreeMap::new(),
        memory: None,
        merges: 0,
        partitions: Vec::new(),
        parts: Vec::new(),
    };

    adopted.map_or_else(empty, |checkpoint| {
        let manifest = checkpoint.manifest.clone();
        let parts = manifest
            .parts
            .into_iter()
            .map(|part| part.before(manifest.boundary))
            .collect();

        Manifest {
            attempt: own,
            merges: 0,
            // Fields that an earlier program did not record are recorded from now on.
            fingerprint: fingerprint.clone(),
            parts,
            ..manifest
        }
    })
}

/// Updates how far back the manifest is complete, when the job allows `lateness_ms` from now on.
pub fn remembering(adopted: Manifest, windows: &Windows, lateness_ms: u64) -> Manifest {
    let Manifest {
        boundary, parts, ..
    } = &adopted;
    let known = adopted.memory.clone();
    let known = known.unwrap_or_else(|| Memory::inferred(windows, *boundary, parts));
    let memory = known
        .clone()
        .going_on(windows, *boundary, parts, lateness_ms);

    if memory.complete_from > known.complete_from {
        tracing::warn!(
            allowed_lateness_ms = lateness_ms,
            before_ms = known.allowed_ms(),
            complete_from_ms = memory.complete_from,
            "the allowed lateness has changed: windows that begin before complete_from_ms are not corrected any more"
        );
    }

    Manifest {
        memory: Some(memory),
        ..adopted
    }
}

impl Checkpoint {
    /// Returns the size of the parts that were read.
    pub fn read_bytes(&self) -> u64 {
        self.parts.values().map(|part| part.len() as u64).sum()
    }
}

impl Flaw {
    /// Returns the flaw if an older checkpoint may take the place of the one that has it.
    fn unless_it_forbids_falling_back(self) -> Result<Self, RecoverError> {
        match self {
            // An object whose read is refused is not damaged: falling back would replace results
            // for no reason.
            Self::Object(refused @ StoreError::Refused { .. }) => Err(refused.into()),
            flaw if flaw.is_of_the_future() => Err(RecoverError::Unreadable(Box::new(flaw))),
            flaw => Ok(flaw),
        }
    }

    /// Returns whether a newer program wrote the object: falling back to an older checkpoint would
    /// undo its work.
    pub(super) fn is_of_the_future(&self) -> bool {
        matches!(
            self,
            Self::Manifest(ManifestError::Version(_))
                | Self::Part {
                    source: PartError::Version(_),
                    ..
                }
        )
    }
}

#[cfg(test)]
mod tests;
