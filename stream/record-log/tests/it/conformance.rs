//! The promises of every record log, tested on each of them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use record_log::progress::of_number;
use record_log::{
    Cleanup, Delivery, LogError, LogTimeType, NewRecord, PROGRESS_MAX_BYTES, PublishError,
    RecordLog, Signal, TopicSpec, partition_of,
};

use crate::subject::{
    Read, all, assert_values, poll_until, publish, read_to_end, record, topic, transactional,
    unique,
};

/// Makes each check a test of each log.
macro_rules! on_every_log {
    ($($check:ident)*) => {
        on_every_log!(@ simulated $($check)*);
        on_every_log!(@ embedded $($check)*);
        on_every_log!(@ kafka $($check)*);
        on_every_log!(@ native $($check)*);

        /// The checks by their names, for logs that a test opens itself.
        pub const CHECKS: &[(&str, fn(&dyn RecordLog))] = &[$((stringify!($check), $check)),*];
    };
    (@ $subject:ident $($check:ident)*) => {
        mod $subject {
            $(#[test]
            fn $check() {
                if let Some(subject) = crate::subject::$subject() {
                    super::$check(&*subject.log);
                }
            })*
        }
    };
}

on_every_log! {
    records_of_a_partition_are_read_in_the_order_they_were_sent
    a_commit_publishes_to_all_partitions_and_topics_together
    what_a_dropped_publisher_left_uncommitted_is_never_read
    progress_is_read_back_by_the_next_holder
    progress_is_bytes_up_to_a_limit
    publishers_opened_together_have_each_their_own_progress
    a_commit_without_records_still_carries_its_progress
    the_earlier_holder_is_fenced_and_nothing_of_it_is_read
    an_at_least_once_publisher_publishes_and_keeps_its_progress
    the_end_is_known_and_lies_where_the_log_says
    an_end_is_dated_before_it_was_asked_for_and_dated_anew
    what_comes_after_a_dated_end_was_appended_after_its_date
    a_reader_starts_at_its_offset_and_polls_no_more_than_asked
    a_position_beyond_the_end_is_out_of_range
    an_unknown_topic_or_partition_is_named
    tombstones_empty_values_and_headers_come_back_as_sent
    a_value_of_900_kib_is_carried
    a_record_larger_than_its_topic_takes_is_refused_by_name
    topics_are_described
    keys_choose_the_partition_that_java_clients_choose
    log_times_are_those_of_the_append
    groups_remember_positions_by_topic_and_partition
    a_waiting_reader_is_woken_by_a_commit
    topics_that_exist_are_left_as_they_are
}

fn records_of_a_partition_are_read_in_the_order_they_were_sent(log: &dyn RecordLog) {
    let topic = topic(log, 2);
    let mut publisher = transactional(log, &unique("order"));
    let expected: Vec<String> = (0..3_000).map(|n| format!("value {n}")).collect();

    for (batch, values) in (1..).zip(expected.chunks(1_000)) {
        for value in values {
            publisher.send(record(&topic, 1, value.as_bytes())).unwrap();
        }
        publisher.commit(&of_number(batch)).unwrap();
    }

    let records = all(log, &topic, 1, expected.len());
    assert!(
        records
            .windows(2)
            .all(|pair| pair[0].offset < pair[1].offset)
    );

    let values: Vec<_> = records
        .into_iter()
        .map(|read| String::from_utf8(read.value.unwrap()).unwrap())
        .collect();
    assert_eq!(values, expected);
    assert_values(log, &topic, 0, &[]);
}

fn a_commit_publishes_to_all_partitions_and_topics_together(log: &dyn RecordLog) {
    let left = topic(log, 2);
    let right = topic(log, 1);
    let mut publisher = transactional(log, &unique("atomic"));
    publisher.send(record(&left, 0, b"a")).unwrap();
    publisher.send(record(&left, 1, b"b")).unwrap();
    publisher.send(record(&right, 0, b"c")).unwrap();

    for (topic, partition) in [(&left, 0), (&left, 1), (&right, 0)] {
        assert_nothing_is_readable(log, topic, partition);
    }
    publisher.commit(&of_number(1)).unwrap();

    for (topic, partition, value) in [(&left, 0, "a"), (&left, 1, "b"), (&right, 0, "c")] {
        assert_values(log, topic, partition, &[value]);
    }
}

