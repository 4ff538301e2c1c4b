//! Deletes objects that no recovery needs: all but the newest few manifests, and the parts that
//! only the deleted manifests named.

use std::collections::HashSet;

use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::store::{CheckpointStore, ManifestId, StoreError};
use crate::pane::EventTimeMs;

/// The number of manifests that are kept, the newest included. A job cannot start once all of them
/// are damaged.
pub const KEPT: usize = 3;

/// Deletes the objects that are superseded now that `newest` is durable. An object that cannot be deleted now
/// is deleted next time.
pub async fn retain(store: &CheckpointStore, newest: &Manifest) {
    if let Err(error) = delete_superseded(store, newest).await {
        tracing::warn!(%error, "superseded checkpoints are kept for now");
    }
}

async fn delete_superseded(store: &CheckpointStore, newest: &Manifest) -> Result<(), StoreError> {
    // An attempt that was claimed before this manifest was durable may continue from an older one.
    // An attempt that is claimed from now on finds this one.
    if store.newest_attempt().await? > newest.attempt {
        return Ok(());
    }

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
    let is_of_own_attempt = oldest_kept.attempt == own.attempt;
    let merges = if is_of_own_attempt { newest.merges } else { 0 };
    for name in store.parts().await? {
        if !named.contains(&name) && is_superseded(&name, oldest_kept, merges) {
            store.delete_part(&name).await?;
        }
    }

    Ok(())
}

/// Returns whether only the kept manifests and earlier ones can name the part: it is of an earlier
/// attempt than the oldest kept manifest, or ends before its boundary, or is the result of one of
/// the first `merges` merges. A later merge may be in progress, although its panes are earlier.
pub(super) fn is_superseded(part: &str, oldest_kept: ManifestId, merges: u64) -> bool {
    let Some(name) = PartName::parse(part) else {
        return false;
    };

    let is_complete = match name.maker {
        Maker::Worker => name.last < oldest_kept.boundary,
        Maker::Merge(number) => number < merges,
    };
    name.attempt < oldest_kept.attempt || (name.attempt == oldest_kept.attempt && is_complete)
}

/// The fields of a part's name.
struct PartName {
    attempt: u64,
    maker: Maker,
    last: EventTimeMs,
}

/// The writer of a part.
enum Maker {
    Worker,
    Merge(u64),
}

