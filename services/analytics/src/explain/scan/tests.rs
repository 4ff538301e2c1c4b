//! Tests that a scan reads each record once, and reports a gap for records that it does not read.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use record_log::simulated::{Call, Fault, SimulatedLog};
use record_log::{Cleanup, Delivery, NewRecord, TopicSpec};

use super::*;

const WIDE: Limits = Limits {
    records: 1_000_000,
    time: Duration::from_secs(60),
};

/// Returns a log with a topic of two partitions, each with this number of records.
fn log(records: u64) -> SimulatedLog {
    let log = SimulatedLog::default();
    let spec = TopicSpec {
        name: "orders".to_owned(),
        partitions: 2,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(60),
    };
    log.ensure_topics(&[spec]).unwrap();

    let mut publisher = log.publisher("test", Delivery::AtLeastOnce).unwrap();
    for partition in [0, 1] {
        for _ in 0..records {
            let record = NewRecord {
                topic: "orders",
                partition: Some(partition),
                key: None,
                value: Some(b"order"),
                headers: &[],
            };
            publisher.send(record).unwrap();
        }
    }
    publisher.commit(&[]).unwrap();
    log
}

/// Scans the log with room for `room` records. Returns the number of records that were passed on, and the gaps.
fn scanned(log: &SimulatedLog, limits: Limits, room: u64) -> (u64, Vec<String>) {
    let mut scan = Scan::new(log, 0, limits);
    let mut passed = 0;
    scan.topic("orders", &mut |_| {
        passed += 1;
        passed <= room
    })
    .unwrap();

    let (read, gaps) = scan.conclude();
    assert_eq!(read, passed);
    (read, gaps)
}

#[test]
fn every_record_is_passed_once() {
    for records in [0, 1, 999, 1000, 7000] {
        let all = scanned(&log(records), WIDE, u64::MAX);
        assert_eq!(all, (2 * records, Vec::new()));
    }
}

#[test]
fn a_scan_that_reaches_a_limit_names_it() {
    let log = log(3000);
    let few = Limits {
        records: 1500,
        ..WIDE
    };
    let (read, gaps) = scanned(&log, few, u64::MAX);
    assert!((1500..=3500).contains(&read), "{read}");
    assert_eq!(
        gaps,
        ["orders was not read to its end, as at most 1500 records are read"]
    );

    let short = Limits {
        time: Duration::ZERO,
        ..WIDE
    };
    let (read, gaps) = scanned(&log, short, u64::MAX);
    assert_eq!(read, 0);
    assert_eq!(gaps, ["orders was not read to its end within 0 seconds"]);

    let (_, gaps) = scanned(&log, WIDE, 10);
    assert_eq!(
        gaps,
        ["orders has more records of this count than are listed"]
    );
}

#[test]
fn offsets_that_hold_no_record_end_no_scan() {
    let log = log(100);
    log.abort("orders", 0, 10);
    log.compact_away("orders", 1, 50);
    let (read, gaps) = scanned(&log, WIDE, u64::MAX);
    assert_eq!((read, gaps), (199, Vec::new()));
}

#[test]
fn what_is_deleted_during_a_scan_is_a_gap() {
    let log = log(3000);
    let shared = log.clone();
    let polls = AtomicU32::new(0);
    let process = log.process(move |call| {
        let is_poll = matches!(call, Call::Poll { partition: 1, .. });
        if is_poll && polls.fetch_add(1, Ordering::SeqCst) == 1 {
            shared.expire("orders", 1, 2500);
        }
        Fault::None
    });

    // The first thousand records of partition 1, and its last five hundred, which are not deleted.
    let (read, gaps) = scanned(&process, WIDE, u64::MAX);
    assert_eq!(read, 4500);
    assert_eq!(
        gaps,
        ["the log deleted records of partition 1 of orders while they were read"]
    );
}

#[test]
fn a_scan_reads_on_however_often_records_are_deleted() {
    for (every, at_once) in [(1, 900), (1, 1500), (1, 6999), (2, 3000), (5, 6500)] {
        let log = log(7000);
        let shared = log.clone();
        let polls = AtomicU64::new(0);
        // The bisection polls, too.
        let process = log.process(move |call| {
            if matches!(call, Call::Poll { partition: 1, .. }) {
                let number = polls.fetch_add(1, Ordering::SeqCst);
                if (number + 1).is_multiple_of(every) {
                    shared.expire("orders", 1, 6999.min(at_once * (number + 1) / every));
                }
            }
            Fault::None
        });

        let mut scan = Scan::new(&process, 0, WIDE);
        let mut last = None;
        scan.topic("orders", &mut |record| {
            if record.partition == 1 {
                assert!(last.replace(record.offset) < Some(record.offset));
            }
            true
        })
        .unwrap();

        let (_, gaps) = scan.conclude();
        assert_eq!(last, Some(6999), "{every}, {at_once}");
        assert_eq!(gaps.len(), 1, "{every}, {at_once}: {gaps:?}");
    }
}

#[test]
fn what_was_deleted_is_a_gap_even_if_nothing_is_left() {
    let log = log(10);
    log.expire("orders", 0, 10);
    log.expire("orders", 1, 4);
    let (read, gaps) = scanned(&log, WIDE, u64::MAX);
    assert_eq!(read, 6);
    assert_eq!(
        gaps,
        [
            "the log no longer holds partition 0 of orders before offset 10",
            "the log no longer holds partition 1 of orders before offset 4",
        ]
    );
}

#[test]
fn deleted_records_are_a_gap_if_only_offsets_are_left() {
    let log = log(10);
    log.expire("orders", 0, 10);
    log.abort("orders", 0, 3);
    let (read, gaps) = scanned(&log, WIDE, u64::MAX);
    assert_eq!(read, 10);
    assert_eq!(
        gaps,
        ["the log no longer holds partition 0 of orders before offset 10"]
    );
}

#[test]
fn a_log_that_lost_its_end_ends_the_scan_with_a_gap() {
    let log = log(3000);
    let shared = log.clone();
    let polls = AtomicU64::new(0);
    let process = log.process(move |call| {
        let is_poll = matches!(call, Call::Poll { partition: 1, .. });
        if is_poll && polls.fetch_add(1, Ordering::SeqCst) == 1 {
            shared.recreate("orders");
        }
        Fault::None
    });

    let (read, gaps) = scanned(&process, WIDE, u64::MAX);
    assert_eq!(read, 3000);
    assert_eq!(
        gaps,
        [
            "the log deleted records of partition 1 of orders while they were read",
            "the log deleted records of partition 0 of orders while they were read",
        ]
    );
}
