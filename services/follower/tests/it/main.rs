//! Following a topic of the simulated log, with faults.

#![allow(clippy::unwrap_used)]

mod behind;
mod sharing;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::Shutdown;
use follower::{Batch, Consumer, Follower, Lag, Refused, Scope};
use record_log::simulated::{Call, Fault, SimulatedLog};
use record_log::{Cleanup, Delivery, NewRecord, Offset, RecordLog, TopicSpec};
use tokio::sync::Notify;

const TOPIC: &str = "orders";
const GROUP: &str = "test";

/// The consumed records as (partition, offset); a record that is consumed twice is listed twice.
#[derive(Clone, Default)]
struct Seen {
    records: Arc<Mutex<Vec<(u32, u64)>>>,
    failures_left: Arc<AtomicUsize>,
    /// Whether the log refuses the consumer's own records.
    is_refused: Arc<AtomicBool>,
    handed_over: Arc<AtomicUsize>,
    /// The partitions that were opened last.
    opened: Arc<Mutex<Vec<u32>>>,
    changed: Arc<Notify>,
}

const REFUSAL: &str = "WRITE on topic \"orders-dead-letter\" is denied to this principal: grant it";

impl Consumer for Seen {
    type Error = &'static str;

    fn is_refusal(error: &&'static str) -> bool {
        *error == REFUSAL
    }

    fn opened(&self, next: &[(u32, Offset)]) {
        *self.opened.lock().unwrap() = next.iter().map(|(partition, _)| *partition).collect();
        self.changed.notify_one();
    }

    async fn consume(&self, batch: &Batch) -> Result<(), &'static str> {
        self.handed_over.fetch_add(1, Ordering::SeqCst);
        if self.is_refused.load(Ordering::SeqCst) {
            return Err(REFUSAL);
        }

        if self
            .failures_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok()
        {
            return Err("the store is away");
        }

        let mut records = self.records.lock().unwrap();
        records.extend(
            batch
                .records
                .iter()
                .map(|record| (record.partition, record.offset)),
        );

        self.changed.notify_one();
        Ok(())
    }
}

impl Seen {
    /// Waits until `count` records were seen. Stops the follower if that takes too long, because the runtime waits for
    /// its thread.
    async fn wait_for(&self, count: usize, shutdown: &Shutdown) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while self.distinct().len() < count {
                self.changed.notified().await;
            }
        });

        if waited.await.is_err() {
            shutdown.request();
            panic!(
                "only {} of {count} records were consumed in time",
                self.distinct().len()
            );
        }
    }

    fn distinct(&self) -> BTreeSet<(u32, u64)> {
        self.records.lock().unwrap().iter().copied().collect()
    }
}

/// Stops the follower when a test ends, also by a failed assertion, because the runtime waits for its thread.
struct Ending(Shutdown);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.request();
    }
}

/// Waits until `holds` returns true.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "not in time: {what}");
}

fn log(partitions: u32) -> SimulatedLog {
    let log = SimulatedLog::default();
    let retention = Duration::from_secs(3600);
    let spec = TopicSpec {
        name: TOPIC.to_owned(),
        partitions,
        cleanup: Cleanup::Delete,
        retention,
    };
    log.ensure_topics(&[spec]).unwrap();

    log
}

fn publish(log: &SimulatedLog, partition: u32, count: usize) {
    let mut publisher = log.publisher("test", Delivery::AtLeastOnce).unwrap();
    for _ in 0..count {
        let record = NewRecord {
            topic: TOPIC,
            partition: Some(partition),
            key: None,
            value: Some(b"1"),
            headers: &[],
        };
        publisher.send(record).unwrap();
    }
    publisher.commit(&[]).unwrap();
}

fn follower(log: &SimulatedLog) -> Follower {
    Follower {
        log: Arc::new(log.clone()),
        topic: TOPIC,
        group: GROUP,
        scope: Scope::Share,
        batch: 10,
        lag: Lag::default(),
        refused: Refused::default(),
        refused_wait: Duration::from_secs(3600),
    }
}

