//! Copies a checkpoint for another job to begin from, or to another place for the same job.
//!
//! 1. The manifest is read, and each of its parts is read, verified and created at the target under its name.
//! 2. The marker of an attempt is created there, so that the target's attempts have later numbers.
//! 3. The manifest is created. Before that, the target has no checkpoint, and a copy that was interrupted
//!    goes on when the command is repeated.
//!
//! Another job has publishers of its own, which have committed nothing. Its [manifest](for_job) therefore
//! contains no progress of publishers, and everything before its boundary counts as committed: those results
//! are the first job's. The new job publishes what changes from the boundary on. Its source positions, parts
//! and revisions are those of the checkpoint. The same job at another place continues with the progress that
//! its publishers have in the log, so its manifest stays as it is.
//!
//! Invariants: no object at the target is overwritten, and the source is not changed.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use crate::checkpoint::inspect::InspectError;
use crate::checkpoint::inspect::survey::read_manifest;
use crate::checkpoint::manifest::{Manifest, Origin};
use crate::checkpoint::recover::{Flaw, read_part};
use crate::checkpoint::store::{CheckpointStore, ManifestId, StoreError};

/// The number of parts that are in memory at a time.
const COPIES_AT_ONCE: usize = 4;

/// A checkpoint that was copied.
#[derive(Debug, Serialize)]
pub struct Copied {
    /// Its id, the same at both places.
    pub id: String,
    /// The job that wrote it.
    pub job: String,
    /// The job that begins from the copy.
    pub to_job: String,
    /// The boundary from which on that job publishes results.
    pub boundary_ms: u64,
    /// The number of parts.
    pub parts: usize,
    /// Their total size.
    pub size_bytes: u64,
}

/// Copies a checkpoint, by default the newest.
pub async fn copy(
    from: &CheckpointStore,
    to: &CheckpointStore,
    checkpoint: Option<ManifestId>,
) -> Result<Copied, InspectError> {
    if let Some(newest) = to.manifests().await?.first() {
        return Err(InspectError::Exists {
            job: to.job().to_owned(),
            checkpoint: *newest,
        });
    }

    let manifest = match checkpoint {
        Some(id) => copy_parts(from, to, id).await?,
        None => copy_newest(from, to).await?,
    };
    let manifest = if from.job() == to.job() {
        manifest
    } else {
        for_job(manifest, to.job())
    };

    let attempt = from.newest_attempt().await?.max(manifest.attempt);
    to.mark_attempt(attempt).await?;
    to.create_manifest(&manifest).await?;
    if to.newest_attempt().await? > attempt {
        return Err(InspectError::Begun(to.job().to_owned()));
    }

    Ok(Copied {
        id: id_of(&manifest).to_string(),
        job: from.job().to_owned(),
        to_job: to.job().to_owned(),
        boundary_ms: manifest.boundary,
        parts: manifest.parts.len(),
        size_bytes: manifest.parts.iter().map(|part| part.size_bytes).sum(),
    })
}

/// Copies the parts of the newest checkpoint. A job that is running deletes older checkpoints meanwhile; then
/// the copy goes on with a newer one, most of whose parts are there already.
async fn copy_newest(
    from: &CheckpointStore,
    to: &CheckpointStore,
) -> Result<Manifest, InspectError> {
    let mut tried = None;
    loop {
        let ids = from.manifests().await?;
        let newest = ids.first().copied();
        let newest = newest.ok_or_else(|| InspectError::Empty(from.job().to_owned()))?;

        match copy_parts(from, to, newest).await {
            Err(InspectError::Damaged { flaw, .. })
                if matches!(*flaw, Flaw::Object(StoreError::Missing(_)))
                    && tried != Some(newest) =>
            {
                tried = Some(newest);
            }
            copied => return copied,
        }
    }
}

/// Copies the parts of one checkpoint, and returns its manifest.
async fn copy_parts(
    from: &CheckpointStore,
    to: &CheckpointStore,
    id: ManifestId,
) -> Result<Manifest, InspectError> {
    let damaged = |flaw| InspectError::Damaged {
        checkpoint: id,
        flaw: Box::new(flaw),
    };
    let manifest = match read_manifest(from, id).await {
        Ok(manifest) => manifest,
        Err(Flaw::Object(StoreError::Missing(_))) => return Err(InspectError::Unknown(id)),
        Err(flaw) => return Err(damaged(flaw)),
    };
    let is_former = manifest.publishers_kept == 0 && manifest.fingerprint.slots.is_some();
    if manifest.boundary == 0 || is_former {
        return Err(InspectError::Nothing(id));
    }

    let copy = async |name: String| {
        let bytes = read_part(from, name.clone()).await.map_err(damaged)?;
        let created = to.create_part(&name, bytes.to_vec()).await;
        created.map_err(InspectError::Store)
    };
    let copies: Vec<_> = manifest
        .parts
        .iter()
        .map(|part| copy(part.name.clone()))
        .collect();
    let copies = stream::iter(copies).buffer_unordered(COPIES_AT_ONCE);
    copies.try_collect::<()>().await?;

    Ok(manifest)
}

/// Returns the manifest for another job, which has committed nothing yet and publishes what changes from the
/// boundary on.
fn for_job(manifest: Manifest, job: &str) -> Manifest {
    let origin = Origin {
        job: manifest.job.clone(),
        attempt: manifest.attempt,
        boundary: manifest.boundary,
    };
    let mut manifest = Manifest {
        job: job.to_owned(),
        publishers_kept: 0,
        slots_kept: 0,
        committed: manifest.boundary,
        furthest: BTreeMap::new(),
        copied_from: Some(origin),
        ..manifest
    };

    manifest.fingerprint.slots = None;
    for partition in &mut manifest.partitions {
        // The first job publishes the side outputs of all records below the cut.
        partition.pending = None;
    }
    manifest
}

fn id_of(manifest: &Manifest) -> ManifestId {
    ManifestId {
        attempt: manifest.attempt,
        boundary: manifest.boundary,
    }
}
