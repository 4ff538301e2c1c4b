//! The topics that a job reads, and the ids of their partitions.
//!
//! Inside the engine, a partition is one number, its id: the number of its source in the job's
//! definition, and its own number in its topic.
//!
//! ```text
//! id     source (12 bits) │ partition (20 bits)
//! ```
//!
//! So cuts, progress and side outputs have one form for any number of topics, and the ids of a job
//! with one source are the numbers of its partitions. A [reader](Inputs::reader) returns records with
//! ids. Decoders, topics, metrics and messages contain the partition's own number.
//!
//! Invariant: ids are stored in checkpoints, so a source keeps its number. A job does not
//! continue from a checkpoint that has other topics before its own, or more of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use record_log::{
    LogError, Offset, OffsetRange, Polled, Reader, Record, RecordLog, SetAside, Wake,
};

use crate::error::JobError;

/// The number of bits of an id that contain the partition's own number.
const PARTITION_BITS: u32 = 20;
/// The greatest number of topics.
const INPUTS_MAX: usize = 1 << 12;
/// The greatest number of partitions of a topic, if a job reads several topics.
const PARTITIONS_MAX: u32 = 1 << PARTITION_BITS;

/// A topic that a job reads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Input {
    /// The topic.
    pub topic: String,
    /// The topic of its late records.
    pub late_topic: String,
    /// The topic of its records that are rejected.
    pub dead_letter_topic: String,
    /// The disorder of its events, if it is not the one of the settings.
    pub disorder: Option<Duration>,
}

/// The topics that a job reads, at least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Inputs(Vec<Input>);

/// Returns the id of a partition.
pub fn id_of(source: usize, partition: u32) -> u32 {
    let source = u32::try_from(source).expect("a job has few sources");
    source << PARTITION_BITS | partition
}

/// Returns the number of the source that a partition belongs to.
pub fn source_of(id: u32) -> usize {
    (id >> PARTITION_BITS) as usize
}

/// Returns a partition's own number in its topic.
pub fn partition_of(id: u32) -> u32 {
    id & (PARTITIONS_MAX - 1)
}

/// Returns the ids of all partitions, where topics have these numbers of partitions.
pub fn ids(counts: &[u32]) -> impl Iterator<Item = u32> {
    let of_source = |(source, count): (usize, &u32)| (0..*count).map(move |it| id_of(source, it));
    counts.iter().enumerate().flat_map(of_source)
}

/// Returns the id of a partition among the sources that follow the first `sources`; none if it
/// belongs to one of these.
pub fn after(sources: usize, id: u32) -> Option<u32> {
    let source = source_of(id).checked_sub(sources)?;
    Some(id_of(source, partition_of(id)))
}

/// Returns the worker that reads a partition, of `peers` workers. Sources with few partitions have
/// their first ones on different workers.
pub fn reader_of(id: u32, peers: usize) -> usize {
    (source_of(id) + partition_of(id) as usize) % peers
}

/// Returns the offsets of a source, by its partitions' own numbers.
fn of_source(source: usize, offsets: &[(u32, Offset)]) -> Vec<(u32, Offset)> {
    let own = offsets.iter().filter(|(id, _)| source_of(*id) == source);
    own.map(|(id, offset)| (partition_of(*id), *offset))
        .collect()
}

impl Input {
    fn of(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            late_topic: format!("{topic}-late"),
            dead_letter_topic: format!("{topic}-dead-letter"),
            disorder: None,
        }
    }
}

impl Inputs {
    /// Creates the inputs of a job that reads one topic.
    pub fn of(topic: &str) -> Self {
        Self(vec![Input::of(topic)])
    }

    /// Adds others behind these.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Sets the topics of side outputs of all of these.
    pub fn side_outputs(&mut self, late_topic: &str, dead_letter_topic: &str) {
        for input in &mut self.0 {
            late_topic.clone_into(&mut input.late_topic);
            dead_letter_topic.clone_into(&mut input.dead_letter_topic);
        }
    }

