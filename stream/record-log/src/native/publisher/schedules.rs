//! Transactions on a real broker while the network loses, cuts, delays and repeats the publisher's requests.
//!
//! Each schedule acts as the job does. It sends records that were not published again with the same publisher. After a
//! commit that may have happened, it opens the publisher again, whose progress shows the outcome. Then another client
//! reads the committed records: each transaction must be there once and whole.

#[allow(dead_code, reason = "the integration tests use all of it")]
#[path = "../../../tests/it/broker.rs"]
mod broker;
mod faults;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use self::broker::{Broker, Client, NEWEST, create_when_ready};
use self::faults::Faults;
use super::identity::Protocol;
use super::session::spoken;
use super::{Opening, Patience, identities};
use crate::native::NativeLog;
use crate::native::network::SocketOptions;
use crate::native::plain::Tcp;
use crate::progress::{number_of, of_number};
use crate::{
    Cleanup, Delivery, NewRecord, PROGRESS_MAX_BYTES, PublishError, Publisher, RecordLog, TopicSpec,
};

const PARTITIONS: u32 = 2;
const TRANSACTIONS: u64 = 8;
/// The numbers of schedules without `TIDEMARK_TEST_SCHEDULES`: under the brokers' protocol, under the first protocol,
/// and the number that run at a time.
const SCHEDULES: usize = 40;
const FIRST_SCHEDULES: usize = 16;
const AT_A_TIME: usize = 8;
/// The most schedules that are drawn until both doubtful outcomes of a commit have occurred.
const MOST_SCHEDULES: usize = 400;

#[test]
fn no_transaction_is_lost_doubled_or_torn_on_any_schedule() {
    let Ok(brokers) = std::env::var("TIDEMARK_TEST_BROKERS") else {
        // Written past the capture of the test harness: a skipped test must not look like one that passed.
        let _ = std::io::stderr().write_all(
            b"SKIPPED: no_transaction_is_lost_doubled_or_torn_on_any_schedule (set TIDEMARK_TEST_BROKERS)\n",
        );
        return;
    };

    let met = run_schedules(&brokers, protocol(&brokers), SCHEDULES);
    // No other process opens the publishers.
    if protocol(&brokers) == Protocol::Second {
        assert_eq!(met.fenced.load(Ordering::Relaxed), 0, "{met:?}");
    }
}

/// Runs on a broker of its own: the newest Kafka, with the protocol of transactions of versions before 4.0.
#[test]
fn no_transaction_is_lost_or_torn_under_the_first_protocol() {
    let first = ["--feature", "transaction.version=1"];
    let Some(broker) = Broker::open(NEWEST, &first) else {
        return;
    };

    let brokers = broker.address();
    create_when_ready(&*Client::Native.open(&brokers, &[]), &["ready"]);
    assert_eq!(protocol(&brokers), Protocol::First);
    run_schedules(&brokers, Protocol::First, FIRST_SCHEDULES);
}

/// The coordinator may have begun another epoch by that end. The publisher cannot distinguish this from a newer holder,
/// which goes on.
#[test]
fn a_publisher_with_an_unanswered_abort_is_not_fenced() {
    let Ok(brokers) = std::env::var("TIDEMARK_TEST_BROKERS") else {
        let _ = std::io::stderr().write_all(
            b"SKIPPED: a_publisher_with_an_unanswered_abort_is_not_fenced (set TIDEMARK_TEST_BROKERS)\n",
        );
        return;
    };

    let patience = Patience {
        call: Duration::from_secs(1),
        ..Patience::default()
    };
    for is_answered in [false, true] {
        let protocol = protocol(&brokers);
        let seed = crate::clock::system_now_ms() ^ (1 << 60);
        let schedule = Schedule::new(&brokers, protocol, seed, patience);
        let others = Schedule::new(&brokers, protocol, seed, Patience::default());
        schedule.create_topic();
        let mut publisher = others.open();
        others.transact(&mut *publisher, 1).unwrap();
        let mut publisher = schedule.open();

        // A transaction with a full batch, which is aborted.
        let records = Schedule::records(4);
        schedule.send(&mut *publisher, &records).unwrap();
        let too_long = vec![0; PROGRESS_MAX_BYTES + 1];
        publisher.commit(&too_long).unwrap_err();
        if !is_answered {
            schedule.faults.leave_ends_unanswered(true);
            let aborted = schedule.send(&mut *publisher, &records);
            assert!(matches!(aborted, Err(PublishError::NotPublished(_))));
            schedule.faults.leave_ends_unanswered(false);
        }

        let mut newer = others.open();
        let refused = schedule.send(&mut *publisher, &records).unwrap_err();
        let is_fenced = matches!(refused, PublishError::Fenced { .. });
        assert_eq!(
            (is_fenced, refused.may_have_happened()),
            (is_answered, !is_answered),
            "{refused}"
        );
        others.transact(&mut *newer, 2).unwrap();
    }
}

