//! Tests of both logs on Kafka.

use std::time::Duration;

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::admin::{AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use record_log::kafka::{KafkaLog, PROGRESS_TOPIC};
use record_log::progress::of_number;
use record_log::{
    Cleanup, LogError, LogTimeType, PROGRESS_MAX_BYTES, PublishError, RecordLog, Signal, TopicSpec,
    partition_of,
};

use crate::subject::{
    all, assert_values, poll_until, publish, record, topic, transactional, unique,
};

/// Runs a check on the log with librdkafka and on the one with the native client.
fn on_both_clients(check: fn(&dyn RecordLog)) {
    let subjects = [crate::subject::kafka(), crate::subject::native()];
    for subject in subjects.into_iter().flatten() {
        check(&*subject.log);
    }
}

#[test]
fn a_deleted_position_is_an_error_and_never_skipped() {
    let Some(subject) = crate::subject::kafka() else {
        return;
    };

    let topic = topic(&*subject.log, 1);
    publish(&*subject.log, &topic, 0, &[b"a", b"b", b"c"]);
    delete_before(&topic, 2);

    assert_eq!(subject.log.offsets(&topic).unwrap()[0].start, 2);

    let mut reader = subject.log.reader(&topic, &[(0, 0)]).unwrap();
    let signal = Signal::default();
    reader.on_readable(signal.wake());

    let error = loop {
        match reader.poll(0, 10, &mut |_| panic!("it was deleted")) {
            Ok(polled) => assert_eq!((polled.next_offset, polled.is_at_end()), (0, false)),
            Err(error) => break error,
        }
        signal.wait(Duration::from_secs(1));
    };

    assert!(
        matches!(error, LogError::OffsetOutOfRange { offset: 0, .. }),
        "{error}"
    );

    let again = reader.poll(0, 10, &mut |_| panic!("it was deleted"));
    assert!(
        matches!(again, Err(LogError::OffsetOutOfRange { offset: 0, .. })),
        "it stays lost"
    );
    assert_values(&*subject.log, &topic, 0, &["c"]);
}

/// Deletes the records of partition 0 below the offset.
pub fn delete_before(topic: &str, offset: i64) {
    let brokers = std::env::var("TIDEMARK_TEST_BROKERS").unwrap();
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .unwrap();

    let mut before = TopicPartitionList::new();
    before
        .add_partition_offset(topic, 0, Offset::Offset(offset))
        .unwrap();
    block_on(admin.delete_records(&before, &AdminOptions::new())).unwrap();
}

#[test]
fn the_end_lies_behind_aborted_records_and_markers() {
    let Some(subject) = crate::subject::kafka() else {
        return;
    };

    let log = &*subject.log;
    let topic = topic(log, 1);
    let id = unique("aborting");
    publish(log, &topic, 0, &[b"a"]);
    assert_values(log, &topic, 0, &["a"]);

    let mut earlier = transactional(log, &id);
    for _ in 0..100 {
        earlier.send(record(&topic, 0, b"aborted")).unwrap();
    }

    // The record is sent before the abort, so that there is something to abort.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while high_watermark(&topic) < 102 {
        assert!(
            std::time::Instant::now() < deadline,
            "records are sent before they are committed"
        );
    }

    let end_while_open = log.offsets(&topic).unwrap()[0].end;
    // Records behind an open transaction are not readable and may be committed, so its end does not count.
    let mut waiting = log.reader(&topic, &[(0, 0)]).unwrap();
    let before_end = std::time::Instant::now() + Duration::from_secs(2);
    let mut read = 0;

    while std::time::Instant::now() < before_end {
        let polled = waiting.poll(0, 10, &mut |_| read += 1).unwrap();
        assert_eq!(polled.end_as_of_ms, None);
        std::thread::sleep(Duration::from_millis(20));
    }

    assert_eq!(read, 1);
    let mut newer = transactional(log, &id);
    newer.commit(&of_number(1)).unwrap();

    assert_eq!(end_while_open, 2, "the end is that of what is committed");
    let mut reader = log.reader(&topic, &[(0, 0)]).unwrap();
    let mut records = Vec::new();
    let polled = poll_until(&mut *reader, 0, &mut records, |polled, _| {
        polled.is_at_end() && polled.next_offset > 2
    });
    assert_eq!((records.len(), polled.next_offset), (1, 103));
    assert_eq!(log.offsets(&topic).unwrap()[0].end, 103);
}

#[test]
fn progress_that_was_a_group_s_offset_is_taken_over() {
    on_both_clients(take_over_progress);
}

fn take_over_progress(log: &dyn RecordLog) {
    let retention = Duration::from_secs(3600);
    let earlier_topic = TopicSpec {
        name: "tidemark-progress".to_owned(),
        partitions: 1,
        cleanup: Cleanup::Delete,
        retention,
    };
    log.ensure_topics(&[earlier_topic]).unwrap();

    let id = unique("earlier-version");
    log.commit(&id, "tidemark-progress", &[(0, 77)]).unwrap();

    let mut publisher = transactional(log, &id);
    assert_eq!(publisher.progress(), Some(&of_number(77)[..]));
    publisher.commit(&of_number(78)).unwrap();

    assert_eq!(transactional(log, &id).progress(), Some(&of_number(78)[..]));
}

