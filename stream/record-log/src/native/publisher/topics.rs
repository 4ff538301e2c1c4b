//! The topics that a publisher writes to: their limits, the leaders of their partitions, and the records that wait for
//! each.

use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Stop;
use super::deadline::Deadline;
use super::refusals::progress_lost;
use crate::kafka::progress::PROGRESS_TOPIC;
use crate::murmur2::choose_partition;
use crate::native::admin::Admin;
use crate::native::batch::build::Builder;
use crate::native::cluster::{self, Cluster};
use crate::refusal::ASSUMED_LIMIT;
use crate::{LogError, NewRecord, RecordLimit, Refusal};

/// The greatest age of a topic's metadata. New partitions are found within this time.
const OLDEST: Duration = Duration::from_secs(300);
/// The time within which an unknown topic must be created, and the pause between two look-ups.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(8);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(super) struct Topics {
    cluster: Arc<Cluster>,
    admin: Arc<Admin>,
    all: Vec<Topic>,
    /// The topic that was found last.
    last: usize,
    /// The counter by which records without a key are spread over the partitions.
    turn: u32,
}

pub(super) struct Topic {
    pub name: String,
    pub limit: RecordLimit,
    /// The partitions, including deleted ones, for which batches may wait.
    pub partitions: Vec<Partition>,
    /// The current number of partitions. A topic that was deleted and created again may have fewer.
    count: u32,
    read_at: Instant,
}

#[derive(Default)]
pub(super) struct Partition {
    /// The broker's id; -1 while there is none.
    pub leader: i32,
    pub builder: Builder,
    /// `true` if a leader has accepted a batch of this producer id. From then on leaders refuse a batch that overtakes
    /// another.
    pub is_begun: bool,
    sequence: i32,
}

impl Partition {
    /// Returns the sequence number of the first of `records` records.
    pub fn next_sequence(&mut self, records: i32) -> i32 {
        let first = self.sequence;
        // After the greatest number comes 0 again.
        self.sequence = first.wrapping_add(records) & i32::MAX;
        first
    }
}

impl Index<usize> for Topics {
    type Output = Topic;

    fn index(&self, topic: usize) -> &Topic {
        &self.all[topic]
    }
}

impl IndexMut<usize> for Topics {
    fn index_mut(&mut self, topic: usize) -> &mut Topic {
        &mut self.all[topic]
    }
}