    /// Returns the number of topics.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the topics in the order of their sources' numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Input> {
        self.0.iter()
    }

    /// Returns the topics mutably.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Input> {
        self.0.iter_mut()
    }

    /// Returns the topics' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|input| &*input.topic)
    }

    /// Returns the topics of late records, each once.
    pub fn late_topics(&self) -> BTreeSet<&str> {
        self.0.iter().map(|input| &*input.late_topic).collect()
    }

    /// Returns the topics of rejected records, each once.
    pub fn dead_letter_topics(&self) -> BTreeSet<&str> {
        self.0
            .iter()
            .map(|input| &*input.dead_letter_topic)
            .collect()
    }

    /// Returns the topics of late and of rejected records, each once.
    pub fn side_topics(&self) -> BTreeSet<&str> {
        let late = self.late_topics();
        late.union(&self.dead_letter_topics()).copied().collect()
    }

    /// Returns whether the job reads several topics.
    pub fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// Returns the topic that a partition belongs to.
    ///
    /// # Panics
    /// If the id is not one of these topics'.
    pub fn of_id(&self, id: u32) -> &Input {
        &self.0[source_of(id)]
    }

    /// Returns the topic that the side outputs of an input name; none if the job reads one topic.
    pub fn source_topic_of<'a>(&self, input: &'a Input) -> Option<&'a str> {
        self.are_several().then_some(&*input.topic)
    }

    /// Returns a partition's name in messages.
    pub fn name_of(&self, id: u32) -> String {
        format!(
            "partition {} of topic {:?}",
            partition_of(id),
            self.of_id(id).topic
        )
    }

    /// Returns the ranges of offsets that the log holds, by the ids of the partitions.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn offsets(&self, log: &dyn RecordLog) -> Result<BTreeMap<u32, OffsetRange>, LogError> {
        let mut ranges = BTreeMap::new();
        for (source, input) in self.0.iter().enumerate() {
            let of_topic = (0..).zip(log.offsets(&input.topic)?);
            ranges.extend(of_topic.map(|(partition, range)| (id_of(source, partition), range)));
        }

        Ok(ranges)
    }

    /// Stores the offsets to be read next, by the ids of the partitions, under the name `group`.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn commit(
        &self,
        log: &dyn RecordLog,
        group: &str,
        next: &[(u32, Offset)],
    ) -> Result<(), LogError> {
        for (source, input) in self.0.iter().enumerate() {
            let own = of_source(source, next);
            if !own.is_empty() {
                log.commit(group, &input.topic, &own)?;
            }
        }

        Ok(())
    }

    /// Returns a reader of partitions, each from an offset, by their ids.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn reader(
        &self,
        log: &dyn RecordLog,
        from: &[(u32, Offset)],
    ) -> Result<Box<dyn Reader>, LogError> {
        if !self.are_several() {
            return log.reader(&self.0[0].topic, from);
        }

        let mut readers = Vec::new();
        for (source, input) in self.0.iter().enumerate() {
            readers.push(log.reader(&input.topic, &of_source(source, from))?);
        }

        Ok(Box::new(SeveralReaders(readers)))
    }

    /// Checks that each topic is named once, and that there are few enough of them.
    ///
    /// # Errors
    /// [`JobError::Settings`] with the topic.
    pub fn validate(&self, job: &str) -> Result<(), JobError> {
        for (number, topic) in self.names().enumerate() {
            if self.names().take(number).any(|other| other == topic) {
                return Err(JobError::Settings(format!(
                    "job {job:?} has topic {topic:?} as a source twice: read it once, and let its decoder distinguish the events"
                )));
            }
        }
        if self.0.len() > INPUTS_MAX {
            return Err(JobError::Settings(format!(
                "job {job:?} has more than {INPUTS_MAX} sources"
            )));
        }

        Ok(())
    }
}

/// The readers of several topics, by the number of their source.
struct SeveralReaders(Vec<Box<dyn Reader>>);

impl Reader for SeveralReaders {
    fn poll(
        &mut self,
        id: u32,
        max: usize,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<Polled, LogError> {
        let reader = &mut self.0[source_of(id)];
        reader.poll(partition_of(id), max, &mut |record| {
            each(Record {
                partition: id,
                ..record
            });
        })
    }

    fn set_aside(&mut self, id: u32) -> Result<SetAside, LogError> {
        self.0[source_of(id)].set_aside(partition_of(id))
    }

    fn on_readable(&mut self, wake: Wake) {
        for reader in &mut self.0 {
            reader.on_readable(Wake::clone(&wake));
        }
    }

    fn obstacle(&self, id: u32) -> Option<Arc<str>> {
        self.0[source_of(id)].obstacle(partition_of(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_contains_its_source_and_its_partition() {
        for (source, partition) in [(0, 0), (0, 7), (1, 0), (3, PARTITIONS_MAX - 1), (4095, 5)] {
            let id = id_of(source, partition);
            assert_eq!((source_of(id), partition_of(id)), (source, partition));
        }
        assert_eq!(id_of(0, 7), 7, "the ids of one source are its partitions");
        assert_eq!(after(2, id_of(1, 7)), None);
        assert_eq!(after(2, id_of(3, 7)), Some(id_of(1, 7)));
    }

    /// A reader that reads nothing. Its obstacle names its source and the partition.
    struct Held(usize);

    impl Reader for Held {
        fn poll(
            &mut self,
            partition: u32,
            _: usize,
            _: &mut dyn FnMut(Record<'_>),
        ) -> Result<Polled, LogError> {
            let topic = self.0.to_string();
            Err(LogError::UnknownPartition { topic, partition })
        }

        fn on_readable(&mut self, _: Wake) {}

        fn obstacle(&self, partition: u32) -> Option<Arc<str>> {
            Some(format!("{} {partition}", self.0).into())
        }
    }

    #[test]
    fn an_obstacle_is_that_of_the_source_s_own_partition() {
        let held = |source| -> Box<dyn Reader> { Box::new(Held(source)) };
        let readers = SeveralReaders(vec![held(0), held(1)]);
        assert_eq!(readers.obstacle(id_of(1, 7)).as_deref(), Some("1 7"));
        assert_eq!(readers.obstacle(id_of(0, 3)).as_deref(), Some("0 3"));
    }

    #[test]
    fn sources_with_one_partition_are_read_by_different_workers() {
        let readers: BTreeSet<usize> = (0..3)
            .map(|source| reader_of(id_of(source, 0), 3))
            .collect();
        assert_eq!(readers.len(), 3);
    }

    #[test]
    fn a_topic_that_is_named_twice_is_refused() {
        let inputs = Inputs::of("orders").and(Inputs::of("payments"));
        inputs.validate("sales").unwrap();

        let twice = inputs.and(Inputs::of("orders"));
        let refused = twice.validate("sales").unwrap_err().to_string();
        assert!(
            refused.contains("topic \"orders\" as a source twice"),
            "{refused}"
        );
    }
}
