//! Transactions on three brokers, each of which fails and comes back: leaders, coordinators and the controller move.
//!
//! A publisher and a reader of the native client go on all the time. At the end librdkafka reads the committed records.
//! Each transaction must be there once, whole, and in its order, and no record of an abandoned one. The reader must
//! have received the same records.
//!
//! librdkafka only opens publishers here. As the publisher of transactions it passed five runs of six; in the sixth it
//! ended the process by the assertion `rk->rk_eos.txn_req_cnt > 0` of its handler of AddPartitionsToTxn (2.12.1,
//! `rdkafka_txnmgr.c:1007`).

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use record_log::progress::{number_of, of_number};
use record_log::{Delivery, LogError, PublishError, Publisher, RecordLog, Signal};

use crate::broker::{Broker, Client, NEWEST, START_LIMIT, create_when_ready, spec};
use crate::cluster::{Cluster, NODES};
use crate::subject::record;

const PARTITIONS: u32 = 3;
const TOPIC_PREFIX: &str = "moved";
/// The number of transactions that each publisher commits, and each reader reads, between two troubles.
const BETWEEN: u64 = 10;
/// Before one transaction in this number, another one is abandoned.
const ABANDONED_ONE_IN: u64 = 10;
/// The time without an answer after which a client gives up a broker.
const SILENCE_MS: &str = "4000";
/// The publishers' pace.
const PACE: Duration = Duration::from_millis(10);
/// The publishers that are opened and publish nothing: the last parts of their ids.
const OTHERS: [u8; 6] = [0, 1, 2, 3, 4, 5];
/// The interval at which conditions are checked.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A time limit that is longer than leaders take to move on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// The number of records of an abandoned transaction, so large that most of them are sent before it ends.
const ABANDONED_RECORDS: usize = 9;
const LARGE_BYTES: usize = 300 << 10;

#[test]
fn leaders_move_and_brokers_return_and_nothing_is_lost() {
    assert_nothing_is_lost(NEWEST);
}

/// Kafka 3.9 has the first protocol of transactions.
#[test]
fn leaders_move_on_kafka_3_9_and_nothing_is_lost() {
    assert_nothing_is_lost("3.9.1");
}

fn assert_nothing_is_lost(version: &str) {
    let Some(mut cluster) = Cluster::start(version, &[], |_, _| String::new()) else {
        return;
    };
    let lives = [Life::new(Client::Native, &cluster)];
    let opening = Life::new(Client::Librdkafka, &cluster);
    std::thread::scope(|scope| {
        let _stopping = Stopping(&lives);
        let running: Vec<_> = lives.iter().map(|life| life.start(scope)).collect();
        trouble(&mut cluster, &lives, &opening);
        lives.iter().for_each(Life::stop);
        running.into_iter().for_each(join);
    });

    lives.iter().for_each(Life::compare);
}

/// Ends all threads when the test fails, because the scope waits for them.
struct Stopping<'a>(&'a [Life]);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(Life::stop);
    }
}

/// A broker's trouble.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// Its machine loses its power.
    Killed,
    /// It is shut down in good order.
    Stopped,
    /// It keeps its connections and answers nothing.
    Frozen,
}

impl Trouble {
    const ALL: [Self; NODES] = [Self::Killed, Self::Stopped, Self::Frozen];

    pub fn begin(self, broker: &mut Broker) {
        match self {
            Self::Killed => broker.kill(),
            Self::Stopped => broker.stop(),
            Self::Frozen => broker.freeze(),
        }
    }

    pub fn end(self, broker: &mut Broker) {
        match self {
            Self::Killed | Self::Stopped => broker.spawn(),
            Self::Frozen => broker.thaw(),
        }
    }
}

/// Makes each broker fail once. Afterwards the controller lets it lead again.
fn trouble(cluster: &mut Cluster, lives: &[Life], opening: &Life) {
    let open_others = || lives.iter().chain([opening]).for_each(Life::open_others);
    await_all(lives, 1);
    open_others();
    for (node, trouble) in Trouble::ALL.into_iter().enumerate() {
        trouble.begin(&mut cluster.brokers[node]);
        await_leaders(cluster, lives, |leaders| !leaders.contains(&node));
        open_others();
        await_all(lives, BETWEEN);

        trouble.end(&mut cluster.brokers[node]);
        await_leaders(cluster, lives, |leaders| leaders.contains(&node));
        await_all(lives, BETWEEN);
    }
}

