//! Reading: positions, ends and their dates, and the records themselves.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use record_log::progress::of_number;
use record_log::{LogError, NewRecord, RecordLog, Signal};

use crate::subject::{
    Read, all, poll_until, publish, read_to_end, record, topic, transactional, unique,
};

/// A time limit that is longer than any working operation.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn the_end_is_the_one_that_the_log_returns(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    let mut reader = log.reader(&topic, &[(0, 0)]).unwrap();
    let (records, polled) = read_to_end(&mut *reader, 0);

    assert_eq!(
        (records.len(), polled.next_offset, polled.is_at_end()),
        (0, 0, true)
    );

    publish(log, &topic, 0, &[b"a", b"b"]);
    publish(log, &topic, 0, &[b"c"]);
    let mut records = Vec::new();
    let polled = poll_until(&mut *reader, 0, &mut records, |polled, records| {
        polled.is_at_end() && records.len() == 3
    });
    let end = log.offsets(&topic).unwrap()[0].end;

    assert_eq!(
        polled.next_offset, end,
        "the end counts the markers of transactions, if there are any"
    );

    let mut at_end = log.reader(&topic, &[(0, end)]).unwrap();
    let (records, polled) = read_to_end(&mut *at_end, 0);
    assert_eq!((records.len(), polled.next_offset), (0, end));
}

fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since_epoch.as_millis()).unwrap()
}

pub fn an_end_is_dated_before_its_request_and_dated_again(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    publish(log, &topic, 0, &[b"a"]);
    let opened_ms = now_ms();
    let mut reader = log.reader(&topic, &[(0, 0)]).unwrap();
    let (_, polled) = read_to_end(&mut *reader, 0);
    let first_ms = polled.end_as_of_ms.unwrap();
    assert!((opened_ms..=now_ms()).contains(&first_ms), "{first_ms}");

    // No record is published: only an answer of the log can move the date beyond this moment.
    let later_ms = now_ms() + 1;
    let polled = poll_until(&mut *reader, 0, &mut Vec::new(), |polled, _| {
        polled.end_as_of_ms.is_some_and(|date| date >= later_ms)
    });
    assert!(polled.end_as_of_ms.unwrap() <= now_ms());
}

pub fn records_after_a_dated_end_were_appended_after_its_date(log: &dyn RecordLog) {
    // A broker stamps a record a moment before its answers include it.
    const TOLERANCE_MS: u64 = 250;

    let topic = topic(log, 1);
    let mut reader = log.reader(&topic, &[(0, 0)]).unwrap();
    let signal = Signal::default();
    reader.on_readable(signal.wake());

    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = transactional(log, &unique("dated"));
            for progress in 0..20 {
                publisher.send(record(&topic, 0, b"a")).unwrap();
                publisher.commit(&of_number(progress)).unwrap();
            }
        });

        let mut records = 0;
        let mut dates = 0;
        let mut date_ms = 0;
        let begun = Instant::now();

        while records < 20 {
            assert!(begun.elapsed() < PATIENCE, "{records} of 20 records came");
            let polled = reader.poll(0, 3, &mut |record| {
                let log_time_ms = record.log_time_ms + TOLERANCE_MS;
                assert!(log_time_ms >= date_ms, "{log_time_ms} < {date_ms}");
                records += 1;
            });
            let end_ms = polled.unwrap().end_as_of_ms.unwrap_or(0);
            dates += u32::from(end_ms > date_ms);
            date_ms = date_ms.max(end_ms);
            signal.wait(Duration::from_millis(5));
        }

        assert!(dates > 0, "ends were dated meanwhile");
    });
}

pub fn a_reader_starts_at_its_offset_and_polls_at_most_the_maximum(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    publish(log, &topic, 0, &[b"a", b"b", b"c", b"d", b"e"]);
    let mut reader = log.reader(&topic, &[(0, 2)]).unwrap();
    let mut offsets = Vec::new();

    while offsets.len() < 3 {
        let before = offsets.len();
        let polled = reader
            .poll(0, 1, &mut |record| offsets.push(record.offset))
            .unwrap();
        assert_eq!(polled.records, offsets.len() - before);
        assert!(polled.records <= 1);
        assert!(polled.records == 0 || polled.next_offset > *offsets.last().unwrap());
    }

    assert_eq!(offsets, [2, 3, 4]);
}

