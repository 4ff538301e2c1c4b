//! Tests of the log on Kafka with the native client alone.

use std::time::Duration;

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use record_log::native::NativeLog;
use record_log::{LogError, NewRecord, Reader, RecordLog, Signal};

use crate::kafka::delete_before;
use crate::leaders::await_until;
use crate::subject::{
    all, assert_values, poll_until, publish, record, topic, transactional, unique,
};

fn brokers() -> String {
    std::env::var("TIDEMARK_TEST_BROKERS").unwrap()
}

/// Polls until the reader fails, and returns the error.
fn failure(reader: &mut dyn Reader, partition: u32) -> LogError {
    let signal = Signal::default();
    reader.on_readable(signal.wake());
    loop {
        if let Err(error) = reader.poll(partition, 10, &mut |_| ()) {
            return error;
        }
        signal.wait(Duration::from_secs(1));
    }
}

#[test]
fn every_compression_of_other_producers_is_read() {
    let Some(subject) = crate::subject::native() else {
        return;
    };

    let topic = topic(&*subject.log, 1);
    let value = |codec: &str, n: usize| format!("{codec} {n} {}", "the same ".repeat(n % 50));
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];

    for codec in codecs {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", brokers())
            .set("compression.codec", codec)
            .set("linger.ms", "50")
            .create()
            .unwrap();

        for n in 0..500 {
            let value = value(codec, n);
            let record = BaseRecord::<(), String>::to(&topic)
                .partition(0)
                .payload(&value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }

    let expected = codecs.map(|codec| (0..500).map(move |n| value(codec, n)));
    let values: Vec<String> = all(&*subject.log, &topic, 0, 2_500)
        .into_iter()
        .map(|read| String::from_utf8(read.value.unwrap()).unwrap())
        .collect();
    assert!(values.into_iter().eq(expected.into_iter().flatten()));
}

#[test]
fn a_deleted_position_is_an_error_at_each_poll() {
    let Some(subject) = crate::subject::native() else {
        return;
    };

    let topic = topic(&*subject.log, 1);
    publish(&*subject.log, &topic, 0, &[b"a", b"b", b"c"]);
    delete_before(&topic, 2);

    assert_eq!(subject.log.offsets(&topic).unwrap()[0].start, 2);
    let mut reader = subject.log.reader(&topic, &[(0, 0)]).unwrap();
    for _ in 0..3 {
        let error = failure(&mut *reader, 0);
        assert!(
            matches!(error, LogError::OffsetOutOfRange { offset: 0, .. }),
            "{error}"
        );
    }
    assert_values(&*subject.log, &topic, 0, &["c"]);
}

#[test]
fn a_recreated_topic_is_not_read_as_the_old_one() {
    let Some(subject) = crate::subject::native() else {
        return;
    };

    let log = &*subject.log;
    let name = topic(log, 1);
    publish(log, &name, 0, &[b"of the old one"]);

    let mut reader = log.reader(&name, &[(0, 0)]).unwrap();
    poll_until(&mut *reader, 0, &mut Vec::new(), |polled, _| {
        polled.next_offset > 0
    });

    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create()
        .unwrap();
    block_on(admin.delete_topics(&[&name], &AdminOptions::new())).unwrap();

    // Until the topic is created again, there is none.
    let error = failure(&mut *reader, 0);
    assert!(
        matches!(&error, LogError::UnknownTopic(named) if *named == name),
        "{error}"
    );

    let spec = record_log::TopicSpec {
        name: name.clone(),
        partitions: 1,
        cleanup: record_log::Cleanup::Delete,
        retention: Duration::from_secs(3600),
    };
    log.ensure_topics(&[spec]).unwrap();
    publish(log, &name, 0, &[b"of the new one"]);

    let error = loop {
        match failure(&mut *reader, 0) {
            LogError::UnknownTopic(_) => {}
            error => break error,
        }
    };
    assert!(error.to_string().contains("created again"), "{error}");
}

/// A reader reads the partitions that it was opened with. The log returns the new number, and a further reader takes over
/// from the first and has all of them.
#[test]
fn partitions_that_are_added_meanwhile_are_read_too() {
    let Some(subject) = crate::subject::native() else {
        return;
    };

    let log = &*subject.log;
    let topic = topic(log, 1);
    let mut publisher = transactional(log, &unique("grown"));
    publisher.send(record(&topic, 0, b"before")).unwrap();
    publisher.commit(b"1").unwrap();
    let mut reader = log.reader(&topic, &[(0, 0)]).unwrap();
    let mut of_first = Vec::new();
    poll_until(&mut *reader, 0, &mut of_first, |_, records| {
        !records.is_empty()
    });

    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create()
        .unwrap();
    let more = NewPartitions::new(&topic, 3);
    let grown = block_on(admin.create_partitions([&more], &AdminOptions::new()));
    grown.unwrap().remove(0).unwrap();
    await_until(
        || log.partitions(&topic).unwrap() == 3,
        || "three partitions".to_owned(),
    );

    // The open publisher and the open reader go on with the partition that they have.
    publisher.send(record(&topic, 0, b"after")).unwrap();
    publisher.commit(b"2").unwrap();
    for partition in 1..3 {
        publish(log, &topic, partition, &[b"after"]);
    }
    poll_until(&mut *reader, 0, &mut of_first, |_, records| {
        records.len() == 2
    });
    assert_values(log, &topic, 0, &["before", "after"]);

    let next = of_first[1].offset + 1;
    let mut all = log.reader(&topic, &[(0, next), (1, 0), (2, 0)]).unwrap();
    for partition in 1..3 {
        let mut records = Vec::new();
        poll_until(&mut *all, partition, &mut records, |polled, _| {
            polled.is_at_end()
        });
        let values: Vec<_> = records
            .into_iter()
            .map(|read| read.value.unwrap())
            .collect();
        assert_eq!(values, [b"after"], "partition {partition}");
    }
    let mut rest = Vec::new();
    poll_until(&mut *all, 0, &mut rest, |polled, _| polled.is_at_end());
    assert!(rest.is_empty(), "read twice: {rest:?}");
}

#[test]
fn many_partitions_are_read_by_one_reader() {
    const PARTITIONS: u32 = 32;

    let Some(subject) = crate::subject::native() else {
        return;
    };

    let log = &*subject.log;
    let topic = topic(log, PARTITIONS);
    let mut publisher = transactional(log, &unique("many"));
    let value = vec![b'x'; 1_000];

    for _ in 0..50 {
        for partition in 0..PARTITIONS {
            publisher.send(record(&topic, partition, &value)).unwrap();
        }
    }

    publisher.commit(b"1").unwrap();
    let from: Vec<(u32, u64)> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let mut reader = log.reader(&topic, &from).unwrap();

    // The order lets the fetched records of the other partitions wait.
    for partition in (0..PARTITIONS).rev() {
        let mut records = Vec::new();
        poll_until(&mut *reader, partition, &mut records, |_, records| {
            records.len() >= 50
        });
        assert_eq!(records.len(), 50, "partition {partition}");
    }
}

#[test]
fn other_clients_read_what_was_published_byte_for_byte() {
    let Some(subject) = crate::subject::native() else {
        return;
    };

    let topic = topic(&*subject.log, 1);
    let mut publisher = transactional(&*subject.log, &unique("read-by-others"));
    let expected: Vec<Made> = (0..3_000).map(made).collect();

    for (n, record) in expected.iter().enumerate() {
        let headers: Vec<(&str, &[u8])> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        publisher
            .send(NewRecord {
                topic: &topic,
                partition: Some(0),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            })
            .unwrap();

        // Transactions of all sizes. The smallest are not packed.
        if n % 1_000 < 3 {
            publisher.commit(b"1").unwrap();
        }
    }
    publisher.commit(b"2").unwrap();

    assert!(read_by_librdkafka(&topic, expected.len()) == expected);
}

/// A record in the form in which both sides are compared.
#[derive(Debug, Eq, PartialEq)]
struct Made {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

/// Returns a record. Keys, values and headers are absent, empty, short or long; some are compressible, some not.
fn made(n: usize) -> Made {
    let noise = |length: usize| -> Vec<u8> {
        let mut state = n as u64 + 1;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    };
    let header = |m: usize| (format!("name {}", "é".repeat(m)), noise(m * 70));

    Made {
        key: (!n.is_multiple_of(3)).then(|| n.to_string().into_bytes()),
        value: match n % 7 {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(noise(n % 2_000)),
            _ => Some("the same again ".repeat(n % 40).into_bytes()),
        },
        headers: (0..n % 4).map(header).collect(),
    }
}

fn read_by_librdkafka(topic: &str, count: usize) -> Vec<Made> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("group.id", "nobody")
        .set("check.crcs", "true")
        .set("isolation.level", "read_committed")
        .create()
        .unwrap();

    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&from).unwrap();

    let mut read = Vec::new();
    while read.len() < count {
        let message = consumer.poll(Duration::from_secs(60)).unwrap().unwrap();
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        read.push(Made {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.unwrap().to_vec()))
                .collect(),
        });
    }

    read
}

#[test]
fn brokers_that_are_away_are_unavailable_to_every_call() {
    let log = NativeLog::new("127.0.0.1:9", &[]).unwrap();
    assert!(matches!(
        log.partitions("orders"),
        Err(LogError::Unavailable(_))
    ));
}
