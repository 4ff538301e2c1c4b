//! Tests of recovery: which checkpoint is chosen, and how damaged ones are passed over.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::*;
use crate::checkpoint::lineage::{Branch, Progress};
use crate::pane::Windows;
use crate::sink::progress::{Carried, FormerSlot, SinkProgress};

fn fingerprint() -> Fingerprint {
    Fingerprint::new(
        "events",
        &Windows::tumbling(Duration::from_millis(10)).unwrap(),
    )
}

fn manifest(attempt: u64, boundary: EventTimeMs) -> Manifest {
    Manifest {
        boundary,
        ..adopt(None, attempt, "counts", &fingerprint())
    }
}

/// Returns the boundary and the branches that the next attempt finds, given whole and damaged
/// manifests.
async fn found(whole: &[(u64, u64)], damaged: &[(u64, u64)]) -> (EventTimeMs, Vec<Branch>) {
    let objects = Arc::new(InMemory::new());
    let store = CheckpointStore::new(objects.clone(), Path::default(), "counts");
    for (attempt, boundary) in whole.iter().chain(damaged) {
        store
            .create_manifest(&manifest(*attempt, *boundary))
            .await
            .unwrap();
    }

    for (attempt, boundary) in damaged {
        let path = Path::from(format!(
            "counts/manifests/{attempt:010}-{boundary:015}.json"
        ));
        objects.head(&path).await.unwrap();
        objects.put(&path, "{}".into()).await.unwrap();
    }

    let nobody = async |_| Ok::<_, RecoverError>(None);
    let found = newest(&store, 9, &fingerprint(), &Share::everything(), nobody).await;
    let found = found.unwrap().unwrap();
    (
        found.manifest.boundary,
        found.manifest.lineage.branches().to_vec(),
    )
}

#[tokio::test]
async fn skipped_manifests_show_which_results_may_be_committed() {
    let branch = |from, until| {
        vec![Branch {
            line: 1,
            from,
            until,
        }]
    };

    assert_eq!(found(&[(1, 100), (1, 200)], &[]).await, (200, vec![]));
    assert_eq!(
        found(&[(1, 100)], &[(1, 200)]).await,
        (100, branch(100, 200))
    );

    assert_eq!(
        found(&[(1, 100)], &[(1, 200), (2, 200), (2, 300)]).await,
        (100, branch(100, 300))
    );

    assert_eq!(
        found(&[(4, 100)], &[(5, 100)]).await,
        (100, vec![]),
        "the later attempt had come no further"
    );

    assert_eq!(
        found(&[(4, 120)], &[(5, 100), (5, 130)]).await,
        (120, branch(100, 130)),
        "a zombie wrote 4-120"
    );
}

fn carried(furthest: Option<u64>) -> Carried {
    let slots: Vec<FormerSlot> = furthest.map(FormerSlot::kept).into_iter().collect();
    Carried {
        progress: SinkProgress::default().with_former_slots(slots),
        without: Vec::new(),
        furthest: BTreeMap::new(),
    }
}

fn branches_of(adopted: Manifest, carried: &Carried) -> Vec<Branch> {
    let reconciled = reconcile(adopted, carried, None).unwrap();
    reconciled.lineage.branches().to_vec()
}

const LOST: [Branch; 1] = [Branch {
    line: 1,
    from: 100,
    until: 100,
}];

#[test]
fn a_publisher_without_the_progress_that_it_committed_is_a_branch() {
    let branches = |publishers_kept, boundary, furthest: Option<u64>, without: &[u32]| {
        let adopted = Manifest {
            publishers_kept,
            // Publishers have replaced the slots.
            slots_kept: 9,
            ..manifest(2, boundary)
        };
        let without = without.to_vec();
        branches_of(
            adopted,
            &Carried {
                without,
                ..carried(furthest)
            },
        )
    };
    assert_eq!(branches(2, 100, Some(91), &[]), []);
    assert_eq!(branches(2, 100, Some(91), &[1]), LOST, "one of two");
    assert_eq!(branches(2, 100, None, &[0, 1]), LOST, "all");
    assert_eq!(branches(2, 100, Some(91), &[2, 3]), [], "new publishers");
    let further = branches(2, 100, Some(121), &[1]);
    assert_eq!(further.len(), 1, "one branch for both: {further:?}");
}

