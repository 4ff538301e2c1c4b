//! Tests of the ledger.

use std::time::Duration;

use super::*;
use crate::checkpoint::lineage::Lineage;
use crate::checkpoint::manifest::{Fingerprint, VERSION};
use crate::cut::{Anchor, Ceiling, Cut};
use crate::pane::Windows;
use crate::sink::sides::Pending;
use crate::watermark::Newest;

fn ledger() -> Ledger {
    ledger_of(Windows::tumbling(Duration::from_millis(10)).unwrap())
}

fn ledger_of(windows: Windows) -> Ledger {
    let first = Manifest {
        version: VERSION,
        job: "counts".to_owned(),
        attempt: 1,
        boundary: 0,
        fingerprint: Fingerprint::new("orders", &windows),
        lineage: Lineage::default(),
        publishers_kept: 0,
        slots_kept: 0,
        committed: 0,
        furthest: BTreeMap::new(),
        memory: None,
        merges: 0,
        partitions: vec![],
        parts: vec![],
        copied_from: None,
    };
    Ledger::new(first, 50)
}

fn crossing(partition: u32, from: u64, to: u64, next_offset: u64, open: &[(u64, u64)]) -> Crossing {
    Crossing {
        from,
        to,
        cuts: vec![Cut {
            partition,
            next_offset,
            newest: None,
            anchor: None,
            open: open.to_vec(),
            ceilings: Vec::new(),
            ids_from: None,
            decoder: 0,
            pending: Pending::none_below(next_offset),
        }],
    }
}

fn part(name: &str, first: u64, last: u64) -> PartInfo {
    PartInfo {
        name: name.to_owned(),
        first,
        last,
        entries: 1,
        size_bytes: 1,
    }
}

fn written(plan: ManifestPlan) -> Manifest {
    match plan {
        ManifestPlan::Write(manifest) => *manifest,
        ManifestPlan::Nothing => panic!("nothing to write"),
    }
}

#[test]
fn a_manifest_keeps_what_a_cut_knows_of_its_partition() {
    let mut ledger = ledger();
    let mut crossing = crossing(0, 0, 30, 9, &[]);
    let known = Cut {
        newest: Some(Newest {
            event_ms: 29,
            read_at_ms: 90,
            lag_ms: Some(3),
        }),
        anchor: Some(Anchor {
            offset: 8,
            log_time_ms: 32,
        }),
        ceilings: vec![Ceiling {
            from: 4,
            limit_ms: 77,
        }],
        ids_from: Some(2),
        decoder: 6,
        ..crossing.cuts[0].clone()
    };
    crossing.cuts = vec![known.clone()];
    ledger.record_crossing(crossing);

    let manifest = written(ledger.plan(30, 0));
    let [found] = &manifest.partitions[..] else {
        panic!("one partition was cut");
    };
    assert_eq!((found.newest, found.anchor), (known.newest, known.anchor));
    assert_eq!(found.ceilings, known.ceilings);
    assert_eq!((found.ids_from, found.decoder), (Some(2), 6));
}

#[test]
fn a_cut_holds_for_every_boundary_of_its_crossing() {
    let mut ledger = ledger();
    ledger.record_crossing(crossing(0, 0, 30, 9, &[(10, 4), (20, 6), (30, 8)]));
    ledger.record_crossing(crossing(1, 0, 10, 5, &[(10, 5)]));
    ledger.record_crossing(crossing(1, 10, 20, 7, &[]));
    ledger.record_part(part("a", 0, 20));

    let manifest = written(ledger.plan(20, 0));
    let cuts: Vec<_> = manifest
        .partitions
        .iter()
        .map(|cut| (cut.partition, cut.cut, cut.resume))
        .collect();
    assert_eq!(cuts, [(0, 9, 6), (1, 7, 7)]);
    ledger.written(manifest);
    ledger.record_crossing(crossing(1, 20, 30, 8, &[]));

    let next = written(ledger.plan(30, 20));
    assert_eq!(
        next.partitions
            .iter()
            .map(|cut| (cut.cut, cut.resume))
            .collect::<Vec<_>>(),
        [(9, 8), (8, 8)]
    );
}

#[test]
fn parts_are_named_while_an_uncommitted_row_may_need_them() {
    let mut ledger = ledger();
    ledger.record_crossing(crossing(0, 0, 10, 1, &[]));
    ledger.record_part(part("a", 0, 0));
    ledger.written(written(ledger.plan(10, 0)));

    for boundary in (20..200).step_by(10) {
        ledger.record_crossing(crossing(0, boundary - 10, boundary, boundary, &[]));
        let held_back = written(ledger.plan(boundary, 0));
        assert_eq!(held_back.parts.len(), 1, "the sink has committed nothing");

        let manifest = written(ledger.plan(boundary, boundary));
        assert_eq!(
            manifest.parts.len(),
            usize::from(boundary < 50),
            "boundary {boundary}"
        );
        ledger.written(held_back);
    }
}

