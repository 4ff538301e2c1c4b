//! Publishing: order, transactions, progress and fencing.

use std::time::{Duration, Instant};

use record_log::progress::of_number;
use record_log::{Delivery, PROGRESS_MAX_BYTES, PublishError, RecordLog};

use crate::subject::{all, assert_values, record, topic, transactional, unique};

pub fn records_of_a_partition_are_read_in_the_order_they_were_sent(log: &dyn RecordLog) {
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

pub fn a_commit_publishes_to_all_partitions_and_topics_together(log: &dyn RecordLog) {
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

/// Polls for records for a moment. It does not wait for the end, because an open transaction has none.
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

pub fn uncommitted_records_of_a_dropped_publisher_are_never_read(log: &dyn RecordLog) {
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

pub fn progress_is_read_back_by_the_next_holder(log: &dyn RecordLog) {
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

pub fn progress_is_bytes_up_to_a_limit(log: &dyn RecordLog) {
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

pub fn publishers_opened_together_have_each_their_own_progress(log: &dyn RecordLog) {
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

pub fn a_commit_without_records_still_carries_its_progress(log: &dyn RecordLog) {
    let id = unique("empty");
    let mut publisher = transactional(log, &id);
    publisher.commit(&of_number(3)).unwrap();
    publisher.commit(&of_number(4)).unwrap();
    assert_eq!(transactional(log, &id).progress(), Some(&of_number(4)[..]));
}

pub fn the_earlier_holder_is_fenced_and_nothing_of_it_is_read(log: &dyn RecordLog) {
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

pub fn an_at_least_once_publisher_publishes_and_keeps_its_progress(log: &dyn RecordLog) {
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