impl Topics {
    pub fn new(cluster: &Arc<Cluster>, admin: &Arc<Admin>) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            admin: Arc::clone(admin),
            all: Vec::new(),
            last: 0,
            turn: 0,
        }
    }

    /// Returns the place of the topic with this name. At first use, the topic is looked up at the brokers.
    pub fn find(&mut self, name: &str, deadline: impl FnOnce() -> Deadline) -> Result<usize, Stop> {
        let is_it = |topic: &Topic| topic.name == name;
        if !self.all.get(self.last).is_some_and(is_it) {
            self.last = match self.all.iter().position(is_it) {
                Some(found) => found,
                None => self.read(name, &deadline())?,
            };
        }
        Ok(self.last)
    }

    fn read(&mut self, name: &str, deadline: &Deadline) -> Result<usize, Stop> {
        let runtime = Arc::clone(self.cluster.runtime());
        let unknown_until = runtime.now() + deadline.limit(UNKNOWN_LIMIT);
        let found = loop {
            match self.admin.topic(name) {
                Err(LogError::UnknownTopic(_)) if runtime.now() < unknown_until => {
                    runtime.sleep(LOOK_AGAIN);
                }
                Err(LogError::UnknownTopic(_)) if name == PROGRESS_TOPIC => {
                    return Err(progress_lost());
                }
                Err(LogError::UnknownTopic(_)) => return Err(Stop::Refused(never_came(name))),
                found => break found?,
            }
        };

        let limit = self.limit(name)?;
        let partition = |leader: &cluster::Leader| Partition {
            leader: leader.node,
            ..Partition::default()
        };
        self.all.push(Topic {
            name: name.to_owned(),
            limit,
            partitions: found.leaders.iter().map(partition).collect(),
            count: count(&found),
            read_at: runtime.now(),
        });

        Ok(self.all.len() - 1)
    }

    /// Adds a topic with this number of partitions, none of which has a leader.
    pub fn assume(&mut self, name: &str, partitions: u32) {
        self.all.push(Topic {
            name: name.to_owned(),
            limit: ASSUMED_LIMIT,
            partitions: (0..partitions).map(|_| Partition::default()).collect(),
            count: partitions,
            read_at: self.cluster.runtime().now(),
        });
    }

    /// Returns the limit of a topic; a cautious one if its settings may not be read.
    fn limit(&self, name: &str) -> Result<RecordLimit, Stop> {
        match self.admin.describe(name) {
            Ok(described) => Ok(described.record_limit),
            Err(error) if error.is_transient() => Err(error.into()),
            Err(error) => {
                let assumed_bytes = ASSUMED_LIMIT.bytes;
                tracing::warn!(topic = name, %error, assumed_bytes, "a topic's limit cannot be read and is assumed");
                Ok(ASSUMED_LIMIT)
            }
        }
    }

    /// Returns the partition of a record. If the partition is unknown, it may be new, and the topic is looked up again.
    pub fn choose(&mut self, topic: usize, record: &NewRecord<'_>) -> Result<u32, Stop> {
        let is_unknown = |partition: u32| partition >= self.all[topic].count;
        if record.partition.is_some_and(is_unknown) {
            self.refresh(topic);
        }
        Ok(choose_partition(
            record,
            self.all[topic].count,
            &mut self.turn,
        )?)
    }

    /// Looks up the current leaders of the topic's partitions. If no broker answers, the old ones stay.
    pub fn refresh(&mut self, topic: usize) {
        let known = &mut self.all[topic];
        let Ok(Some(found)) = self.cluster.topic(&known.name) else {
            return;
        };

        let partitions = known.partitions.len().max(found.leaders.len());
        known.partitions.resize_with(partitions, Partition::default);
        let leaders = found.leaders.iter().map(|leader| leader.node);
        let leaders = leaders.chain(std::iter::repeat(-1));
        for (partition, leader) in known.partitions.iter_mut().zip(leaders) {
            partition.leader = leader;
        }
        known.count = count(&found);
        known.read_at = self.cluster.runtime().now();
    }

    /// Refreshes old metadata. Called between two transactions.
    pub fn refresh_old(&mut self) {
        for topic in 0..self.all.len() {
            if self.cluster.runtime().since(self.all[topic].read_at) >= OLDEST {
                self.refresh(topic);
            }
        }
    }

    /// Returns the partitions for which records wait.
    pub fn filled(&self) -> Vec<(usize, u32)> {
        let filled = |(topic, known): (usize, &Topic)| {
            let partitions = (0..).zip(&known.partitions);
            let filled = partitions.filter(|(_, partition)| !partition.builder.is_empty());
            filled
                .map(|(partition, _)| (topic, partition))
                .collect::<Vec<_>>()
        };
        self.all.iter().enumerate().flat_map(filled).collect()
    }

    /// Drops the waiting records.
    pub fn clear(&mut self) {
        self.each(|partition| partition.builder.clear());
    }

    /// Restarts the sequence numbers at 0, for a new epoch.
    pub fn restart_sequences(&mut self) {
        self.each(|partition| partition.sequence = 0);
    }

    /// Prepares for a new producer id, of which leaders have no batch.
    pub fn begin_anew(&mut self) {
        self.each(|partition| partition.is_begun = false);
    }

    fn each(&mut self, change: impl FnMut(&mut Partition)) {
        let partitions = self.all.iter_mut().flat_map(|topic| &mut topic.partitions);
        partitions.for_each(change);
    }
}

fn count(found: &cluster::Topic) -> u32 {
    u32::try_from(found.leaders.len()).unwrap_or(u32::MAX)
}

fn never_came(topic: &str) -> Refusal {
    Refusal::new(format!(
        "Kafka refuses topic {topic:?}: it does not exist, and was not created within {} s: create it",
        UNKNOWN_LIMIT.as_secs()
    ))
}

#[cfg(test)]
mod tests {
    use super::Partition;

    #[test]
    fn sequences_go_on_from_0_after_the_greatest() {
        let mut partition = Partition::default();
        assert_eq!(partition.next_sequence(10), 0);
        assert_eq!(partition.next_sequence(i32::MAX - 10), 10);

        // As in the Java client, the numbers wrap within the batch that begins with the greatest number.
        assert_eq!(partition.next_sequence(3), i32::MAX);
        assert_eq!(partition.next_sequence(1), 2);
    }
}