#[test]
fn an_open_transaction_hides_no_progress_behind_it() {
    on_both_clients(hide_no_progress);
}

fn hide_no_progress(log: &dyn RecordLog) {
    let id = unique("hidden");
    let mut publisher = transactional(log, &id);
    publisher.commit(b"before").unwrap();

    // Another program's transaction stays open on the partition that keeps the progress, until the brokers abort it.
    let _holder = open_transaction(PROGRESS_TOPIC, partition_of(id.as_bytes(), 16));
    publisher.commit(b"behind").unwrap();
    assert_eq!(transactional(log, &id).progress(), Some(&b"behind"[..]));
}

#[test]
fn a_transaction_that_is_aborted_at_once_costs_no_record() {
    on_both_clients(abort_at_once);
}

/// Aborts transactions after different times. By then their partition was added, is being added, or could not be added
/// because the last commit is still being written.
fn abort_at_once(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    let id = unique("aborting");
    let mut publisher = transactional(log, &id);
    let values = ["1", "2", "3", "4", "5"];

    for (number, value) in (1..).zip(values) {
        loop {
            let sent = publisher.send(record(&topic, 0, value.as_bytes()));
            match sent.and_then(|()| publisher.commit(&of_number(number))) {
                Ok(()) => break,
                // The abort failed permanently. No record of this transaction may be published.
                Err(PublishError::MayHaveHappened(_)) => {
                    publisher = transactional(log, &id);
                    let before = (number > 1).then(|| of_number(number - 1));
                    assert_eq!(
                        publisher.progress(),
                        before.as_ref().map(|bytes| &bytes[..])
                    );
                }
                Err(error) => panic!("{error}"),
            }
        }

        publisher.send(record(&topic, 0, b"aborted")).unwrap();
        std::thread::sleep(Duration::from_millis(5 * (number - 1)));
        let too_large = vec![0; PROGRESS_MAX_BYTES + 1];
        let refused = publisher.commit(&too_large).unwrap_err();
        assert!(matches!(refused, PublishError::Refused(_)), "{refused}");
    }

    drop(publisher);
    drop(transactional(log, &id));
    assert_values(log, &topic, 0, &values);
}

/// Returns a producer with an open transaction that has a record on the partition. Only the brokers end it.
fn open_transaction(topic: &str, partition: u32) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set(
            "bootstrap.servers",
            std::env::var("TIDEMARK_TEST_BROKERS").unwrap(),
        )
        .set("transactional.id", unique("holder"))
        .set("transaction.timeout.ms", "2000")
        .set("message.timeout.ms", "2000")
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();

    let record = BaseRecord::to(topic)
        .partition(i32::try_from(partition).unwrap())
        .key("holder")
        .payload("open");
    producer.send(record).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();

    producer
}

#[test]
fn limits_of_a_topic_bound_records_and_batches() {
    on_both_clients(bound_records_and_batches);
}

fn bound_records_and_batches(log: &dyn RecordLog) {
    let topic = topic(log, 1);
    alter(&topic, "max.message.bytes", "20000");

    let mut publisher = transactional(log, &unique("small-batches"));
    let refused = publisher.send(record(&topic, 0, &[7; 20_000])).unwrap_err();
    assert!(
        matches!(&refused, PublishError::Refused(_))
            && refused.to_string().contains("20000 bytes that topic"),
        "{refused}"
    );

    // Bytes that do not compress give batches of the full size.
    let values: Vec<Vec<u8>> = (0..200_u32).map(|n| noise(n, 1_000)).collect();
    for value in &values {
        publisher.send(record(&topic, 0, value)).unwrap();
    }
    publisher.commit(b"1").unwrap();

    assert_eq!(all(log, &topic, 0, values.len()).len(), values.len());

    // The limit is lowered under an open publisher: the brokers refuse the batch, and the report names it.
    alter(&topic, "max.message.bytes", "5000");
    publisher
        .send(record(&topic, 0, &noise(1, 15_000)))
        .unwrap();

    let refused = publisher.commit(b"2").unwrap_err();
    assert!(matches!(&refused, PublishError::Refused(_)), "{refused}");
    for named in [&*topic, "partition 0", "bytes", "max.message.bytes"] {
        assert!(
            refused.to_string().contains(named),
            "{named:?} in {refused}"
        );
    }

    assert_eq!(transactional(log, &unique("other")).progress(), None);
}

/// Returns bytes that no codec makes smaller.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

fn alter(topic: &str, setting: &str, value: &str) {
    let brokers = std::env::var("TIDEMARK_TEST_BROKERS").unwrap();
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .unwrap();

    let config = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(setting, value);
    let altered = block_on(admin.alter_configs(&[config], &AdminOptions::new())).unwrap();
    altered.into_iter().for_each(|topic| drop(topic.unwrap()));
}

