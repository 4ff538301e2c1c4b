//! The manifest that an attempt starts from: the adopted one, or an empty one.
//!
//! The manifest is compared with the progress that the publishers have committed. If they have committed more than it can
//! repeat, or if progress is lost, history branches off on a new line, and results whose commit is uncertain are
//! replaced.
//!
//! Plain functions: they read and write no store.

use std::collections::BTreeMap;

use crate::checkpoint::lineage::{Lineage, Progress};
use crate::checkpoint::manifest::{Fingerprint, Manifest, VERSION};
use crate::checkpoint::memory::Memory;
use crate::checkpoint::recover::error::RecoverError;
use crate::pane::{EventTimeMs, Windows};
use crate::sink::progress::Carried;

/// Returns the manifest that attempt `own` of a job starts from: the adopted one under the new
/// number, or an empty one.
pub fn adopt(
    adopted: Option<&Manifest>,
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
        copied_from: None,
    };

    adopted.map_or_else(empty, |manifest| {
        let manifest = manifest.clone();
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
    let publishers = adopted.publishers_kept;
    if publishers > 0 {
        return carried.without.iter().any(|number| *number < publishers);
    }

    let slots = adopted.slots_kept;
    if slots > 0 {
        return !carried.progress.has_former_slots(slots);
    }

    if adopted.copied_from.is_some() {
        // The checkpoint is another job's, and this job has not committed yet.
        return false;
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

/// Returns whether the manifest is the empty one of a new job. Falling back to it would silently
/// restart from zero.
pub(super) fn is_nothing(manifest: &Manifest) -> bool {
    manifest.boundary == 0 && manifest.lineage.is_straight()
}

/// Continues the manifest's history on a line of its own from `from` on. Results before `until` may have been committed by
/// the lines before it.
pub(super) fn branch_off(
    manifest: Manifest,
    line: u32,
    from: EventTimeMs,
    until: EventTimeMs,
) -> Manifest {
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
