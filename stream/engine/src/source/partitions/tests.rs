//! Tests of a worker's partitions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use record_log::simulated::{Call, Fault, SimulatedLog};
use record_log::{Cleanup, Delivery, NewRecord, RecordLog, TopicSpec};

use super::*;
use crate::aggregate::Count;
use crate::cut::{Rules, Start};
use crate::pane::Windows;
use crate::sink::side::SideLimits;
use crate::source::limits::InputLimits;
use crate::watermark::{Newest, Pace};

/// Returns a log whose records are event times, by partition. The first poll of partition 1
/// fails.
fn log(times: [&[u64]; 2]) -> SimulatedLog {
    let log = SimulatedLog::new(|| 1_000_000);
    let retention = Duration::from_secs(60);
    let topic = TopicSpec {
        name: "events".to_owned(),
        partitions: 2,
        cleanup: Cleanup::Delete,
        retention,
    };
    log.ensure_topics(&[topic]).unwrap();

    let mut publisher = log.publisher("generator", Delivery::Transactional).unwrap();
    for (partition, times) in (0..).zip(times) {
        for time in times {
            let value = time.to_string();
            let partition = Some(partition);
            let value = Some(value.as_bytes());

            publisher
                .send(NewRecord {
                    topic: "events",
                    partition,
                    key: None,
                    value,
                    headers: &[],
                })
                .unwrap();
        }
    }

    publisher.commit(&[]).unwrap();
    let has_failed = AtomicBool::new(false);
    log.process(move |call| {
        let fails = matches!(call, Call::Poll { partition: 1, .. })
            && !has_failed.swap(true, Ordering::SeqCst);
        if fails {
            Fault::Unavailable
        } else {
            Fault::None
        }
    })
}

/// Returns partitions that count events, read from their starts, behind a boundary.
fn partitions(
    log: &SimulatedLog,
    boundary: EventTimeMs,
    starts: [(u32, Start); 2],
    may_lose_anchors: bool,
) -> Partitions<u64, Count> {
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    let from = starts.each_ref().map(|(id, start)| (*id, start.resume));
    let reader = log.reader("events", &from).unwrap();
    let decode: Decode<u64, Count> = Arc::new(|record, admission| {
        let time = std::str::from_utf8(record.value.unwrap())
            .unwrap()
            .parse()
            .unwrap();

        if admission.admit(time, None)? {
            admission.add(1, Count(1));
        }

        Ok(())
    });

    let limits = Limits {
        windows,
        is_passing: false,
        reach_ms: 0,
        of_inputs: [InputLimits {
            may_lose_anchors,
            sides: SideLimits {
                late_bytes: 1_000,
                dead_letter_bytes: 1_000,
            },
        }]
        .into(),
        max_open_panes: 2,
        sets_aside: false,
        max_horizons: 100,
    };

    let rules = Rules {
        windows,
        allowed_lateness_ms: 0,
        max_future_skew_ms: 0,
        pace: Pace {
            disorder_ms: 0,
            max_clock_skew_ms: 0,
            idle_after_ms: 1_000,
        },
    };

    Partitions::new(
        Intake::new(rules, boundary, starts),
        reader,
        decode,
        limits,
        SideQueue::new(1_000, BTreeMap::new()),
    )
}

#[test]
fn a_restart_reads_an_awaited_partition_despite_open_panes() {
    let log = log([&[100, 110, 120, 130, 140], &[10, 200]]);
    let newest = Some(Newest {
        event_ms: 200,
        read_at_ms: 0,
        lag_ms: None,
    });

    let starts = [
        (0, Start::default()),
        (
            1,
            Start {
                resume: 1,
                cut: 2,
                newest,
                ..Start::default()
            },
        ),
    ];

    let moment = Moment {
        committed: 100,
        all_at_end_ms: 0,
        now_ms: 0,
    };

    let mut partitions = partitions(&log, 100, starts, false);

    assert!(
        partitions.poll(moment).is_err(),
        "partition 0 has been read, partition 1 has not"
    );

    assert_eq!(
        (partitions.open_entries(), partitions.advance(140).is_some()),
        (5, false)
    );

    assert!(partitions.poll(moment).is_ok());
    assert_eq!(
        (partitions.open_entries(), partitions.advance(140).is_some()),
        (6, true)
    );
}

/// Returns an empty log of two partitions, and its clock.
fn empty_log() -> (SimulatedLog, Arc<AtomicU64>) {
    let clock_ms = Arc::new(AtomicU64::new(1_000));
    let of_log = Arc::clone(&clock_ms);
    let log = SimulatedLog::new(move || of_log.load(Ordering::SeqCst));
    let topic = TopicSpec {
        name: "events".to_owned(),
        partitions: 2,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(60),
    };
    log.ensure_topics(&[topic]).unwrap();
    (log, clock_ms)
}

/// Appends events to a partition, with these times in the log.
fn append(log: &SimulatedLog, partition: u32, times: &[(u64, LogTimeType)]) {
    for time in times {
        log.append_at("events", partition, b"100", *time);
    }
}

/// Three times of appends.
const TIMES: [(u64, LogTimeType); 3] = [
    (500, LogTimeType::Append),
    (600, LogTimeType::Append),
    (700, LogTimeType::Append),
];

fn at(now_ms: u64) -> Moment {
    Moment {
        committed: 0,
        all_at_end_ms: 0,
        now_ms,
    }
}

fn from_the_beginning() -> [(u32, Start); 2] {
    [0, 1].map(|id| (id, Start::default()))
}