impl PartName {
    fn parse(name: &str) -> Option<Self> {
        let mut fields = name.split('-');
        let mut field = || fields.next();
        let attempt = field()?.parse().ok()?;
        let maker = field()?;
        let _first: EventTimeMs = field()?.parse().ok()?;
        let last = field()?.parse().ok()?;
        if field().is_some() {
            return None;
        }

        let maker = match maker.strip_prefix('m') {
            Some(number) => Maker::Merge(number.parse().ok()?),
            None => maker.parse::<u64>().map(|_| Maker::Worker).ok()?,
        };
        Some(Self {
            attempt,
            maker,
            last,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;
    use crate::checkpoint::manifest::{Fingerprint, PartInfo};
    use crate::checkpoint::recover::adopt;
    use crate::pane::Windows;

    fn manifest(attempt: u64, boundary: EventTimeMs, merges: u64, parts: &[&str]) -> Manifest {
        let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
        let fingerprint = Fingerprint::new("events", &windows);
        let named = |name: &&str| PartInfo {
            name: (*name).to_owned(),
            first: 0,
            last: 0,
            entries: 1,
            size_bytes: 1,
        };

        Manifest {
            boundary,
            merges,
            parts: parts.iter().map(named).collect(),
            ..adopt(None, attempt, "counts", &fingerprint)
        }
    }

    const FIRST: &str = "0000000001-0000-000000000000000-000000000000000";
    const SECOND: &str = "0000000001-0000-000000000000010-000000000000010";
    const MERGED: &str = "0000000001-m000000-000000000000000-000000000000010";
    const IN_PROGRESS: &str = "0000000001-m000001-000000000000000-000000000000010";

    /// Returns a store of an attempt that has merged its first two parts and whose next merge is in
    /// progress, and its newest manifest.
    async fn store() -> (CheckpointStore, Manifest) {
        let store = CheckpointStore::new(Arc::new(InMemory::new()), Path::default(), "counts");
        store.claim_attempt().await.unwrap();
        for part in [FIRST, SECOND, MERGED, IN_PROGRESS] {
            store.create_part(part, b"panes".to_vec()).await.unwrap();
        }

        store
            .create_manifest(&manifest(1, 20, 0, &[FIRST, SECOND]))
            .await
            .unwrap();
        for boundary in [30, 40, 50] {
            let later = manifest(1, boundary, 1, &[MERGED]);
            store.create_manifest(&later).await.unwrap();
        }
        (store, manifest(1, 50, 1, &[MERGED]))
    }

    #[tokio::test]
    async fn merged_parts_go_once_no_kept_manifest_names_them() {
        let (store, newest) = store().await;
        retain(&store, &newest).await;
        assert_eq!(store.manifests().await.unwrap().len(), KEPT);
        assert_eq!(store.parts().await.unwrap(), [MERGED, IN_PROGRESS]);

        // The second merge is named by the newest of the three that are kept, and not by the oldest.
        let next = manifest(1, 60, 2, &[IN_PROGRESS]);
        store.create_manifest(&next).await.unwrap();
        retain(&store, &next).await;
        assert_eq!(store.parts().await.unwrap(), [MERGED, IN_PROGRESS]);

        for boundary in [70, 80] {
            let next = manifest(1, boundary, 2, &[IN_PROGRESS]);
            store.create_manifest(&next).await.unwrap();
            retain(&store, &next).await;
        }
        assert_eq!(store.parts().await.unwrap(), [IN_PROGRESS]);
    }

    #[tokio::test]
    async fn an_earlier_attempt_s_merge_is_kept_as_long_as_its_manifests() {
        let (store, _) = store().await;
        store.claim_attempt().await.unwrap();
        for boundary in [50, 60, 70, 80] {
            let next = manifest(2, boundary, 5, &[MERGED]);
            store.create_manifest(&next).await.unwrap();
            retain(&store, &next).await;

            let is_kept = store
                .parts()
                .await
                .unwrap()
                .contains(&IN_PROGRESS.to_owned());
            assert_eq!(is_kept, boundary < 70, "{boundary}");
        }
    }

    #[tokio::test]
    async fn an_attempt_deletes_nothing_once_a_later_one_was_claimed() {
        let (store, newest) = store().await;
        store.claim_attempt().await.unwrap();
        retain(&store, &newest).await;
        assert_eq!(store.manifests().await.unwrap().len(), 4);
        assert_eq!(store.parts().await.unwrap().len(), 4);
    }

    #[test]
    fn a_part_that_a_later_manifest_may_name_is_kept() {
        let kept = ManifestId {
            attempt: 5,
            boundary: 100,
        };
        let goes = |part| is_superseded(part, kept, 3);

        assert!(goes("0000000004-0000-000000000000000-000000000000900"));
        assert!(goes("0000000004-m000009-000000000000000-000000000000900"));
        assert!(goes("0000000005-0001-000000000000000-000000000000090"));
        assert!(!goes("0000000005-0001-000000000000000-000000000000100"));
        assert!(goes("0000000005-m000002-000000000000000-000000000000090"));
        assert!(
            !goes("0000000005-m000003-000000000000000-000000000000090"),
            "the merge may be in progress"
        );

        assert!(!goes("0000000006-0001-000000000000000-000000000000090"));
        assert!(!goes("0000000006-m000000-000000000000000-000000000000090"));
    }

    #[test]
    fn objects_with_other_names_are_kept() {
        let kept = ManifestId {
            attempt: 9,
            boundary: 100,
        };
        for name in [
            "notes",
            "4-x-0-0",
            "4-mx-0-0",
            "4-0-x-0",
            "4-0-0-0-0",
            "4-0-0",
            "",
        ] {
            assert!(!is_superseded(name, kept, 3), "{name}");
        }
    }
}
