//! Deletes objects that no recovery needs: all but the newest few manifests, and the parts that
//! only the deleted manifests named.

use std::collections::HashSet;

use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::store::{CheckpointStore, ManifestId, StoreError};

/// The number of manifests that are kept, the newest included. A job cannot start once all of them
/// are damaged.
pub const KEPT: usize = 3;

/// Deletes the objects that are superseded now that `newest` is durable. What cannot be deleted now
/// is deleted next time.
pub async fn retain(store: &CheckpointStore, newest: &Manifest) {
    if let Err(error) = delete_superseded(store, newest).await {
        tracing::warn!(%error, "superseded checkpoints are kept for now");
    }
}

async fn delete_superseded(store: &CheckpointStore, newest: &Manifest) -> Result<(), StoreError> {
    let own = ManifestId {
        attempt: newest.attempt,
        boundary: newest.boundary,
    };

    let older: Vec<ManifestId> = store
        .manifests()
        .await?
        .into_iter()
        .filter(|id| *id < own)
        .collect();
    let (kept, superseded) = older.split_at(older.len().min(KEPT - 1));

    if superseded.is_empty() {
        return Ok(());
    }

    let mut named: HashSet<String> = newest.parts.iter().map(|part| part.name.clone()).collect();
    for id in kept {
        // The parts of a kept manifest that cannot be read are not known, so nothing is deleted.
        let Ok(manifest) = Manifest::from_bytes(&store.manifest(*id).await?, store.job()) else {
            return Ok(());
        };
        named.extend(manifest.parts.into_iter().map(|part| part.name));
    }

    for id in superseded {
        store.delete_manifest(*id).await?;
    }

    // Parts of later boundaries or attempts may not have a manifest yet, so only parts that a
    // superseded manifest could name are deleted.
    let oldest_kept = kept.last().copied().unwrap_or(own);
    for name in store.parts().await? {
        if !named.contains(&name) && is_superseded(&name, oldest_kept) {
            store.delete_part(&name).await?;
        }
    }

    Ok(())
}

/// Returns whether the part was complete before the oldest kept manifest: it is of an earlier
/// attempt, or ends before its boundary.
pub(super) fn is_superseded(part: &str, oldest_kept: ManifestId) -> bool {
    let mut fields = part.split('-').map(str::parse::<u64>);
    let (Some(Ok(attempt)), Some(Ok(_worker)), Some(Ok(_first)), Some(Ok(last)), None) = (
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
    ) else {
        return false;
    };

    attempt < oldest_kept.attempt || (attempt == oldest_kept.attempt && last < oldest_kept.boundary)
}