/// Waits until each publisher has committed `more` further transactions, and each reader has read them.
fn await_all(lives: &[Life], more: u64) {
    for life in lives {
        let committed = life.committed.load(Ordering::SeqCst) + more;
        await_until(
            || {
                assert!(!life.is_stopped(), "{life:?} has failed");
                life.read.load(Ordering::SeqCst) >= committed
            },
            || format!("{committed} transactions of {life:?}"),
        );
    }
}

pub fn await_until(mut is_so: impl FnMut() -> bool, what: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(
            Instant::now() < deadline,
            "not within {PATIENCE:?}: {}",
            what()
        );
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Waits until the leaders of all topics are as expected.
fn await_leaders(cluster: &Cluster, lives: &[Life], is_expected: impl Fn(&[usize]) -> bool) {
    for life in lives {
        await_until(
            || {
                let leaders: Vec<usize> =
                    cluster.leaders(&life.topic).into_iter().flatten().collect();
                leaders.len() == PARTITIONS as usize && is_expected(&leaders)
            },
            || {
                format!(
                    "leaders of {}: {:?}",
                    life.topic,
                    cluster.leaders(&life.topic)
                )
            },
        );
    }
}

fn join(threads: [ScopedJoinHandle<'_, ()>; 2]) {
    for thread in threads {
        thread.join().unwrap_or_else(|panic| resume_unwind(panic));
    }
}

/// A publisher and a reader of one client, and their topic.
struct Life {
    client: Client,
    log: Arc<dyn RecordLog>,
    brokers: String,
    topic: String,
    noise: String,
    /// The number of the newest transaction that is committed.
    committed: AtomicU64,
    /// The number of the newest transaction that the reader has read completely.
    read: AtomicU64,
    is_stopped: AtomicBool,
}

impl std::fmt::Debug for Life {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Life")
            .field("client", &self.client)
            .field("committed", &self.committed)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

impl Life {
    fn new(client: Client, cluster: &Cluster) -> Self {
        let log = client.open(&cluster.addresses, &[("socket.timeout.ms", SILENCE_MS)]);
        let topic = format!("{TOPIC_PREFIX}-{client:?}");
        create_when_ready(&*log, &["ready"]);
        let deadline = Instant::now() + START_LIMIT;
        while let Err(error) = log.ensure_topics(&[spec(&topic, PARTITIONS)]) {
            assert!(Instant::now() < deadline, "{error}");
            std::thread::sleep(Duration::from_millis(200));
        }

        Self {
            client,
            log,
            brokers: cluster.addresses.clone(),
            topic,
            noise: noise(7),
            committed: AtomicU64::new(0),
            read: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
        }
    }

    fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
    ) -> [ScopedJoinHandle<'scope, ()>; 2] {
        [
            scope.spawn(|| self.publish()),
            scope.spawn(|| self.follow()),
        ]
    }

    fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    /// Publishes as the job does: sends unpublished records again, and after a commit that may have happened takes the
    /// outcome from the progress of a new publisher.
    fn publish(&self) {
        let _stopping = Stopping(from_ref(self));
        let mut publisher = self.open();
        let mut committed = 0;
        while !self.is_stopped() {
            if committed % ABANDONED_ONE_IN == 0 {
                self.abandon(publisher);
                publisher = self.open();
                assert_eq!(progress_of(&*publisher), committed, "{self:?}");
            }

            match self.transact(&mut *publisher, committed + 1) {
                Ok(()) => committed += 1,
                Err(PublishError::NotPublished(_)) => {}
                Err(error @ (PublishError::MayHaveHappened(_) | PublishError::Fenced { .. })) => {
                    drop(publisher);
                    publisher = self.open();
                    let progress = progress_of(&*publisher);
                    let of_this = [committed, committed + 1];
                    assert!(of_this.contains(&progress), "{self:?}: {error}: {progress}");
                    committed = progress;
                }
                Err(refused) => panic!("{self:?}: {refused}"),
            }

            self.committed.store(committed, Ordering::SeqCst);
            std::thread::sleep(PACE);
        }
    }

    fn open(&self) -> Box<dyn Publisher> {
        loop {
            match self.log.publisher(&self.topic, Delivery::Transactional) {
                Ok(publisher) => return publisher,
                Err(error) => assert!(error.is_transient(), "{self:?}: {error}"),
            }
        }
    }

    /// Opens publishers whose progress is in partitions of all brokers, so that their leaders must be found again.
    fn open_others(&self) {
        let ids = OTHERS.map(|other| format!("{}-{other}", self.topic));
        let ids = ids.each_ref().map(String::as_str);
        await_until(
            || match self.log.publishers(&ids, Delivery::Transactional) {
                Ok(_) => true,
                Err(error) => {
                    assert!(error.is_transient(), "{self:?}: {error}");
                    false
                }
            },
            || format!("publishers of {ids:?}"),
        );
    }

    fn transact(&self, publisher: &mut dyn Publisher, number: u64) -> Result<(), PublishError> {
        for partition in 0..PARTITIONS {
            let value = value(number, partition);
            publisher.send(record(&self.topic, partition, value.as_bytes()))?;
        }
        publisher.commit(&of_number(number))
    }

    /// Sends records that are never committed. The publisher is dropped, and the brokers abort its transaction when it
    /// is opened again.
    fn abandon(&self, mut publisher: Box<dyn Publisher>) {
        for partition in (0..PARTITIONS).cycle().take(ABANDONED_RECORDS) {
            match publisher.send(record(&self.topic, partition, self.noise.as_bytes())) {
                Ok(()) => {}
                Err(PublishError::Refused(refused)) => panic!("{self:?}: {refused}"),
                Err(_) => return,
            }
        }
    }

    /// Reads all transactions that were committed when the publisher stopped, and checks their order.
    fn follow(&self) {
        let _stopping = Stopping(from_ref(self));
        let from: Vec<(u32, u64)> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
        let mut reader = self.log.reader(&self.topic, &from).unwrap();
        let signal = Signal::default();
        reader.on_readable(signal.wake());

        let mut next: BTreeMap<u32, u64> =
            (0..PARTITIONS).map(|partition| (partition, 1)).collect();
        let mut stopped_at = None;
        while !self.is_stopped()
            || self.read.load(Ordering::SeqCst) < self.committed.load(Ordering::SeqCst)
        {
            for (partition, number) in &mut next {
                let polled = reader.poll(*partition, 1_000, &mut |record| {
                    let found = std::str::from_utf8(record.value.unwrap()).unwrap();
                    let expected = value(*number, *partition);
                    assert_eq!(
                        found, expected,
                        "{self:?}, partition {partition}, offset {}",
                        record.offset
                    );
                    *number += 1;
                });
                match polled {
                    Ok(_) | Err(LogError::Unavailable(_)) => {}
                    Err(error) => panic!("{self:?}: {error}"),
                }
            }

            if self.is_stopped() {
                let stopped_at: &mut Instant = stopped_at.get_or_insert_with(Instant::now);
                assert!(stopped_at.elapsed() < PATIENCE, "{self:?}");
            }

            let read = next.values().min().map_or(0, |number| number - 1);
            self.read.store(read, Ordering::SeqCst);
            signal.wait(Duration::from_millis(20));
        }
    }

    /// Compares the transactions with the records that another client reads.
    fn compare(&self) {
        let committed = self.committed.load(Ordering::SeqCst);
        for partition in 0..PARTITIONS {
            let found = self.read_by_librdkafka(partition);
            let expected = (1..=committed).map(|number| value(number, partition));
            assert!(
                found.iter().eq(&expected.collect::<Vec<_>>()),
                "{self:?}: {found:?}"
            );
        }
    }

    fn read_by_librdkafka(&self, partition: u32) -> Vec<String> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "nobody")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .create()
            .unwrap();
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&self.topic, partition.cast_signed(), Offset::Beginning)
            .unwrap();
        consumer.assign(&from).unwrap();

        let mut read = Vec::new();
        let committed = usize::try_from(self.committed.load(Ordering::SeqCst)).unwrap();
        loop {
            match consumer.poll(Duration::from_secs(60)) {
                Some(Ok(message)) => {
                    read.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_)))
                    if read.len() >= committed =>
                {
                    return read;
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => {}
                other => panic!("{self:?}: {} records, then {other:?}", read.len()),
            }
        }
    }
}

fn progress_of(publisher: &dyn Publisher) -> u64 {
    let progress = publisher.progress();
    progress.map_or(0, |bytes| number_of(bytes).unwrap())
}

fn value(number: u64, partition: u32) -> String {
    format!("{number}/{partition}")
}

/// Returns a text that no codec makes much smaller.
pub fn noise(seed: u64) -> String {
    let mut state = seed + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        format!("{:08x}", state >> 32)
    };
    (0..LARGE_BYTES / 8).map(|_| next()).collect()
}
