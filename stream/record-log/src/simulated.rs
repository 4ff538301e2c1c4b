//! A record log in memory that fails where a test plans it.
//!
//! It behaves like a Kafka broker: the key chooses the partition, a transaction marker takes an
//! offset after each transaction, newer publishers fence earlier ones, groups have positions, and
//! their members share partitions. The caller supplies the clock that stamps records. A
//! [`SimulatedLog`] is the handle of one simulated *process*. [`SimulatedLog::process`] creates
//! another one on the same store, with its own [faults](Fault). When a fault crashes a process, all
//! of its handles fail and the store goes on, as when a process is killed and the broker is not.
//!
//! A publisher holds the records of a transaction until the commit. An open transaction holds
//! readers back only where a test requests it ([`SimulatedLog::hold_back`]); committed records then
//! end before it, as in Kafka.

mod fault;
mod groups;
mod membership;
mod publisher;
mod reader;
mod staged;
mod store;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use fault::{Call, Crashed, Fault};
use membership::SimulatedMembership;
use publisher::SimulatedPublisher;
use reader::SimulatedReader;
use store::Store;
pub use store::StoredRecord;

use crate::clock::{Clock, system_now_ms};
use crate::wakes::Wakes;
use crate::{
    Cleanup, Delivery, LogError, LogTimeType, Membership, Offset, OffsetRange, Publisher, Reader,
    RecordLog, TopicDescription, TopicSpec,
};

/// A simulated process's handle on a log in memory. Clones are handles of the same process.
#[derive(Clone)]
pub struct SimulatedLog {
    shared: Arc<Shared>,
    process: Arc<Process>,
    /// The maximum number of records of a poll.
    batch: usize,
}

/// The state that all processes share.
struct Shared {
    store: Mutex<Store>,
    now_ms: Clock,
    wakes: Arc<Wakes>,
}

/// The state that ends with a process.
struct Process {
    plan: Box<dyn Fn(&Call<'_>) -> Fault + Send + Sync>,
    dead: AtomicBool,
}

impl Default for SimulatedLog {
    /// Returns an empty log that uses the system's clock.
    fn default() -> Self {
        Self::new(system_now_ms)
    }
}

impl SimulatedLog {
    /// Returns an empty log whose records are stamped by `now_ms`, in milliseconds since the Unix
    /// epoch.
    pub fn new(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let shared = Shared {
            store: Mutex::default(),
            now_ms: Box::new(now_ms),
            wakes: Arc::default(),
        };

        Self {
            shared: Arc::new(shared),
            process: Process::new(|_| Fault::None),
            batch: usize::MAX,
        }
    }

    /// Returns another process's handle on the same store; `plan` decides which calls fail. It is
    /// called before every call has any effect, with no lock held, and may itself panic or block.
    pub fn process(&self, plan: impl Fn(&Call<'_>) -> Fault + Send + Sync + 'static) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            process: Process::new(plan),
            batch: self.batch,
        }
    }

    /// Returns the same handle, whose readers return at most `records` records a poll: a short
    /// history is then read in many steps.
    #[must_use]
    pub fn in_batches_of(self, records: usize) -> Self {
        Self {
            batch: records,
            ..self
        }
    }

    /// Returns `true` if a fault crashed this process.
    pub fn is_dead(&self) -> bool {
        self.process.dead.load(Ordering::SeqCst)
    }

    /// Returns all committed records of the topic that are still kept, by partition and offset.
    ///
    /// # Panics
    /// If there is no such topic.
    pub fn records(&self, topic: &str) -> Vec<StoredRecord> {
        self.store()
            .topic(topic)
            .expect("a topic that the test created")
            .all_records()
    }

    /// Removes the records of a partition below `offset`, as retention does.
    ///
    /// # Panics
    /// If there is no such topic or partition.
    pub fn expire(&self, topic: &str, partition: u32, offset: Offset) {
        let mut store = self.store();
        let topic = store
            .topic_mut(topic)
            .expect("a topic that the test created");

        topic
            .partition_mut(partition)
            .expect("a partition that the test created")
            .expire(offset);
    }

    /// Lets the next `polls` polls of a partition return nothing, as when its broker is cut off or
    /// frozen; 0 ends it.
    ///
    /// # Panics
    /// If there is no such topic or partition.
    pub fn silence(&self, topic: &str, partition: u32, polls: u32) {
        self.change(topic, partition, |kept| kept.silent_polls = polls);
    }