#[test]
fn the_next_manifest_names_the_merged_part_in_place_of_its_parts() {
    let mut ledger = ledger();
    ledger.record_crossing(crossing(0, 0, 5, 1, &[]));
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        ledger.record_part(part(name, 0, 4));
    }

    assert_eq!(ledger.plan_merge(), None, "no manifest names the parts");
    ledger.written(written(ledger.plan(5, 0)));
    ledger.leave_alone(vec!["x".to_owned()]);
    let plan = ledger.plan_merge().unwrap();
    assert_eq!(
        plan.name,
        "0000000001-m000000-000000000000000-000000000000004"
    );

    // The merge finishes while a manifest is being written that was planned before it.
    ledger.record_crossing(crossing(0, 5, 20, 2, &[]));
    let planned_before = written(ledger.plan(20, 5));
    ledger.record_merge(Merged {
        parts: plan.parts.into_iter().map(|part| part.name).collect(),
        into: part("m", 0, 4),
    });
    ledger.written(planned_before);
    assert_eq!(ledger.plan_merge(), None, "the merge is not durable");

    ledger.record_crossing(crossing(0, 20, 30, 3, &[]));
    let next = written(ledger.plan(30, 5));
    let names: Vec<_> = next.parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!((names, next.merges), (vec!["m"], 1));
    ledger.written(next);
    assert_eq!(ledger.plan_merge(), None, "there are few again");
}

#[test]
fn parts_that_cannot_be_merged_are_left_alone() {
    let mut ledger = ledger();
    ledger.record_crossing(crossing(0, 0, 5, 1, &[]));
    for number in 0..12 {
        ledger.record_part(part(&format!("{number:02}"), 0, 4));
    }
    ledger.written(written(ledger.plan(5, 0)));
    ledger.leave_alone(vec!["03".to_owned(), "07".to_owned()]);

    let plan = ledger.plan_merge().unwrap();
    let names: Vec<_> = plan.parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(
        names,
        ["00", "01", "02", "04", "05", "06", "08", "09", "10", "11"]
    );
}

#[test]
fn a_day_of_sessions_is_named_by_few_parts() {
    const MINUTE_MS: u64 = 60_000;
    const WORKERS: u64 = 4;
    let mut ledger = ledger();
    ledger.memory_ms = 25 * 60 * MINUTE_MS;

    for minute in 0..3 * 24 * 60 {
        let pane = minute * MINUTE_MS;
        let boundary = pane + MINUTE_MS;
        for worker in 0..WORKERS {
            let name = format!("0000000001-{worker:04}-{pane:015}-{pane:015}");
            ledger.record_part(PartInfo {
                size_bytes: 40_000 + worker,
                ..part(&name, pane, pane)
            });
        }

        let manifest = written(ledger.plan(boundary, pane));
        let size_bytes = manifest.to_bytes().len();
        assert!(manifest.parts.len() < 64, "{} parts", manifest.parts.len());
        assert!(size_bytes < 12_000, "{size_bytes} bytes");
        ledger.written(manifest);

        if let Some(MergePlan { name, parts }) = ledger.plan_merge() {
            let into = PartInfo {
                name,
                first: parts.iter().map(|part| part.first).min().unwrap(),
                last: parts.iter().map(|part| part.last).max().unwrap(),
                entries: parts.iter().map(|part| part.entries).sum(),
                size_bytes: parts.iter().map(|part| part.size_bytes).sum(),
            };
            let parts = parts.into_iter().map(|part| part.name).collect();
            ledger.record_merge(Merged { parts, into });
        }
    }

    let entries: u64 = ledger.newest.parts.iter().map(|part| part.entries).sum();
    let kept = WORKERS * 25 * 60;
    assert!(
        (kept..kept + kept / 4).contains(&entries),
        "{entries} entries are named of {kept} that matter"
    );
}

#[test]
fn a_part_merged_of_parts_that_were_dropped_meanwhile_is_not_named() {
    let mut ledger = ledger();
    ledger.record_crossing(crossing(0, 0, 10, 1, &[]));
    ledger.record_part(part("a", 0, 0));
    ledger.written(written(ledger.plan(10, 10)));
    ledger.record_crossing(crossing(0, 10, 200, 2, &[]));
    ledger.record_part(part("b", 190, 190));
    ledger.written(written(ledger.plan(200, 200)));

    ledger.record_merge(Merged {
        parts: vec!["a".to_owned()],
        into: part("m", 0, 0),
    });
    ledger.record_crossing(crossing(0, 200, 210, 3, &[]));
    let next = written(ledger.plan(210, 200));
    assert_eq!(next.parts, [part("b", 190, 190)]);
}

#[test]
fn an_idle_job_writes_nothing() {
    let ms = Duration::from_millis;
    let mut ledger = ledger_of(
        Windows::tumbling(ms(30))
            .unwrap()
            .in_panes_of(ms(10))
            .unwrap(),
    );
    ledger.record_crossing(crossing(0, 0, 10, 0, &[]));

    assert_eq!(ledger.plan(10, 10), ManifestPlan::Nothing);
    ledger.record_crossing(crossing(0, 10, 20, 1, &[]));
    ledger.record_part(part("a", 10, 10));
    ledger.written(written(ledger.plan(20, 20)));
    ledger.record_crossing(crossing(0, 20, 30, 1, &[]));

    assert!(
        matches!(ledger.plan(30, 30), ManifestPlan::Write(_)),
        "a window of the part may still close"
    );

    ledger.record_crossing(crossing(0, 30, 90, 1, &[]));
    ledger.written(written(ledger.plan(90, 90)));
    ledger.record_crossing(crossing(0, 90, 100, 1, &[]));

    assert_eq!(ledger.plan(100, 100), ManifestPlan::Nothing);
}

#[test]
fn a_part_across_the_boundary_is_named_before_and_after() {
    let mut ledger = ledger();
    ledger.record_crossing(crossing(0, 0, 30, 9, &[]));
    ledger.record_part(part("a", 0, 20));

    let manifest = written(ledger.plan(10, 0));
    assert_eq!(manifest.parts.len(), 1);
    ledger.written(manifest);

    assert_eq!(written(ledger.plan(30, 0)).parts.len(), 1);
}