/// Looks for records for a moment. The end is not waited for: an open transaction has none.
fn assert_nothing_is_readable(log: &dyn RecordLog, topic: &str, partition: u32) {
    assert_eq!(log.offsets(topic).unwrap()[partition as usize].end, 0);
    let mut reader = log.reader(topic, &[(partition, 0)]).unwrap();
    let until = Instant::now() + Duration::from_millis(300);

    while Instant::now() < until {
        let polled = reader.poll(partition, 10, &mut |_| panic!("it is not committed"));
        assert_eq!(polled.unwrap().next_offset, 0);
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn what_a_dropped_publisher_left_uncommitted_is_never_read(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    let id = unique("abandoned");
    let mut publisher = transactional(log, &id);
    publisher.send(record(&topic, 0, b"abandoned")).unwrap();
    drop(publisher);

    let mut publisher = transactional(log, &id);
    assert_eq!(publisher.progress(), None);
    publisher.send(record(&topic, 0, b"kept")).unwrap();
    publisher.commit(&of_number(1)).unwrap();
    assert_values(log, &topic, 0, &["kept"]);
}

fn progress_is_read_back_by_the_next_holder(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    let id = unique("progress");
    let mut publisher = transactional(log, &id);
    assert_eq!(publisher.progress(), None);

    for progress in [7, 8, 1_790_000_000_000] {
        publisher.send(record(&topic, 0, b"x")).unwrap();
        publisher.commit(&of_number(progress)).unwrap();
        assert_eq!(publisher.progress(), Some(&of_number(progress)[..]));
    }

    drop(publisher);
    assert_eq!(
        transactional(log, &id).progress(),
        Some(&of_number(1_790_000_000_000)[..])
    );
    assert_eq!(transactional(log, &unique("other")).progress(), None);
}

fn progress_is_bytes_up_to_a_limit(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    let id = unique("bytes");
    let mut publisher = transactional(log, &id);
    publisher.commit(&[]).unwrap();

    assert_eq!(transactional(log, &id).progress(), Some(&[][..]));

    let greatest: Vec<u8> = (0..PROGRESS_MAX_BYTES).map(|n| (n % 251) as u8).collect();
    let mut publisher = transactional(log, &id);
    publisher.send(record(&topic, 0, b"kept")).unwrap();
    publisher.commit(&greatest).unwrap();
    publisher.send(record(&topic, 0, b"refused")).unwrap();

    let too_large = vec![1; PROGRESS_MAX_BYTES + 1];
    let refused = publisher.commit(&too_large).unwrap_err();
    assert!(refused.to_string().contains("65537 bytes"), "{refused}");

    publisher.send(record(&topic, 0, b"next")).unwrap();
    publisher.commit(&greatest).unwrap();
    assert_values(log, &topic, 0, &["kept", "next"]);

    assert_eq!(transactional(log, &id).progress(), Some(&greatest[..]));
}

fn publishers_opened_together_have_each_their_own_progress(log: &dyn RecordLog) {
    let ids: Vec<String> = (0..20).map(|n| unique(&format!("together-{n}"))).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut earlier = log.publishers(&ids, Delivery::Transactional).unwrap();

    for (number, publisher) in (0..).zip(&mut earlier).skip(1) {
        assert_eq!(publisher.progress(), None);
        publisher.commit(&of_number(number)).unwrap();
        publisher.commit(&of_number(100 + number)).unwrap();
    }

    let newer = log.publishers(&ids, Delivery::Transactional).unwrap();
    let progress: Vec<_> = newer.iter().map(|publisher| publisher.progress()).collect();
    let expected: Vec<[u8; 8]> = (101..120).map(of_number).collect();

    assert_eq!(progress[0], None);
    assert!(
        progress[1..]
            .iter()
            .zip(&expected)
            .all(|(found, expected)| *found == Some(&expected[..]))
    );

    for publisher in &mut earlier {
        assert!(matches!(
            publisher.commit(&[]),
            Err(PublishError::Fenced { .. })
        ));
    }
}

fn a_commit_without_records_still_carries_its_progress(log: &dyn RecordLog) {
    let id = unique("empty");
    let mut publisher = transactional(log, &id);
    publisher.commit(&of_number(3)).unwrap();
    publisher.commit(&of_number(4)).unwrap();
    assert_eq!(transactional(log, &id).progress(), Some(&of_number(4)[..]));
}

fn the_earlier_holder_is_fenced_and_nothing_of_it_is_read(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    let id = unique("fenced");
    let mut earlier = transactional(log, &id);
    earlier
        .send(record(&topic, 0, b"committed in time"))
        .unwrap();
    earlier.commit(&of_number(1)).unwrap();
    earlier.send(record(&topic, 0, b"left open")).unwrap();

    let mut newer = transactional(log, &id);
    assert_eq!(newer.progress(), Some(&of_number(1)[..]));
    let refused = earlier
        .send(record(&topic, 0, b"too late"))
        .and_then(|()| earlier.commit(&of_number(2)));
    assert!(matches!(refused, Err(PublishError::Fenced { id: fenced }) if fenced == id));
    newer.send(record(&topic, 0, b"of the newer")).unwrap();
    newer.commit(&of_number(2)).unwrap();

    assert!(matches!(
        earlier.commit(&of_number(3)),
        Err(PublishError::Fenced { .. })
    ));

    assert_values(log, &topic, 0, &["committed in time", "of the newer"]);
    assert_eq!(transactional(log, &id).progress(), Some(&of_number(2)[..]));
}

fn an_at_least_once_publisher_publishes_and_keeps_its_progress(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    let id = unique("at-least-once");
    let mut publisher = log.publisher(&id, Delivery::AtLeastOnce).unwrap();
    assert_eq!(publisher.progress(), None);
    publisher.send(record(&topic, 0, b"a")).unwrap();
    publisher.send(record(&topic, 0, b"b")).unwrap();
    publisher.commit(&of_number(5)).unwrap();
    assert_values(log, &topic, 0, &["a", "b"]);

    assert_eq!(
        log.publisher(&id, Delivery::AtLeastOnce)
            .unwrap()
            .progress(),
        Some(&of_number(5)[..])
    );
}

fn the_end_is_known_and_lies_where_the_log_says(log: &dyn RecordLog) {
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

fn an_end_is_dated_before_it_was_asked_for_and_dated_anew(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    publish(log, &topic, 0, &[b"a"]);
    let opened_ms = now_ms();
    let mut reader = log.reader(&topic, &[(0, 0)]).unwrap();
    let (_, polled) = read_to_end(&mut *reader, 0);
    let first_ms = polled.end_as_of_ms.unwrap();
    assert!((opened_ms..=now_ms()).contains(&first_ms), "{first_ms}");

    // Nothing happens on the topic: only an answer of the log can move the date beyond this moment.
    let later_ms = now_ms() + 1;
    let polled = poll_until(&mut *reader, 0, &mut Vec::new(), |polled, _| {
        polled.end_as_of_ms.is_some_and(|date| date >= later_ms)
    });
    assert!(polled.end_as_of_ms.unwrap() <= now_ms());
}

fn what_comes_after_a_dated_end_was_appended_after_its_date(log: &dyn RecordLog) {
    // A broker stamps a record a moment before its answers count it.
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

        while records < 20 {
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

fn a_reader_starts_at_its_offset_and_polls_no_more_than_asked(log: &dyn RecordLog) {
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

fn a_position_beyond_the_end_is_out_of_range(log: &dyn RecordLog) {
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

fn an_unknown_topic_or_partition_is_named(log: &dyn RecordLog) {
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

fn tombstones_empty_values_and_headers_come_back_as_sent(log: &dyn RecordLog) {
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

fn a_value_of_900_kib_is_carried(log: &dyn RecordLog) {
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

fn a_record_larger_than_its_topic_takes_is_refused_by_name(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    let limit = log.describe(&topic).unwrap().record_limit;
    let mut publisher = transactional(log, &unique("oversize"));

    let empty = NewRecord {
        key: Some(b"user 7"),
        headers: &[("source_partition", b"3"), ("source_offset", b"41")],
        ..record(&topic, 0, b"")
    };

    // As compressible as a value can be: its size before compression counts.
    let largest = vec![b'x'; limit.bytes - empty.size_bytes()];
    let too_large = vec![b'x'; largest.len() + 1];
    let of = |value| NewRecord {
        value: Some(value),
        ..empty
    };
    publisher.send(of(b"before")).unwrap();

    let refused = publisher.send(of(&too_large)).unwrap_err();
    assert!(!refused.is_transient(), "{refused}");
    let said = refused.to_string();
    let bytes = limit.bytes.to_string();

    for named in [
        &*topic,
        "user 7",
        "source partition 3 offset 41",
        &bytes,
        limit.setting,
    ] {
        assert!(said.contains(named), "{named:?} in {said:?}");
    }

    publisher.send(of(&largest)).unwrap();
    publisher.commit(&of_number(1)).unwrap();
    let values: Vec<usize> = all(log, &topic, 0, 1)
        .iter()
        .map(|read| read.value.as_ref().unwrap().len())
        .collect();
    assert_eq!(values, [largest.len()], "what was sent before is sent anew");
}

fn topics_are_described(log: &dyn RecordLog) {
    let unknown = unique("unknown");
    assert!(
        matches!(log.describe(&unknown), Err(LogError::UnknownTopic(named)) if named == unknown)
    );

    let hour = Duration::from_secs(3600);
    for (cleanup, retention) in [
        (Cleanup::Delete, Some(hour)),
        (Cleanup::CompactAndDelete, Some(hour)),
        (Cleanup::Compact, None),
    ] {
        let name = unique("described");
        log.ensure_topics(&[TopicSpec {
            name: name.clone(),
            partitions: 1,
            cleanup,
            retention: hour,
        }])
        .unwrap();

        let described = log.describe(&name).unwrap();
        assert_eq!(
            (described.cleanup, described.retention),
            (cleanup, retention)
        );

        assert_eq!(described.log_time_type, LogTimeType::Append);
        assert!(described.record_limit.bytes >= 1_000_000, "{described:?}");
    }
}

fn keys_choose_the_partition_that_java_clients_choose(log: &dyn RecordLog) {
    let topic = topic(log, 4);
    let mut publisher = transactional(log, &unique("keys"));
    for id in 0..200_u32 {
        let key = id.to_string();
        let keyed = NewRecord {
            key: Some(key.as_bytes()),
            partition: None,
            ..record(&topic, 0, b"x")
        };
        publisher.send(keyed).unwrap();
    }

    publisher
        .send(NewRecord {
            partition: None,
            ..record(&topic, 0, b"without a key")
        })
        .unwrap();

    publisher.commit(&of_number(1)).unwrap();
    // The records of a transaction on a partition become readable all together.
    let records: Vec<Read> = (0..4)
        .flat_map(|partition| all(log, &topic, partition, 1))
        .collect();
    assert_eq!(records.len(), 201);

    for (key, read) in records
        .iter()
        .filter_map(|read| Some((read.key.as_ref()?, read)))
    {
        assert_eq!(read.partition, partition_of(key, 4));
    }
}

fn log_times_are_those_of_the_append(log: &dyn RecordLog) {
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

fn groups_remember_positions_by_topic_and_partition(log: &dyn RecordLog) {
    let topic = topic(log, 3);
    let group = unique("group");
    assert_eq!(log.committed(&group, &topic).unwrap(), []);
    log.commit(&group, &topic, &[(0, 5), (2, 7)]).unwrap();
    log.commit(&group, &topic, &[(2, 8)]).unwrap();

    let mut positions = log.committed(&group, &topic).unwrap();
    positions.sort_unstable();
    assert_eq!(positions, [(0, 5), (2, 8)]);
    assert_eq!(log.committed(&unique("group"), &topic).unwrap(), []);
}

fn a_waiting_reader_is_woken_by_a_commit(log: &dyn RecordLog) {
    const PATIENCE: Duration = Duration::from_secs(60);

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

fn topics_that_exist_are_left_as_they_are(log: &dyn RecordLog) {
    let name = topic(log, 2);
    publish(log, &name, 1, &[b"a"]);
    let spec = |partitions| TopicSpec {
        name: name.clone(),
        partitions,
        cleanup: Cleanup::CompactAndDelete,
        retention: Duration::from_secs(60),
    };
    log.ensure_topics(&[spec(5)]).unwrap();

    assert_eq!(log.partitions(&name).unwrap(), 2);
    assert_values(log, &name, 1, &["a"]);
}