    /// Holds the readers of a partition back from an offset on, as an open transaction does; none
    /// releases them.
    ///
    /// # Panics
    /// If there is no such topic or partition.
    pub fn hold_back(&self, topic: &str, partition: u32, from: Option<Offset>) {
        self.change(topic, partition, |kept| kept.held_from = from);
    }

    /// Removes a record as compaction does: its offset stays, and readers pass over it.
    ///
    /// # Panics
    /// If there is no such topic or partition.
    pub fn compact_away(&self, topic: &str, partition: u32, offset: Offset) {
        self.change(topic, partition, |kept| kept.compact_away(offset));
    }

    /// Damages the log's bytes at these offsets: readers stop there until they set them aside.
    ///
    /// # Panics
    /// If there is no such topic or partition.
    pub fn damage(&self, topic: &str, partition: u32, offsets: std::ops::Range<Offset>) {
        self.change(topic, partition, |kept| kept.damage(offsets));
    }

    /// Takes offsets of a partition as an aborted transaction does: one for each of `records`
    /// records, which no reader sees, and one for the marker of its end.
    ///
    /// # Panics
    /// If there is no such topic or partition.
    pub fn abort(&self, topic: &str, partition: u32, records: u64) {
        self.change(topic, partition, |kept| kept.skip(records + 1));
    }

    /// Deletes a topic and creates it again with the same settings: its partitions are empty and begin at offset 0.
    ///
    /// # Panics
    /// If there is no such topic.
    pub fn recreate(&self, topic: &str) {
        let mut store = self.store();
        store
            .topic_mut(topic)
            .expect("a topic that the test created")
            .empty();
    }

    /// Appends a record with this time and kind of time, as a producer with any clock can on a
    /// topic that keeps its producers' times.
    ///
    /// # Panics
    /// If there is no such topic or partition.
    pub fn append_at(
        &self,
        topic: &str,
        partition: u32,
        value: &[u8],
        (log_time_ms, log_time_type): (u64, LogTimeType),
    ) {
        self.change(topic, partition, |kept| {
            kept.append_at(partition, value, log_time_ms, log_time_type);
        });
    }

    fn change(&self, topic: &str, partition: u32, change: impl FnOnce(&mut store::Partition)) {
        let mut store = self.store();
        let topic = store
            .topic_mut(topic)
            .expect("a topic that the test created");

        change(
            topic
                .partition_mut(partition)
                .expect("a partition that the test created"),
        );

        drop(store);
        self.shared.wakes.raise(|_| true);
    }

    /// Adds partitions to a topic, as an operator does, so that it has `partitions` of them.
    ///
    /// # Panics
    /// If there is no such topic.
    pub fn grow(&self, topic: &str, partitions: u32) {
        self.store()
            .topic_mut(topic)
            .expect("a topic that the test created")
            .grow(partitions);
    }

    /// Limits the records of a topic to `bytes` bytes
    /// ([`NewRecord::size_bytes`](crate::NewRecord::size_bytes)).
    ///
    /// # Panics
    /// If there is no such topic.
    pub fn limit_records(&self, topic: &str, bytes: usize) {
        let mut store = self.store();
        let topic = store
            .topic_mut(topic)
            .expect("a topic that the test created");
        topic.settings.record_limit.bytes = bytes;
    }

    /// Changes the cleanup policy of a topic, without deleting or compacting records.
    ///
    /// # Panics
    /// If there is no such topic.
    pub fn clean_up_by(&self, topic: &str, cleanup: Cleanup) {
        let mut store = self.store();
        let topic = store
            .topic_mut(topic)
            .expect("a topic that the test created");
        topic.settings.cleanup = cleanup;
    }

    /// Makes the topic's description state that records are stamped by this clock.
    ///
    /// # Panics
    /// If there is no such topic.
    pub fn stamp_by(&self, topic: &str, log_time_type: LogTimeType) {
        let mut store = self.store();
        let topic = store
            .topic_mut(topic)
            .expect("a topic that the test created");
        topic.settings.log_time_type = log_time_type;
    }