pub fn a_position_beyond_the_end_is_out_of_range(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    publish(log, &topic, 0, &[b"a"]);
    let mut reader = log.reader(&topic, &[(0, 1_000)]).unwrap();
    let signal = Signal::default();
    reader.on_readable(signal.wake());

    let error = loop {
        match reader.poll(0, 10, &mut |_| panic!("there is nothing to read")) {
            Ok(polled) => assert!(!polled.is_at_end()),
            Err(error) => break error,
        }
        signal.wait(Duration::from_millis(100));
    };

    assert!(
        matches!(
            error,
            LogError::OffsetOutOfRange {
                partition: 0,
                offset: 1_000,
                ..
            }
        ),
        "{error}"
    );
}

pub fn an_unknown_topic_or_partition_is_named(log: &dyn RecordLog) {
    let unknown = unique("unknown");
    assert!(
        matches!(log.partitions(&unknown), Err(LogError::UnknownTopic(named)) if named == unknown)
    );
    assert!(
        matches!(log.offsets(&unknown), Err(LogError::UnknownTopic(named)) if named == unknown)
    );
    assert!(
        matches!(log.reader(&unknown, &[(0, 0)]), Err(LogError::UnknownTopic(named)) if named == unknown)
    );

    let topic = topic(log, 1);
    let opened = log.reader(&topic, &[(1, 0)]);
    assert!(matches!(
        opened,
        Err(LogError::UnknownPartition { partition: 1, .. })
    ));
}

pub fn tombstones_empty_values_and_headers_come_back_as_sent(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    let mut publisher = transactional(log, &unique("headers"));
    let headers: &[(&str, &[u8])] = &[("ce_id", b"7"), ("ce_id", b"8"), ("empty", b"")];

    let full = NewRecord {
        topic: &topic,
        partition: Some(0),
        key: Some(b"key"),
        value: Some(b"value"),
        headers,
    };
    publisher.send(full).unwrap();

    publisher
        .send(NewRecord {
            value: None,
            headers: &[],
            ..full
        })
        .unwrap();

    publisher
        .send(NewRecord {
            key: None,
            value: Some(b""),
            headers: &[],
            ..full
        })
        .unwrap();

    publisher.commit(&of_number(1)).unwrap();
    let records = all(log, &topic, 0, 3);
    let shape = |read: &Read| (read.key.clone(), read.value.clone(), read.headers.len());

    assert_eq!(
        shape(&records[0]),
        (Some(b"key".to_vec()), Some(b"value".to_vec()), 3)
    );

    assert_eq!(shape(&records[1]), (Some(b"key".to_vec()), None, 0));
    assert_eq!(shape(&records[2]), (None, Some(Vec::new()), 0));
    let expected = [("ce_id", &b"7"[..]), ("ce_id", b"8"), ("empty", b"")];

    assert_eq!(
        records[0].headers,
        expected.map(|(name, value)| (name.to_owned(), value.to_vec()))
    );
}

pub fn a_value_of_900_kib_is_carried(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    let large: Vec<u8> = (0..900_u32 << 10)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    publish(log, &topic, 0, &[b"before", &large, b"after"]);

    let records = all(log, &topic, 0, 3);
    assert_eq!(records.len(), 3);
    assert!(
        records[1]
            .value
            .as_ref()
            .is_some_and(|value| *value == large)
    );
}

pub fn log_times_are_those_of_the_append(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    let before = now_ms();
    publish(log, &topic, 0, &[b"a"]);

    let after = now_ms();
    let stamped = all(log, &topic, 0, 1)[0].log_time_ms;
    assert!(
        (before..=after).contains(&stamped),
        "{before} ≤ {stamped} ≤ {after}"
    );
}

pub fn a_waiting_reader_is_woken_by_a_commit(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    let mut reader = log.reader(&topic, &[(0, 0)]).unwrap();
    read_to_end(&mut *reader, 0);

    let signal = Signal::default();
    reader.on_readable(signal.wake());
    std::thread::scope(|scope| {
        scope.spawn(|| publish(log, &topic, 0, &[b"a"]));
        let begun = Instant::now();
        while reader.poll(0, 10, &mut |_| ()).unwrap().records == 0 {
            signal.wait(PATIENCE);
            assert!(begun.elapsed() < PATIENCE, "nothing woke the reader");
        }
    });
}
