//! Tests of a topic that is generated. All other topics are those of the log beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use record_log::generated::{Generate, GeneratedRecord, GeneratorLog, GeneratorSettings};
use record_log::simulated::SimulatedLog;
use record_log::{
    Cleanup, LogError, LogTimeType, Offset, OffsetRange, Polled, Reader, RecordLog, TopicSpec,
};

const TOPIC: &str = "squares";

fn squares() -> Generate {
    Arc::new(|seed, number| GeneratedRecord {
        key: number.to_string().into_bytes(),
        value: (seed + number * number).to_string().into_bytes(),
        time_ms: 1_000 * number,
    })
}

fn settings(partitions: u32, records: Option<u64>, per_second: Option<u64>) -> GeneratorSettings {
    GeneratorSettings {
        partitions,
        records,
        per_second,
        seed: 5,
    }
}

fn open(settings: GeneratorSettings) -> Result<GeneratorLog, LogError> {
    GeneratorLog::open(
        settings,
        TOPIC,
        squares(),
        Arc::new(SimulatedLog::default()),
    )
}

/// Polls once. Returns the offset, number and value of each record, and the result of the poll.
fn poll(reader: &mut dyn Reader, partition: u32, max: usize) -> (Vec<(Offset, u64, u64)>, Polled) {
    let number = |bytes: Option<&[u8]>| {
        std::str::from_utf8(bytes.unwrap())
            .unwrap()
            .parse()
            .unwrap()
    };
    let mut records = Vec::new();
    let polled = reader.poll(partition, max, &mut |record| {
        assert_eq!(
            (record.partition, record.log_time_type),
            (partition, LogTimeType::Create)
        );
        let key: u64 = number(record.key);
        assert_eq!(record.log_time_ms, 1_000 * key);
        records.push((record.offset, key, number(record.value)));
    });
    let polled = polled.unwrap();
    assert_eq!(polled.records, records.len());
    (records, polled)
}

#[test]
fn a_topic_has_the_same_records_in_any_number_of_partitions() {
    for partitions in 1..=5 {
        let log = open(settings(partitions, Some(17), None)).unwrap();
        assert_eq!(log.partitions(TOPIC).unwrap(), partitions);
        let ranges = log.offsets(TOPIC).unwrap();
        let mut all = Vec::new();

        for (partition, range) in (0..).zip(ranges) {
            let mut reader = log.reader(TOPIC, &[(partition, 0)]).unwrap();
            let (records, polled) = poll(reader.as_mut(), partition, 100);
            assert_eq!(
                range,
                OffsetRange {
                    start: 0,
                    end: polled.next_offset
                }
            );
            assert!(polled.is_at_end());
            all.extend(
                records
                    .into_iter()
                    .map(|(_, number, square)| (number, square)),
            );
        }

        all.sort_unstable();
        let expected: Vec<(u64, u64)> = (0..17)
            .map(|number| (number, 5 + number * number))
            .collect();
        assert_eq!(all, expected, "{partitions} partitions");
    }
}

#[test]
fn readers_from_any_offset_read_the_same_records() {
    let log = open(settings(3, Some(31), None)).unwrap();
    let mut reader = log.reader(TOPIC, &[(1, 0)]).unwrap();
    let (whole, _) = poll(reader.as_mut(), 1, 100);
    assert_eq!(whole.len(), 10);

    for from in 0..=10_u32 {
        let rest = &whole[from as usize..];
        for max in 1..=4 {
            let log = open(settings(3, Some(31), None)).unwrap();
            let mut reader = log.reader(TOPIC, &[(1, from.into())]).unwrap();
            let mut records = Vec::new();
            loop {
                let (more, polled) = poll(reader.as_mut(), 1, max);
                records.extend(more);
                // The end is confirmed with the last record, not before.
                assert_eq!(polled.is_at_end(), records.len() == rest.len());
                if polled.is_at_end() {
                    break;
                }
            }
            assert_eq!(records, rest, "from {from}, {max} at a time");
        }
    }

    let beyond = log.reader(TOPIC, &[(1, 11)]).err();
    assert!(matches!(
        beyond,
        Some(LogError::OffsetOutOfRange { offset: 11, .. })
    ));
    let none = log.reader(TOPIC, &[(3, 0)]).err();
    assert!(matches!(
        none,
        Some(LogError::UnknownPartition { partition: 3, .. })
    ));
}