/// Follows until `count` records were seen, and stops.
async fn follow_until(log: &SimulatedLog, seen: &Seen, count: usize) {
    let shutdown = Shutdown::new();
    let task = follower(log).start(seen.clone(), shutdown.clone());
    seen.wait_for(count, &shutdown).await;
    shutdown.request();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_consumed_once_when_nothing_fails() {
    let log = log(3);
    (0..3).for_each(|partition| publish(&log, partition, 25));
    let seen = Seen::default();
    follow_until(&log, &seen, 75).await;
    assert_eq!(seen.records.lock().unwrap().len(), 75);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_partition_come_in_order() {
    let log = log(2);
    (0..2).for_each(|partition| publish(&log, partition, 40));
    let seen = Seen::default();
    follow_until(&log, &seen, 80).await;

    let records = seen.records.lock().unwrap();
    for partition in 0..2 {
        let offsets: Vec<u64> = records
            .iter()
            .filter(|(number, _)| *number == partition)
            .map(|(_, offset)| *offset)
            .collect();
        assert!(offsets.is_sorted(), "{offsets:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_later_is_consumed_without_waiting_for_a_look() {
    let log = log(1);
    let seen = Seen::default();
    let shutdown = Shutdown::new();
    let followed = follower(&log);
    let lag = followed.lag.clone();
    let task = followed.start(seen.clone(), shutdown.clone());

    for count in 1..=5 {
        publish(&log, 0, 1);
        seen.wait_for(count, &shutdown).await;
    }

    shutdown.request();
    task.await.unwrap();
    assert!(lag.records().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_consumer_gets_the_same_batch_again() {
    let log = log(1);
    publish(&log, 0, 15);
    let seen = Seen {
        failures_left: Arc::new(AtomicUsize::new(3)),
        ..Seen::default()
    };
    follow_until(&log, &seen, 15).await;

    assert_eq!(seen.records.lock().unwrap().len(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_the_group_stands() {
    let log = log(2);
    publish(&log, 0, 5);
    let seen = Seen::default();
    follow_until(&log, &seen, 5).await;
    publish(&log, 1, 5);

    let seen = Seen::default();
    follow_until(&log, &seen, 5).await;
    assert!(seen.distinct().iter().all(|(partition, _)| *partition == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_fails_now_and_then_loses_nothing() {
    let log = log(2);
    (0..2).for_each(|partition| publish(&log, partition, 30));
    let calls = AtomicUsize::new(0);

    let flaky = log.process(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        // The Thue–Morse sequence is not periodic, so a loop of calls does not always fail at the same call.
        number if number < 16 && number.count_ones() % 2 == 1 => Fault::Unavailable,
        _ => Fault::None,
    });

    let seen = Seen::default();
    follow_until(&flaky, &seen, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_remembered_after_the_consumer_is_done() {
    let log = log(1);
    publish(&log, 0, 10);
    let dying = log.process(|call| match call {
        Call::CommitPositions { .. } => Fault::CrashBefore,
        _ => Fault::None,
    });

    let seen = Seen::default();
    assert!(
        follower(&dying)
            .start(seen.clone(), Shutdown::new())
            .await
            .unwrap_err()
            .is_panic()
    );

    assert_eq!(seen.distinct().len(), 10);
    dying.expel();
    let again = Seen::default();
    follow_until(&log, &again, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_are_followed() {
    let log = log(1);
    publish(&log, 0, 1);
    let seen = Seen::default();
    let shutdown = Shutdown::new();
    let task = follower(&log).start(seen.clone(), shutdown.clone());
    seen.wait_for(1, &shutdown).await;
    log.grow(TOPIC, 2);
    publish(&log, 1, 1);
    seen.wait_for(2, &shutdown).await;
    shutdown.request();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_that_expire_on_a_quiet_topic_are_stored_again() {
    let log = log(2);
    publish(&log, 0, 5);
    let seen = Seen::default();
    let shutdown = Shutdown::new();
    let task = follower(&log).start(seen.clone(), shutdown.clone());
    let ending = Ending(shutdown);
    let stored = || log.committed(GROUP, TOPIC).unwrap().contains(&(0, 5));

    until("the positions are stored", stored).await;
    log.expire_positions(GROUP);
    until("they are stored again", stored).await;

    drop(ending);
    task.await.unwrap();
    assert_eq!(seen.records.lock().unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_expired_unread_are_passed_over() {
    let log = log(1);
    publish(&log, 0, 10);
    log.commit("test", TOPIC, &[(0, 2)]).unwrap();
    log.expire(TOPIC, 0, 6);

    let seen = Seen::default();
    follow_until(&log, &seen, 4).await;
    assert_eq!(seen.distinct().first(), Some(&(0, 6)));
}

/// Waits until the follower reports a refusal, and returns its sentence.
async fn sentence(refused: &Refused, shutdown: &Shutdown) -> String {
    let told = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Some(sentence) = refused.sentence() {
                return sentence;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });

    if let Ok(sentence) = told.await {
        return sentence;
    }
    shutdown.request();
    panic!("a refusal is not shown");
}

/// Waits until the follower reports no refusal.
async fn until_mended(refused: &Refused, shutdown: &Shutdown) {
    let mended = tokio::time::timeout(Duration::from_secs(20), async {
        while refused.sentence().is_some() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });

    if mended.await.is_err() {
        shutdown.request();
        panic!("a mended refusal is shown on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_topic_is_named_and_tried_again_after_a_long_wait() {
    for wait in [Duration::from_secs(3600), Duration::from_millis(5)] {
        let log = log(1);
        publish(&log, 0, 3);
        let is_denied = Arc::new(AtomicBool::new(true));
        let denied = Arc::clone(&is_denied);
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let guarded = log.process(move |call| match call {
            Call::Poll { .. } if denied.load(Ordering::SeqCst) => {
                counted.fetch_add(1, Ordering::SeqCst);
                Fault::Refused
            }
            _ => Fault::None,
        });

        let seen = Seen::default();
        let shutdown = Shutdown::new();
        let followed = Follower {
            refused_wait: wait,
            ..follower(&guarded)
        };
        let refused = followed.refused.clone();
        let task = followed.start(seen.clone(), shutdown.clone());

        let told = sentence(&refused, &shutdown).await;
        let checked = refused.check();
        if wait > Duration::from_secs(1) {
            // New records wake the follower, but it must not retry before the wait is over.
            publish(&log, 0, 3);
            tokio::time::sleep(Duration::from_millis(200)).await;
        } else {
            is_denied.store(false, Ordering::SeqCst);
            seen.wait_for(3, &shutdown).await;
            until_mended(&refused, &shutdown).await;
        }

        // Before the assertions: the runtime of a failed test would wait for the follower's thread for ever.
        shutdown.request();
        task.await.unwrap();
        assert_eq!(
            told,
            "READ on topic \"orders\" is denied to this principal: grant it"
        );
        assert_eq!(checked, Err(told));
        if wait > Duration::from_secs(1) {
            assert_eq!(asked.load(Ordering::SeqCst), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_refused_is_named_and_moves_no_position() {
    for wait in [Duration::from_secs(3600), Duration::from_millis(5)] {
        let log = log(1);
        publish(&log, 0, 3);
        let seen = Seen::default();
        seen.is_refused.store(true, Ordering::SeqCst);

        let shutdown = Shutdown::new();
        let followed = Follower {
            refused_wait: wait,
            ..follower(&log)
        };
        let refused = followed.refused.clone();
        let task = followed.start(seen.clone(), shutdown.clone());
        let told = sentence(&refused, &shutdown).await;
        if wait > Duration::from_secs(1) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        } else {
            seen.is_refused.store(false, Ordering::SeqCst);
            seen.wait_for(3, &shutdown).await;
            until_mended(&refused, &shutdown).await;
        }

        shutdown.request();
        task.await.unwrap();
        assert_eq!(told, REFUSAL);
        if wait > Duration::from_secs(1) {
            assert_eq!(seen.handed_over.load(Ordering::SeqCst), 1);
            assert_eq!(
                log.committed("test", TOPIC).unwrap(),
                [],
                "nothing is passed over"
            );
        }
    }
}
