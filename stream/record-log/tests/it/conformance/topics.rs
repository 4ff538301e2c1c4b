//! Topics: their limits, partitions and positions of groups.

use std::time::Duration;

use record_log::progress::of_number;
use record_log::{Cleanup, LogError, LogTimeType, NewRecord, RecordLog, TopicSpec, partition_of};

use crate::subject::{Read, all, assert_values, publish, record, topic, transactional, unique};

pub fn a_record_larger_than_its_topic_takes_is_refused_by_name(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    let limit = log.describe(&topic).unwrap().record_limit;
    let mut publisher = transactional(log, &unique("oversize"));

    let empty = NewRecord {
        key: Some(b"user 7"),
        headers: &[("source_partition", b"3"), ("source_offset", b"41")],
        ..record(&topic, 0, b"")
    };

    // The value is as compressible as possible, because the size before compression counts.
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

pub fn topics_are_described(log: &dyn RecordLog) {
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

pub fn keys_choose_the_partition_that_java_clients_choose(log: &dyn RecordLog) {
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
    // All records of a transaction on a partition become readable together.
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

pub fn groups_remember_positions_by_topic_and_partition(log: &dyn RecordLog) {
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

pub fn topics_that_exist_are_left_as_they_are(log: &dyn RecordLog) {
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