#[test]
fn records_of_a_rate_are_readable_in_time_and_confirm_no_end() {
    let now_ms = Arc::new(AtomicU64::new(50_000));
    let clock = Arc::clone(&now_ms);
    let log = open(settings(2, None, Some(20))).unwrap();
    let log = log.with_clock(move || clock.load(Ordering::SeqCst));

    let mut reader = log.reader(TOPIC, &[(1, 7)]).unwrap();
    let mut read = |after_ms: u64| {
        now_ms.store(50_000 + after_ms, Ordering::SeqCst);
        let (records, polled) = poll(reader.as_mut(), 1, 100);
        assert!(!polled.is_at_end(), "others are to come");
        (records.len(), polled.next_offset)
    };
    assert_eq!((read(0), read(99), read(100)), ((0, 7), (0, 7), (1, 8)));
    assert_eq!(
        (read(1_000), read(500)),
        ((9, 17), (0, 17)),
        "a clock that goes back takes nothing back"
    );
    assert_eq!(log.offsets(TOPIC).unwrap()[1].end, 17);

    let mut reader = log.reader(TOPIC, &[(0, 0)]).unwrap();
    let (waker, woken) = channel();
    reader.on_readable(Arc::new(move || {
        // There is no receiver after the test has ended.
        let _ = waker.send(());
    }));
    // The first wake-up is at once, and further ones follow without a poll.
    for _ in 0..3 {
        woken.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}

#[test]
fn a_rate_with_an_end_confirms_it_when_all_is_read() {
    let now_ms = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&now_ms);
    let log = open(settings(1, Some(5), Some(1))).unwrap();
    let log = log.with_clock(move || clock.load(Ordering::SeqCst));
    let mut reader = log.reader(TOPIC, &[(0, 0)]).unwrap();
    assert_eq!(log.offsets(TOPIC).unwrap()[0].end, 5);

    for (second, count) in [(4, 4), (60, 1), (61, 0)] {
        now_ms.store(1_000 * second, Ordering::SeqCst);
        let (records, polled) = poll(reader.as_mut(), 0, 100);
        assert_eq!(records.len(), count);
        assert_eq!(
            polled.end_as_of_ms,
            (second >= 60).then_some(1_000 * second)
        );
    }
}

#[test]
fn settings_without_a_record_are_refused() {
    for (settings, reason) in [
        (settings(0, Some(1), None), "at least 1 partition"),
        (settings(1, None, None), "needs a rate"),
        (settings(1, None, Some(0)), "1 record a second"),
    ] {
        let Some(LogError::Settings(refused)) = open(settings).err() else {
            panic!("{settings:?} is refused");
        };
        assert!(refused.to_string().contains(reason), "{refused}");
    }

    let log = open(settings(1, Some(1), None)).unwrap();
    let spec = |name: &str| TopicSpec {
        name: name.to_owned(),
        partitions: 3,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(60),
    };
    log.ensure_topics(&[spec("counts"), spec(TOPIC)]).unwrap();
    assert_eq!(log.partitions("counts").unwrap(), 3);
    assert_eq!(log.partitions(TOPIC).unwrap(), 1);
    log.commit("group", "counts", &[(0, 4)]).unwrap();
    assert_eq!(log.committed("group", "counts").unwrap(), [(0, 4)]);
    assert!(matches!(
        log.commit("group", TOPIC, &[(0, 4)]),
        Err(LogError::Refused(_))
    ));
}
