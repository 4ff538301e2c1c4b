//! The state of the simulated broker: plain data, no clock and no faults.

use std::collections::BTreeMap;
use std::ops::Range;

use super::groups::Groups;
use super::staged::Staged;
use crate::{
    Cleanup, Delivery, LogError, LogTimeType, Offset, OffsetRange, RecordLimit, TopicDescription,
    TopicSpec,
};

/// A committed record, for checks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredRecord {
    /// Its partition.
    pub partition: u32,
    /// Its offset there.
    pub offset: Offset,
    /// Its time in the log, in milliseconds since the Unix epoch.
    pub log_time_ms: u64,
    /// The clock that set this time.
    pub log_time_type: LogTimeType,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers in the order they were written.
    pub headers: Vec<(String, Vec<u8>)>,
}

#[derive(Default)]
pub(super) struct Store {
    pub(super) groups: Groups,
    topics: BTreeMap<String, Topic>,
    publishers: BTreeMap<String, PublisherState>,
    positions: BTreeMap<(String, String, u32), Offset>,
}

#[derive(Default)]
struct PublisherState {
    epoch: u64,
    progress: Option<Vec<u8>>,
}

/// The state that a publisher receives when it opens.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) epoch: u64,
    pub(super) progress: Option<Vec<u8>>,
}

pub(super) struct Topic {
    pub(super) settings: TopicDescription,
    partitions: Vec<Partition>,
}

/// The default limit of a topic: Kafka's.
const RECORD_LIMIT: RecordLimit = RecordLimit {
    bytes: 1_048_588,
    setting: "max.message.bytes",
};

#[derive(Default)]
pub(super) struct Partition {
    start: Offset,
    end: Offset,
    records: Vec<StoredRecord>,
    /// The number of next polls that return nothing and confirm nothing.
    pub(super) silent_polls: u32,
    /// The offset at which an open transaction holds readers back.
    pub(super) held_from: Option<Offset>,
    /// The ranges of offsets at which the log's bytes are damaged.
    damaged: Vec<Range<Offset>>,
}

impl Store {
    pub(super) fn ensure_topic(&mut self, spec: &TopicSpec) {
        self.topics
            .entry(spec.name.clone())
            .or_insert_with(|| Topic::new(spec));
    }

    pub(super) fn topic(&self, name: &str) -> Result<&Topic, LogError> {
        self.topics
            .get(name)
            .ok_or_else(|| LogError::UnknownTopic(name.to_owned()))
    }

    pub(super) fn topic_mut(&mut self, name: &str) -> Result<&mut Topic, LogError> {
        self.topics
            .get_mut(name)
            .ok_or_else(|| LogError::UnknownTopic(name.to_owned()))
    }

    /// Fences earlier holders of `id`, if the delivery is transactional.
    pub(super) fn open_publisher(&mut self, id: &str, delivery: Delivery) -> Opened {
        let publisher = self.publishers.entry(id.to_owned()).or_default();
        if delivery == Delivery::Transactional {
            publisher.epoch += 1;
        }

        Opened {
            epoch: publisher.epoch,
            progress: publisher.progress.clone(),
        }
    }

    pub(super) fn is_newest(&self, id: &str, epoch: u64) -> bool {
        self.publishers
            .get(id)
            .is_some_and(|publisher| publisher.epoch == epoch)
    }

    pub(super) fn remember_progress(&mut self, id: &str, progress: &[u8]) {
        self.publishers.entry(id.to_owned()).or_default().progress = Some(progress.to_vec());
    }

    pub(super) fn lose_progress(&mut self, is_lost: impl Fn(&str) -> bool) {
        let lost = self.publishers.iter_mut().filter(|(id, _)| is_lost(id));
        lost.for_each(|(_, publisher)| publisher.progress = None);
    }

    /// Appends records whose topic and partition were checked when they were staged.
    pub(super) fn append(&mut self, records: impl IntoIterator<Item = Staged>, log_time_ms: u64) {
        for staged in records {
            let topic = self
                .topics
                .get_mut(&*staged.topic)
                .expect("topics are never deleted");
            topic.partitions[staged.partition as usize].append(staged, log_time_ms);
        }
    }

    /// Appends the markers that end a transaction: each takes an offset, and no reader sees it.
    pub(super) fn mark(
        &mut self,
        partitions: impl IntoIterator<Item = (std::sync::Arc<str>, u32)>,
    ) {
        for (topic, partition) in partitions {
            self.topics
                .get_mut(&*topic)
                .expect("topics are never deleted")
                .partitions[partition as usize]
                .end += 1;
        }
    }

    pub(super) fn positions(&self, group: &str, topic: &str) -> Vec<(u32, Offset)> {
        let of_topic = self
            .positions
            .iter()
            .filter(|((g, t, _), _)| g == group && t == topic);
        of_topic
            .map(|((_, _, partition), next)| (*partition, *next))
            .collect()
    }

    pub(super) fn expire_positions(&mut self, group: &str) {
        self.positions.retain(|(name, _, _), _| name != group);
    }

