//! An unclean election: a replica that was not in sync leads, so records that were read are gone, and others take their
//! offsets. The native client notices this by the leader's epochs (KIP-320), although its position exists.
//!
//! A reader that is opened after the election, at a position from before it, cannot notice it: positions have no epoch.

use std::ops::Range;
use std::time::Duration;

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use record_log::{LogError, Reader};

use crate::broker::{Client, NEWEST, create_when_ready};
use crate::cluster::Cluster;
use crate::leaders::await_until;

const TOPIC: &str = "truncated";
/// A time limit that is longer than an election takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// The records that both replicas have; those of the first leader alone; those of the second leader, which has more.
const OF_BOTH: Range<u64> = 0..4;
const OF_FIRST: Range<u64> = 4..8;
const OF_SECOND: Range<u64> = 104..114;

#[test]
fn an_unclean_election_stops_a_partition_at_its_position() {
    let Some(mut cluster) = Cluster::start(NEWEST, &[], |_, _| String::new()) else {
        return;
    };
    let log = Client::Native.open(&cluster.addresses, &[]);
    create_when_ready(&*log, &["ready"]);
    create_topic(&cluster);

    await_until(
        || replicas(&cluster).1.len() == 2,
        || "both in sync".to_owned(),
    );
    publish(&cluster, OF_BOTH);
    let first = cluster.leaders(TOPIC)[0].unwrap();
    let second = *replicas(&cluster)
        .0
        .iter()
        .find(|node| **node != first)
        .unwrap();

    // The other replica misses the next records.
    cluster.brokers[second].kill();
    await_until(
        || replicas(&cluster).1 == [first],
        || "one in sync".to_owned(),
    );
    publish(&cluster, OF_FIRST);

    let mut reader = log.reader(TOPIC, &[(0, 0)]).unwrap();
    let all: Vec<u64> = OF_BOTH.chain(OF_FIRST).collect();
    assert_eq!(read(&mut *reader, all.len()), all);

    cluster.brokers[first].kill();
    cluster.brokers[second].spawn();
    cluster.brokers[second].await_listener();
    await_until(
        || cluster.leaders(TOPIC) == [Some(second)],
        || "an unclean election".to_owned(),
    );
    publish(&cluster, OF_SECOND);
    let end = log.offsets(TOPIC).unwrap()[0].end;
    assert!(end > OF_FIRST.end, "the position exists: {end}");

    for _ in 0..3 {
        let error = failure(&mut *reader);
        let LogError::OffsetOutOfRange {
            topic,
            partition,
            offset,
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((&**topic, *partition, *offset), (TOPIC, 0, OF_FIRST.end));
        let sentence = error.to_string();
        for named in [TOPIC, "partition 0", "8"] {
            assert!(sentence.contains(named), "{named} in {sentence}");
        }
    }

    // From the start, the records of the second leader are there.
    let expected: Vec<u64> = OF_BOTH.chain(OF_SECOND).collect();
    let mut again = log.reader(TOPIC, &[(0, 0)]).unwrap();
    assert_eq!(read(&mut *again, expected.len()), expected);
}

fn create_topic(cluster: &Cluster) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &cluster.addresses)
        .create()
        .unwrap();
    let topic = NewTopic::new(TOPIC, 1, TopicReplication::Fixed(2))
        .set("unclean.leader.election.enable", "true")
        .set("min.insync.replicas", "1");
    let created = block_on(admin.create_topics([&topic], &AdminOptions::new()));
    created.unwrap().remove(0).unwrap();
}

/// Returns the nodes that have the partition, and those in sync.
fn replicas(cluster: &Cluster) -> (Vec<usize>, Vec<usize>) {
    let found = cluster
        .witness
        .fetch_metadata(Some(TOPIC), Duration::from_secs(1));
    let Ok(found) = found else {
        return (Vec::new(), Vec::new());
    };
    let nodes = |ids: &[i32]| -> Vec<usize> {
        let nodes = ids.iter().map(|id| usize::try_from(id - 1).unwrap());
        nodes.collect()
    };
    match found.topics()[0].partitions() {
        [partition] => (nodes(partition.replicas()), nodes(partition.isr())),
        _ => (Vec::new(), Vec::new()),
    }
}

/// Publishes records with these numbers, each in a batch of its own, and waits until the leader has them.
fn publish(cluster: &Cluster, numbers: Range<u64>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &cluster.addresses)
        .set("enable.idempotence", "true")
        .set("batch.num.messages", "1")
        .create()
        .unwrap();
    for number in numbers {
        let value = number.to_string();
        let record = BaseRecord::<(), _>::to(TOPIC).partition(0).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Reads the numbers of so many records.
fn read(reader: &mut dyn Reader, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    await_until(
        || {
            let polled = reader.poll(0, count - numbers.len(), &mut |record| {
                let value = std::str::from_utf8(record.value.unwrap()).unwrap();
                numbers.push(value.parse().unwrap());
            });
            assert!(
                matches!(polled, Ok(_) | Err(LogError::Unavailable(_))),
                "{polled:?}"
            );
            numbers.len() == count
        },
        || format!("{count} records"),
    );
    numbers
}

/// Polls until the reader fails for good, and returns the error. It must not read a record before.
fn failure(reader: &mut dyn Reader) -> LogError {
    let mut failure = None;
    await_until(
        || {
            let polled = reader.poll(0, 10, &mut |record| panic!("read offset {}", record.offset));
            failure = polled.err().filter(|error| !error.is_transient());
            failure.is_some()
        },
        || "a failure".to_owned(),
    );
    failure.unwrap()
}