/// All records of the transaction were acknowledged, so only its end meets the coordinator's abort.
#[test]
fn a_commit_after_the_time_out_is_in_doubt_and_not_fenced() {
    let Ok(brokers) = std::env::var("TIDEMARK_TEST_BROKERS") else {
        let _ = std::io::stderr().write_all(
            b"SKIPPED: a_commit_after_the_time_out_is_in_doubt_and_not_fenced (set TIDEMARK_TEST_BROKERS)\n",
        );
        return;
    };

    let seed = crate::clock::system_now_ms() ^ (1 << 61);
    let schedule = Schedule::new(&brokers, protocol(&brokers), seed, Patience::default());
    schedule.create_topic();
    drop(schedule.open());
    let opening = Opening {
        cluster: &schedule.log.cluster,
        admin: &schedule.log.admin,
        delivery: Delivery::Transactional,
        timeout: Duration::from_secs(1),
        patience: Patience::default(),
    };
    let opened = identities::opening(|| opening.open_all(&[&schedule.id]));
    let mut publisher = opened.unwrap().remove(0);
    schedule
        .send(&mut publisher, &Schedule::records(1))
        .unwrap();
    publisher.flush().unwrap();

    // Readers pass the transaction when it has been aborted.
    while schedule.log.offsets(&schedule.topic).unwrap()[0].end == 0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    let refused = publisher.end_commit().unwrap_err();
    assert!(refused.may_have_happened(), "{refused}");
    assert_eq!(schedule.open().progress(), None);
}

/// The protocol of transactions that the brokers have finalized.
fn protocol(brokers: &str) -> Protocol {
    let log = NativeLog::over(
        Box::new(Tcp(SocketOptions::default())),
        brokers,
        Patience::default(),
    );
    let spoken = log.cluster.at_any(|connection| Ok(spoken(connection)));
    spoken.unwrap()
}

/// The outcomes of the schedules.
#[derive(Debug, Default)]
struct Met {
    faults: AtomicUsize,
    not_published: AtomicUsize,
    may_have_happened: AtomicUsize,
    fenced: AtomicUsize,
}

fn run_schedules(brokers: &str, protocol: Protocol, schedules: usize) -> Met {
    let set = std::env::var("TIDEMARK_TEST_SCHEDULES");
    let schedules = set.map_or(schedules, |number| number.parse().unwrap());
    let next = AtomicUsize::new(0);
    let met = Met::default();
    let run = crate::clock::system_now_ms();
    let pace = pace(brokers, protocol, run.wrapping_sub(1));

    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let is_enough = number >= schedules && met.has_both_outcomes();
                    if is_enough || number >= schedules.max(MOST_SCHEDULES) {
                        return;
                    }

                    let seed = run.wrapping_add(number as u64);
                    Schedule::new(brokers, protocol, seed, patience(pace, seed)).run(&met);
                }
            });
        }
    });

    // A network without faults would test nothing.
    assert!(met.faults.load(Ordering::Relaxed) > schedules, "{met:?}");
    assert!(met.has_both_outcomes(), "{met:?}");
    met
}

/// Measures the time to open a publisher and to commit the largest transaction on this machine, without faults.
fn pace(brokers: &str, protocol: Protocol, seed: u64) -> Duration {
    let schedule = Schedule::new(brokers, protocol, seed, Patience::default());
    schedule.create_topic();
    let begun = Instant::now();
    schedule
        .transact(&mut *schedule.open(), TRANSACTIONS)
        .unwrap();
    begun.elapsed()
}

/// Draws time limits. With short ones the outcome of some commits is known only after the publisher is opened again.
/// All limits suffice for a commit without faults, also on a busy machine.
fn patience(pace: Duration, seed: u64) -> Patience {
    let request = Duration::from_millis(300).max(pace * 2);
    let call = match seed.is_multiple_of(3) {
        true => Duration::from_secs(8).max(request * 10),
        false => request + Duration::from_millis(50),
    };
    Patience { request, call }
}

impl Met {
    /// Returns `true` if some commit did not happen and some commit was in doubt.
    fn has_both_outcomes(&self) -> bool {
        let outcomes = [&self.not_published, &self.may_have_happened];
        outcomes
            .iter()
            .all(|count| count.load(Ordering::Relaxed) > 0)
    }
}

struct Schedule {
    brokers: String,
    topic: String,
    id: String,
    faults: Arc<Faults>,
    log: NativeLog,
}

impl Schedule {
    fn new(brokers: &str, protocol: Protocol, seed: u64, patience: Patience) -> Self {
        let faults = Faults::new(seed, protocol);
        Self {
            log: NativeLog::over(Box::new(Arc::clone(&faults)), brokers, patience),
            brokers: brokers.to_owned(),
            topic: format!("schedule-{seed}"),
            id: format!("schedule-{seed}"),
            faults,
        }
    }