    pub(super) fn remember_positions(&mut self, group: &str, topic: &str, next: &[(u32, Offset)]) {
        for (partition, offset) in next {
            self.positions
                .insert((group.to_owned(), topic.to_owned(), *partition), *offset);
        }
    }
}

impl Topic {
    fn new(spec: &TopicSpec) -> Self {
        let expires = spec.cleanup != Cleanup::Compact;
        let settings = TopicDescription {
            log_time_type: LogTimeType::Append,
            record_limit: RECORD_LIMIT,
            cleanup: spec.cleanup,
            retention: expires.then_some(spec.retention),
        };

        let mut topic = Self {
            settings,
            partitions: Vec::new(),
        };
        topic.grow(spec.partitions);

        topic
    }

    pub(super) fn grow(&mut self, partitions: u32) {
        let partitions = (partitions as usize).max(self.partitions.len());
        self.partitions.resize_with(partitions, Partition::default);
    }

    pub(super) fn partitions(&self) -> u32 {
        u32::try_from(self.partitions.len()).expect("the number of partitions was a u32")
    }

    pub(super) fn ranges(&self) -> Vec<OffsetRange> {
        self.partitions
            .iter()
            .map(|partition| OffsetRange {
                start: partition.start,
                end: partition.committed_end(),
            })
            .collect()
    }

    /// Drops all records and begins at offset 0 again.
    pub(super) fn empty(&mut self) {
        let partitions = self.partitions();
        self.partitions.clear();
        self.grow(partitions);
    }

    pub(super) fn partition_mut(&mut self, partition: u32) -> Option<&mut Partition> {
        self.partitions.get_mut(partition as usize)
    }

    pub(super) fn all_records(&self) -> Vec<StoredRecord> {
        self.partitions
            .iter()
            .flat_map(|partition| partition.records.iter().cloned())
            .collect()
    }
}

impl Partition {
    fn append(&mut self, staged: Staged, log_time_ms: u64) {
        let Staged {
            partition,
            key,
            value,
            headers,
            ..
        } = staged;

        self.records.push(StoredRecord {
            partition,
            offset: self.end,
            log_time_ms,
            log_time_type: LogTimeType::Append,
            key,
            value,
            headers,
        });
        self.end += 1;
    }

    pub(super) fn append_at(
        &mut self,
        partition: u32,
        value: &[u8],
        log_time_ms: u64,
        log_time_type: LogTimeType,
    ) {
        self.records.push(StoredRecord {
            partition,
            offset: self.end,
            log_time_ms,
            log_time_type,
            key: None,
            value: Some(value.to_vec()),
            headers: Vec::new(),
        });
        self.end += 1;
    }

    /// Damages the bytes at these offsets.
    pub(super) fn damage(&mut self, offsets: Range<Offset>) {
        self.records.retain(|it| !offsets.contains(&it.offset));
        self.damaged.push(offsets);
    }

    /// Returns the rest of the damaged offsets, if `from` is one of them.
    pub(super) fn damaged_from(&self, from: Offset) -> Option<Range<Offset>> {
        let damaged = self.damaged.iter().find(|it| it.contains(&from))?;
        Some(from..damaged.end)
    }

    /// Returns the offset at which a reader from `from` on is stopped, if it is.
    pub(super) fn stop_behind(&self, from: Offset) -> Option<Offset> {
        let starts = self.damaged.iter().map(|damaged| damaged.start);
        let behind = starts.filter(|start| *start > from);
        behind.chain(self.held_from).min()
    }

    /// Leaves out this number of offsets.
    pub(super) fn skip(&mut self, offsets: u64) {
        self.end += offsets;
    }

    /// Returns the end of the committed records: an open transaction and all later records lie beyond.
    fn committed_end(&self) -> Offset {
        self.held_from.map_or(self.end, |held| held.min(self.end))
    }

    pub(super) fn expire(&mut self, offset: Offset) {
        self.start = self.start.max(offset.min(self.end));
        self.records.retain(|record| record.offset >= self.start);
    }

    /// Removes a record as compaction does: its offset stays.
    pub(super) fn compact_away(&mut self, offset: Offset) {
        self.records.retain(|record| record.offset != offset);
    }

    /// Counts a poll. Returns `true` if the poll must return nothing.
    pub(super) fn is_silent(&mut self) -> bool {
        let is_silent = self.silent_polls > 0;
        self.silent_polls = self.silent_polls.saturating_sub(1);
        is_silent
    }

    /// Returns at most `max` records at and after `from`, and the end; none if `from` is not in the
    /// partition.
    pub(super) fn read(&self, from: Offset, max: usize) -> Option<(&[StoredRecord], Offset)> {
        if !(self.start..=self.end).contains(&from) {
            return None;
        }
        let first = self.records.partition_point(|record| record.offset < from);
        let last = first.saturating_add(max).min(self.records.len());
        Some((&self.records[first..last], self.end))
    }
}