#[test]
fn an_anchor_is_the_last_record_read_with_its_log_time() {
    let (log, _) = empty_log();
    append(&log, 1, &TIMES);
    let mut partitions = partitions(&log, 0, from_the_beginning(), false);
    partitions.poll(at(1_000)).unwrap();

    let (crossing, _) = partitions.advance(200).unwrap();
    let anchors: Vec<_> = crossing.cuts.iter().map(|cut| cut.anchor).collect();
    let last = Anchor {
        offset: 2,
        log_time_ms: 700,
    };
    assert_eq!(anchors, [None, Some(last)]);
}

/// Returns the partition that differs from the checkpoint's, if one does. The checkpoint has this anchor in partition
/// 1.
fn foreign(log: &SimulatedLog, log_time_ms: u64, may_lose_anchors: bool) -> Option<u32> {
    let anchor = Anchor {
        offset: 0,
        log_time_ms,
    };
    let start = Start {
        cut: 1,
        anchor: Some(anchor),
        ..Start::default()
    };
    let starts = [(0, Start::default()), (1, start)];
    let mut partitions = partitions(log, 0, starts, may_lose_anchors);
    partitions.poll(at(1_000)).unwrap();
    partitions.poll(at(1_000)).unwrap();
    partitions.foreign()
}

#[test]
fn a_partition_whose_anchor_is_another_record_or_none_is_named() {
    let (log, _) = empty_log();
    append(&log, 0, &TIMES);
    append(&log, 1, &TIMES);
    for may_lose_anchors in [false, true] {
        assert_eq!(foreign(&log, 500, may_lose_anchors), None);
        assert_eq!(foreign(&log, 501, may_lose_anchors), Some(1));
    }

    log.compact_away("events", 1, 0);
    assert_eq!(foreign(&log, 500, false), Some(1));
    assert_eq!(foreign(&log, 500, true), None, "compaction took it");
}

#[test]
fn one_record_with_a_producer_s_time_decides_who_sets_the_times() {
    let (log, _) = empty_log();
    let mut partitions = partitions(&log, 0, from_the_beginning(), false);
    partitions.poll(at(1_000)).unwrap();
    assert_eq!(partitions.log_time_types().get(&0), None);

    append(&log, 0, &TIMES);
    partitions.poll(at(1_000)).unwrap();
    assert_eq!(partitions.log_time_types()[&0], LogTimeType::Append);

    append(&log, 1, &[(800, LogTimeType::Create), TIMES[0]]);
    for _ in 0..2 {
        partitions.poll(at(1_000)).unwrap();
        assert_eq!(partitions.log_time_types()[&0], LogTimeType::Create);
        append(&log, 0, &TIMES);
    }
}

#[test]
fn a_partition_answers_by_records_later_ends_or_its_own_end() {
    let (log, clock_ms) = empty_log();
    append(&log, 0, &TIMES);
    let partitions = partitions(&log, 0, from_the_beginning(), false);
    // Partition 1 is read to its end.
    let mut partitions = partitions.until(Some(BTreeMap::from([(0, 9), (1, 0)])));
    let mut heard_at = |now_ms| {
        partitions.poll(at(now_ms)).unwrap();
        let positions = partitions.positions(partitions.claim());
        let known: Vec<_> = positions
            .map(|it| (it.heard_at_ms, it.end_as_of_ms))
            .collect();
        known
    };

    let of_other = |now_ms| (Some(now_ms), None);
    let first = (Some(2_000), Some(1_000));
    assert_eq!(heard_at(2_000), [first, of_other(2_000)]);
    assert_eq!(heard_at(3_000), [first, of_other(3_000)], "no news");

    clock_ms.store(4_000, Ordering::SeqCst);
    let later = (Some(4_500), Some(4_000));
    assert_eq!(heard_at(4_500), [later, of_other(4_500)]);

    log.silence("events", 0, 1);
    clock_ms.store(5_000, Ordering::SeqCst);
    assert_eq!(heard_at(5_000), [later, of_other(5_000)]);

    for now_ms in [6_000, 7_000] {
        append(&log, 0, &TIMES);
        assert_eq!(heard_at(now_ms)[0].0, Some(now_ms), "records alone do");
    }
}

/// A log with nothing to read, which names an obstacle of partition 1.
struct Throttled;

impl Reader for Throttled {
    fn poll(
        &mut self,
        _: u32,
        _: usize,
        _: &mut dyn FnMut(Record<'_>),
    ) -> Result<Polled, LogError> {
        Ok(Polled {
            records: 0,
            next_offset: 0,
            end_as_of_ms: None,
        })
    }

    fn on_readable(&mut self, _: Wake) {}

    fn obstacle(&self, partition: u32) -> Option<Arc<str>> {
        (partition == 1).then(|| "raise its quota".into())
    }
}

#[test]
fn a_partition_has_an_obstacle_until_progress_or_its_end() {
    let (log, _) = empty_log();
    append(&log, 1, &TIMES);
    let mut partitions = partitions(&log, 0, from_the_beginning(), false);
    let mut reader = std::mem::replace(&mut partitions.reader, Box::new(Throttled));
    let obstacles = |partitions: &mut Partitions<u64, Count>| -> Vec<_> {
        partitions.poll(at(2_000)).unwrap();
        partitions
            .positions(partitions.claim())
            .map(|it| it.obstacle)
            .collect()
    };

    let throttled = [None, Some("raise its quota".into())];
    assert_eq!(obstacles(&mut partitions), throttled);
    std::mem::swap(&mut partitions.reader, &mut reader);
    assert_eq!(obstacles(&mut partitions), [None, None], "records came");

    std::mem::swap(&mut partitions.reader, &mut reader);
    assert_eq!(obstacles(&mut partitions), throttled);
    partitions.ends = Some(BTreeMap::from([(1, 1)]));
    assert_eq!(obstacles(&mut partitions), [None, None], "it is read");
}
