//! Decides which objects no recovery needs, then deletes them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::checkpoint::inspect::InspectError;
use crate::checkpoint::inspect::survey::read_manifest;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::recover::{self, Flaw};
use crate::checkpoint::retain::is_superseded;
use crate::checkpoint::store::{CheckpointStore, ManifestId, StoreError};

/// The objects to keep and those to delete.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// The whole checkpoints that are kept, the newest first.
    pub kept: Vec<String>,
    /// Damaged checkpoints that are newer than the newest whole one. They are kept because their
    /// missing objects may be restored.
    pub left: Vec<String>,
    /// The checkpoints to delete.
    pub checkpoints: Vec<String>,
    /// The parts to delete, with their sizes in bytes.
    pub parts: BTreeMap<String, u64>,
    /// The attempts whose markers are deleted.
    pub attempts: Vec<u64>,
    #[serde(skip)]
    superseded: Vec<ManifestId>,
}

/// Decides which objects to delete when `keep` whole checkpoints are kept.
pub async fn plan(store: &CheckpointStore, keep: usize) -> Result<Plan, InspectError> {
    let contents = store.contents().await?;
    let ids: Vec<ManifestId> = contents.manifests.iter().map(|(id, _)| *id).collect();
    let sorted = Sorted::of(store, &ids, keep).await?;

    let (newest_whole, newest) = sorted.kept.first().ok_or(match ids.len() {
        0 => InspectError::Empty(store.job().to_owned()),
        count => InspectError::NoneWhole(count),
    })?;

    let named: BTreeSet<&str> = sorted
        .named()
        .flat_map(|manifest| &manifest.parts)
        .map(|part| part.name.as_str())
        .collect();

    // Later parts may belong to a manifest that is not written yet, or to a newer one that is
    // damaged.
    let goes = |name: &String| {
        !named.contains(name.as_str()) && is_superseded(name, *newest_whole, newest.merges)
    };
    let parts = contents
        .parts
        .iter()
        .filter(|(name, _)| goes(name))
        .map(|(name, size)| (name.clone(), *size))
        .collect();

    let newest_attempt = contents.attempts.last().copied().unwrap_or(0);
    Ok(Plan {
        kept: sorted.kept.iter().map(|(id, _)| id.to_string()).collect(),
        left: sorted.left.iter().map(|(id, _)| id.to_string()).collect(),
        checkpoints: sorted
            .superseded
            .iter()
            .map(ManifestId::to_string)
            .collect(),
        parts,
        attempts: contents
            .attempts
            .into_iter()
            .filter(|attempt| *attempt < newest_attempt)
            .collect(),
        superseded: sorted.superseded,
    })
}

/// Deletes the objects that the plan lists. Manifests go first, so that none ever names a deleted part.
pub async fn carry_out(store: &CheckpointStore, plan: &Plan) -> Result<(), StoreError> {
    for id in &plan.superseded {
        store.delete_manifest(*id).await?;
    }
    for name in plan.parts.keys() {
        store.delete_part(name).await?;
    }
    for attempt in &plan.attempts {
        store.delete_attempt(*attempt).await?;
    }

    Ok(())
}

/// The manifests to keep, and those to delete.
#[derive(Default)]
struct Sorted {
    kept: Vec<(ManifestId, Manifest)>,
    left: Vec<(ManifestId, Option<Manifest>)>,
    superseded: Vec<ManifestId>,
}

impl Sorted {
    async fn of(
        store: &CheckpointStore,
        ids: &[ManifestId],
        keep: usize,
    ) -> Result<Self, InspectError> {
        let mut sorted = Self::default();
        for id in ids {
            let manifest = read_manifest(store, *id).await;
            if manifest.as_ref().is_err_and(Flaw::is_of_the_future) {
                return Err(InspectError::Newer(*id));
            }

            let is_whole = sorted.kept.len() < keep && recover::load(store, *id).await.is_ok();
            match manifest {
                Ok(manifest) if is_whole => sorted.kept.push((*id, manifest)),
                manifest if sorted.kept.is_empty() => sorted.left.push((*id, manifest.ok())),
                _ => sorted.superseded.push(*id),
            }
        }

        Ok(sorted)
    }

    /// Returns the manifests that stay and can be read.
    fn named(&self) -> impl Iterator<Item = &Manifest> {
        let left = self
            .left
            .iter()
            .filter_map(|(_, manifest)| manifest.as_ref());
        self.kept.iter().map(|(_, manifest)| manifest).chain(left)
    }
}
