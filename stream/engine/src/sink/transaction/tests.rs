//! The rows and notes that transactions commit, on a simulated log.

use std::collections::BTreeMap;
use std::time::Duration;

use record_log::simulated::SimulatedLog;
use record_log::{Cleanup, Delivery, Record, RecordLog, TopicSpec};

use super::*;
use crate::aggregate::Count;
use crate::job::Job;
use crate::pane::Windows;

fn pipeline() -> Pipeline<u64, Count> {
    let minute = Windows::tumbling(Duration::from_secs(60)).unwrap();
    Job::new("counts")
        .source("events", |_: &Record<'_>| Ok((0, 7)))
        .window(minute)
        .aggregate(|key: u64| [(key, Count(1))])
        .sink("counts", |row, output| {
            output.value.push(row.aggregate.0 as u8);
        })
}

fn log() -> SimulatedLog {
    let log = SimulatedLog::default();
    let topic = TopicSpec {
        name: "counts".to_owned(),
        partitions: 1,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(60),
    };
    log.ensure_topics(&[topic]).unwrap();
    log
}

/// The results of a pane: a row.
fn batch(pane: EventTimeMs) -> Batch<u64, Count> {
    let row = Row {
        window_start: pane,
        key: 7,
        aggregate: Count(1),
        revision: 0,
        is_gone: false,
    };
    let results = PaneResults {
        rows: vec![vec![row]],
        ..PaneResults::default()
    };
    Batch::from([(pane, results)])
}

/// Transactions of worker 1 of an attempt that found `progress`.
fn transactions(log: &SimulatedLog, progress: SinkProgress) -> Transactions {
    let id = "counts-sink-1";
    let start = SinkStart {
        publisher: log.publisher(id, Delivery::Transactional).unwrap(),
        progress,
        groups: vec![group_of(7_u64.stable_hash())],
        attempt: 1,
        sides: SideQueue::new(1_000, BTreeMap::new()),
        former: Vec::new(),
        max_rows: 10,
    };
    Transactions::new(start, &pipeline(), &Lineage::default())
}

#[test]
fn a_worker_notes_what_it_has_committed_and_not_what_others_have() {
    let log = log();
    let writer = RowWriter::of(&pipeline());
    let mut first = transactions(&log, SinkProgress::default());
    first.commit(&batch(60_000), &writer, &|| {}).unwrap();
    let committed = first.furthest();
    assert!(committed.is_some());

    // Another attempt finds this progress, and repeats the same rows.
    let found = first.progress.clone();
    let mut next = transactions(&log, found);
    next.commit(&batch(60_000), &writer, &|| {}).unwrap();
    assert_eq!(log.records("counts").len(), 1, "nothing is repeated");
    assert_eq!(next.furthest(), None, "nothing was committed by this one");

    next.commit(&batch(120_000), &writer, &|| {}).unwrap();
    assert_eq!(log.records("counts").len(), 2);
    assert!(next.furthest() > committed);
}
