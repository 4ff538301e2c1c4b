//! Tests of a worker's partitions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use record_log::simulated::{Call, Fault, SimulatedLog};
use record_log::{Cleanup, Delivery, NewRecord, RecordLog, TopicSpec};

use super::*;
use crate::aggregate::Count;
use crate::cut::{Rules, Start};
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

#[test]
fn a_partition_that_a_restart_waits_for_is_read_however_much_the_others_hold_open() {
    let log = log([&[100, 110, 120, 130, 140], &[10, 200]]);
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
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

    let reader = log.reader("events", &[(0, 0), (1, 1)]).unwrap();
    let decode: Decode<u64, Count> = Arc::new(|record, admission| {
        let time = std::str::from_utf8(record.value.unwrap())
            .unwrap()
            .parse()
            .unwrap();

        if admission.admit(time)? {
            admission.add(1, Count(1));
        }

        Ok(())
    });

    let limits = Limits {
        windows,
        is_passing: false,
        reach_ms: 0,
        of_inputs: [InputLimits {
            may_lose_anchors: false,
            sides: SideLimits {
                late_bytes: 1_000,
                dead_letter_bytes: 1_000,
            },
        }]
        .into(),
        max_open_panes: 2,
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

    let moment = Moment {
        committed: 100,
        all_at_end_ms: 0,
        now_ms: 0,
    };

    let mut partitions = Partitions::new(
        Intake::new(rules, 100, starts),
        reader,
        decode,
        limits,
        SideQueue::new(1_000, BTreeMap::new()),
    );

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