    /// Removes the members of this process from all groups, as brokers do when the session of a
    /// process that died or was paused expires. A living process joins again at its next call.
    pub fn expel(&self) {
        self.store().groups.expel(&self.process);
        self.shared.wakes.raise(|_| true);
    }

    /// Removes the progress of the publishers for whose id `is_lost` returns true, as if it had
    /// expired or the topic of progress had been deleted. Open publishers go on.
    pub fn lose_progress(&self, is_lost: impl Fn(&str) -> bool) {
        self.store().lose_progress(is_lost);
    }

    /// Removes the stored positions of a group, as if they had expired.
    pub fn expire_positions(&self, group: &str) {
        self.store().expire_positions(group);
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a call that only reads: a lost reply makes no difference to it.
    fn ask<T>(
        &self,
        call: &Call<'_>,
        effect: impl FnOnce(&mut Store) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        match self.process.fault(call) {
            Fault::None => effect(&mut self.store()),
            Fault::Unavailable => Err(fault::unavailable()),
            Fault::Refused => Err(LogError::Refused(call.refusal())),
            Fault::LoseReply => effect(&mut self.store()).and_then(|_| Err(fault::unavailable())),
            Fault::CrashBefore => self.process.crash(),
            Fault::CrashAfter => {
                // The process has crashed, so the result of the effect has no receiver.
                drop(effect(&mut self.store()));
                self.process.crash()
            }
        }
    }
}

impl Process {
    fn new(plan: impl Fn(&Call<'_>) -> Fault + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            plan: Box::new(plan),
            dead: AtomicBool::new(false),
        })
    }

    /// Returns the planned fault of the call. Calls of a crashed process end their thread.
    fn fault(&self, call: &Call<'_>) -> Fault {
        if self.dead.load(Ordering::SeqCst) {
            self.crash()
        }
        (self.plan)(call)
    }

    /// Ends the thread by a panic that prints nothing.
    fn crash(&self) -> ! {
        self.dead.store(true, Ordering::SeqCst);
        std::panic::resume_unwind(Box::new(Crashed))
    }
}

impl RecordLog for SimulatedLog {
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.ask(&Call::EnsureTopics, |store| {
            topics.iter().for_each(|spec| store.ensure_topic(spec));
            Ok(())
        })
    }

    fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.ask(&Call::Describe { topic }, |store| {
            Ok(store.topic(topic)?.settings.clone())
        })
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.ask(&Call::Partitions { topic }, |store| {
            Ok(store.topic(topic)?.partitions())
        })
    }

    fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, LogError> {
        self.ask(&Call::Offsets { topic }, |store| {
            Ok(store.topic(topic)?.ranges())
        })
    }

    fn reader(&self, topic: &str, from: &[(u32, Offset)]) -> Result<Box<dyn Reader>, LogError> {
        self.ask(&Call::OpenReader { topic }, |store| {
            let partitions = store.topic(topic)?.partitions();
            let unknown = from.iter().find(|(partition, _)| *partition >= partitions);
            unknown.map_or(Ok(()), |(partition, _)| {
                Err(LogError::UnknownPartition {
                    topic: topic.to_owned(),
                    partition: *partition,
                })
            })
        })?;
        Ok(Box::new(SimulatedReader::new(self.clone(), topic, from)))
    }

    fn publisher(&self, id: &str, delivery: Delivery) -> Result<Box<dyn Publisher>, LogError> {
        let opened = self.ask(&Call::OpenPublisher { id }, |store| {
            Ok(store.open_publisher(id, delivery))
        })?;

        Ok(Box::new(SimulatedPublisher::new(
            self.clone(),
            id,
            delivery,
            opened,
        )))
    }

    fn committed(&self, group: &str, topic: &str) -> Result<Vec<(u32, Offset)>, LogError> {
        self.ask(&Call::Committed { group, topic }, |store| {
            Ok(store.positions(group, topic))
        })
    }

    fn commit(&self, group: &str, topic: &str, next: &[(u32, Offset)]) -> Result<(), LogError> {
        self.ask(&Call::CommitPositions { group, topic }, |store| {
            store.remember_positions(group, topic, next);
            Ok(())
        })
    }

    fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Membership>, LogError> {
        let joined = SimulatedMembership::join(self.clone(), group, topic)?;
        Ok(Box::new(joined))
    }
}