#[test]
fn progress_older_than_the_manifest_is_a_branch_once() {
    let found = |known: &[(u32, u64)], found: &[(u32, u64)]| {
        let adopted = Manifest {
            publishers_kept: 2,
            furthest: known.iter().copied().collect(),
            ..manifest(2, 100)
        };
        let carried = Carried {
            furthest: found.iter().copied().collect(),
            ..carried(Some(91))
        };
        let reconciled = reconcile(adopted, &carried, None).unwrap();
        assert_eq!(reconciled.furthest, carried.furthest, "it is noted");
        reconciled.lineage.branches().to_vec()
    };
    assert_eq!(found(&[(0, 91), (1, 81)], &[(0, 91), (1, 91)]), []);
    assert_eq!(found(&[(0, 91), (1, 81)], &[(0, 91), (1, 80)]), LOST);
    assert_eq!(found(&[], &[(0, 91)]), [], "an earlier program's manifest");
    let one_worker_less = found(&[(0, 91), (1, 81)], &[(0, 91)]);
    assert_eq!(one_worker_less, [], "its publisher is opened anyhow");
}

#[test]
fn a_former_slot_without_the_progress_that_it_committed_is_a_branch() {
    let branches = |slots_kept, boundary, slots: &[FormerSlot]| {
        let adopted = Manifest {
            slots_kept,
            ..manifest(2, boundary)
        };

        let carried = Carried {
            progress: SinkProgress::default().with_former_slots(slots.to_vec()),
            without: vec![0, 1],
            ..Carried::default()
        };
        branches_of(adopted, &carried)
    };

    let kept = FormerSlot::kept(91);
    let expiring = FormerSlot {
        is_kept: false,
        ..kept
    };
    let none = FormerSlot::default();

    assert_eq!(branches(2, 100, &[kept, kept]), []);
    let nothing_yet = FormerSlot::kept(0);
    assert_eq!(branches(2, 100, &[kept, nothing_yet]), []);
    assert_eq!(branches(2, 100, &[kept, none]), LOST, "one of two");
    assert_eq!(branches(2, 100, &[kept, expiring]), LOST, "an old one");
    assert_eq!(branches(2, 100, &[]), LOST, "all");
    assert_eq!(branches(0, 100, &[expiring, none]), [], "never committed");
    assert_eq!(branches(0, 0, &[]), [], "a new job");
    let of_an_earlier_version = reconcile(manifest(2, 100), &carried(None), None);
    assert!(matches!(
        of_an_earlier_version,
        Err(RecoverError::ProgressLost { boundary_ms: 100 })
    ));
}

#[test]
fn progress_beyond_the_checkpoint_is_a_branch_or_an_error() {
    let progress = |line, before| Some(Progress { line, before }.number());
    let branches = |adopted, furthest| {
        reconcile(adopted, &carried(furthest), None)
            .unwrap()
            .lineage
            .branches()
            .to_vec()
    };
    assert_eq!(branches(manifest(2, 100), progress(0, 91)), []);

    assert_eq!(
        branches(manifest(2, 100), progress(0, 121)),
        [Branch {
            line: 1,
            from: 100,
            until: 130
        }]
    );

    assert_eq!(
        branches(manifest(2, 100), progress(3, 51)),
        [Branch {
            line: 4,
            from: 100,
            until: 60
        }]
    );

    let lineage = Lineage::default().branched(0, 80, 90);
    let on_line_1 = Manifest {
        lineage,
        ..manifest(3, 100)
    };

    assert_eq!(
        branches(on_line_1.clone(), progress(0, 121)),
        [Branch {
            line: 1,
            from: 80,
            until: 130
        }]
    );

    assert_eq!(
        branches(on_line_1, progress(1, 91)),
        [Branch {
            line: 1,
            from: 80,
            until: 90
        }]
    );

    let lost = reconcile(manifest(2, 0), &carried(progress(0, 121)), None);
    assert!(matches!(
        lost,
        Err(RecoverError::CheckpointsLost { until_ms: 130 })
    ));

    assert!(
        reconcile(manifest(1, 0), &carried(None), None).is_ok(),
        "a new job"
    );
}