    fn create_topic(&self) {
        let topic = TopicSpec {
            name: self.topic.clone(),
            partitions: PARTITIONS,
            cleanup: Cleanup::Delete,
            retention: Duration::from_secs(3600),
        };
        self.log.ensure_topics(&[topic]).unwrap();
    }

    fn run(&self, met: &Met) {
        self.create_topic();
        let mut publisher = self.open();
        self.faults.begin(3);
        let mut committed = 0;
        while committed < TRANSACTIONS {
            let sent = self.transact(&mut *publisher, committed + 1);
            match sent {
                Ok(()) => committed += 1,
                Err(PublishError::NotPublished(_)) => count(&met.not_published),
                Err(error @ (PublishError::MayHaveHappened(_) | PublishError::Fenced { .. })) => {
                    let is_fenced = !error.may_have_happened();
                    count(if is_fenced {
                        &met.fenced
                    } else {
                        &met.may_have_happened
                    });
                    drop(publisher);
                    publisher = self.open();
                    let progress = publisher.progress().map(|bytes| number_of(bytes).unwrap());
                    let progress = progress.unwrap_or(0);
                    let of_this = [committed, committed + 1];
                    assert!(of_this.contains(&progress), "{progress} of {of_this:?}");
                    committed = progress;
                }
                Err(refused) => panic!("{refused}: {:?}", self.faults.met()),
            }
        }

        // One transaction without faults: readers pass it only if nothing before it was left open.
        self.faults.end();
        while let Err(error) = self.transact(&mut *publisher, TRANSACTIONS + 1) {
            if !matches!(error, PublishError::NotPublished(_)) {
                // The publisher had to abort an earlier transaction, and cannot determine who ended it.
                publisher = self.open();
                let before = of_number(TRANSACTIONS);
                assert_eq!(publisher.progress(), Some(&before[..]), "{error}");
            }
        }

        self.compare();
        met.faults
            .fetch_add(self.faults.met().len(), Ordering::Relaxed);
    }

    fn open(&self) -> Box<dyn Publisher> {
        loop {
            match identities::opening(|| self.log.publisher(&self.id, Delivery::Transactional)) {
                Ok(publisher) => return publisher,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    }

    /// The records of a transaction, by partition: as many as its number, and now and then one that fills a batch.
    fn records(number: u64) -> Vec<(u32, String)> {
        let small = (0..number).map(|n| ((n % 2) as u32, format!("{number}/{n}")));
        let is_large = number.is_multiple_of(4);
        let large = is_large.then(|| (1, format!("{number}/large {}", scattered(number))));
        small.chain(large).collect()
    }

    fn transact(&self, publisher: &mut dyn Publisher, number: u64) -> Result<(), PublishError> {
        self.send(publisher, &Self::records(number))?;
        publisher.commit(&of_number(number))
    }

    fn send(
        &self,
        publisher: &mut dyn Publisher,
        records: &[(u32, String)],
    ) -> Result<(), PublishError> {
        for (partition, value) in records {
            publisher.send(NewRecord {
                topic: &self.topic,
                partition: Some(*partition),
                key: None,
                value: Some(value.as_bytes()),
                headers: &[],
            })?;
        }
        Ok(())
    }

    fn compare(&self) {
        let mut expected: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for (partition, value) in (1..=TRANSACTIONS + 1).flat_map(Self::records) {
            expected.entry(partition).or_default().push(value);
        }

        for (partition, values) in expected {
            let found = self.read(partition, values.len());
            let short = |values: &[String]| -> Vec<String> {
                let short = values.iter().map(|value| value.chars().take(8).collect());
                short.collect()
            };
            assert_eq!(
                short(&found),
                short(&values),
                "{}: {:?}",
                self.topic,
                self.faults.met()
            );
            assert!(found == values);
        }
    }

    /// Reads the expected number of records with another client, and any that follow.
    fn read(&self, partition: u32, expected: usize) -> Vec<String> {
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
        loop {
            match consumer.poll(Duration::from_secs(60)) {
                Some(Ok(message)) => {
                    let value = message.payload().unwrap().to_vec();
                    read.push(String::from_utf8(value).unwrap());
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => {
                    if read.len() >= expected {
                        return read;
                    }
                }
                other => panic!(
                    "{}: {} records of {expected} in partition {partition}, then {other:?}, {:?}",
                    self.topic,
                    read.len(),
                    self.faults.met()
                ),
            }
        }
    }
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Returns a text that no codec makes much smaller, and that is larger than a batch before it is sealed.
fn scattered(seed: u64) -> String {
    let mut state = seed + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        format!("{:08x}", state >> 32)
    };
    (0..40_000).map(|_| next()).collect()
}