#[test]
fn a_topic_that_does_not_come_to_be_is_refused_by_name() {
    on_both_clients(refuse_an_unknown_topic);
}

fn refuse_an_unknown_topic(log: &dyn RecordLog) {
    let mut publisher = transactional(log, &unique("no-topic"));
    let unknown = unique("never-created");

    let refused = publisher
        .send(record(&unknown, 0, b"x"))
        .and_then(|()| publisher.commit(b"1"))
        .unwrap_err();

    assert!(
        matches!(&refused, PublishError::Refused(_)) && refused.to_string().contains(&unknown),
        "{refused}"
    );
}

/// Returns the end of all written records, committed or not.
fn high_watermark(topic: &str) -> i64 {
    use rdkafka::consumer::{BaseConsumer, Consumer};

    let brokers = std::env::var("TIDEMARK_TEST_BROKERS").unwrap();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("isolation.level", "read_uncommitted")
        .create()
        .unwrap();

    consumer
        .fetch_watermarks(topic, 0, Duration::from_secs(10))
        .unwrap()
        .1
}

#[test]
fn brokers_that_are_away_are_unavailable_to_every_call() {
    let log = KafkaLog::new("127.0.0.1:9", &[]).unwrap();
    assert!(matches!(
        log.partitions("orders"),
        Err(LogError::Unavailable(_))
    ));
}

#[test]
fn an_unknown_or_reserved_property_is_refused_at_once() {
    let refused = |name: &str| {
        KafkaLog::new("127.0.0.1:9", &[(name.to_owned(), "1".to_owned())])
            .err()
            .unwrap()
    };
    assert!(matches!(refused("no.such.property"), LogError::Settings(_)));

    assert!(
        refused("no.such.property")
            .to_string()
            .contains("no.such.property")
    );
    assert!(matches!(refused("isolation.level"), LogError::Settings(_)));
}

/// Times that producers give by mistake: none, seconds and microseconds since 1970, before 1970, years ahead.
const ODD_TIMES: [i64; 6] = [
    -1,
    1,
    1_764_000_000,
    1_764_000_000_000_000,
    4_100_000_000_000,
    i64::MAX,
];

#[test]
fn odd_times_of_producers_are_kept_or_replaced() {
    let Some(subject) = crate::subject::kafka() else {
        return;
    };
    let native = crate::subject::native().unwrap();

    for (setting, log_time_type) in [
        ("CreateTime", LogTimeType::Create),
        ("LogAppendTime", LogTimeType::Append),
    ] {
        let topic = unique("odd-times");
        create_stamped(&topic, setting);
        for time in ODD_TIMES {
            produce_at(&topic, time);
        }

        for log in [&*subject.log, &*native.log] {
            let records = all(log, &topic, 0, ODD_TIMES.len());
            let times: Vec<u64> = records.iter().map(|read| read.log_time_ms).collect();
            let types: Vec<_> = records.iter().map(|read| read.log_time_type).collect();
            assert_eq!(types, [log_time_type; ODD_TIMES.len()]);

            if log_time_type == LogTimeType::Create {
                let expected = ODD_TIMES.map(|time| u64::try_from(time).unwrap_or(0));
                assert_eq!(times, expected);
            } else {
                let now_ms = u64::try_from(
                    std::time::SystemTime::now()
                        .duration_since(std::time::UNIX_EPOCH)
                        .unwrap()
                        .as_millis(),
                )
                .unwrap();
                let is_recent = |time: &u64| time.abs_diff(now_ms) < 600_000;
                assert!(times.iter().all(is_recent), "{times:?}");
            }
        }
    }
}

/// Creates a topic of one partition that accepts any time.
fn create_stamped(topic: &str, timestamp_type: &str) {
    let brokers = std::env::var("TIDEMARK_TEST_BROKERS").unwrap();
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .unwrap();

    let any = i64::MAX.to_string();
    let created = NewTopic::new(topic, 1, TopicReplication::Fixed(1))
        .set("message.timestamp.type", timestamp_type)
        .set("message.timestamp.before.max.ms", &any)
        .set("message.timestamp.after.max.ms", &any);
    let outcomes = block_on(admin.create_topics(&[created], &AdminOptions::new())).unwrap();
    outcomes.into_iter().for_each(|topic| drop(topic.unwrap()));
}

/// Publishes a record with this time of its producer, in a batch of its own.
fn produce_at(topic: &str, time: i64) {
    let producer: BaseProducer = ClientConfig::new()
        .set(
            "bootstrap.servers",
            std::env::var("TIDEMARK_TEST_BROKERS").unwrap(),
        )
        .create()
        .unwrap();

    let record = BaseRecord::to(topic)
        .partition(0)
        .key("odd")
        .payload("time")
        .timestamp(time);
    producer.send(record).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
}
