//! A topic whose records are generated; all other topics are those of another log.
//!
//! Record `n` of partition `p` of `P` is the result of a function for a seed and the number
//! `n × P + p`. So the topic has the same records for any number of partitions, and all readers get
//! the same record at the same offset. A job can therefore continue from its checkpoint, and two runs
//! have the same results.
//!
//! A topic has a number of records, or a rate, or both. With a rate, that number of records a
//! second becomes readable, beginning when a reader is opened, whatever offset it begins at.
//!
//! Invariants: the content of a record depends on no clock. A partition whose records are not all
//! read has no confirmed end, so event time never passes records that are still to be generated.

mod reader;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::beside::{Beside, TopicSource};
use crate::clock::system_now_ms;
use crate::{LogError, Offset, OffsetRange, Reader, RecordLimit, RecordLog};
use reader::GeneratedReader;

/// A record that is generated.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GeneratedRecord {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The time that its producer gives it, in milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// Returns the record of a seed and a number. It must return the same one whenever it is called.
pub type Generate = Arc<dyn Fn(u64, u64) -> GeneratedRecord + Send + Sync>;

/// The extent of a topic that is generated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GeneratorSettings {
    /// The number of partitions.
    pub partitions: u32,
    /// The number of records of all partitions together; none if the topic has no end.
    pub records: Option<u64>,
    /// The number of records a second that become readable, of all partitions together; none if all
    /// are readable at once.
    pub per_second: Option<u64>,
    /// The seed.
    pub seed: u64,
}

/// A log whose topic is generated.
///
/// ```
/// use std::sync::Arc;
/// use record_log::RecordLog;
/// use record_log::generated::{Generate, GeneratedRecord, GeneratorLog, GeneratorSettings};
/// use record_log::simulated::SimulatedLog;
///
/// let squares: Generate = Arc::new(|seed, number| GeneratedRecord {
///     value: (seed + number * number).to_string().into_bytes(),
///     ..GeneratedRecord::default()
/// });
/// let settings = GeneratorSettings { partitions: 2, records: Some(5), per_second: None, seed: 0 };
/// let log = GeneratorLog::open(settings, "squares", squares, Arc::new(SimulatedLog::default()))?;
///
/// let mut values = Vec::new();
/// let mut reader = log.reader("squares", &[(0, 1)])?;
/// reader.poll(0, 10, &mut |record| values.push(record.value.map(<[u8]>::to_vec)))?;
/// assert_eq!(values, [Some(b"4".to_vec()), Some(b"16".to_vec())]);
/// # Ok::<(), record_log::LogError>(())
/// ```
pub type GeneratorLog = Beside<GeneratedTopic>;

/// A topic that is generated.
pub struct GeneratedTopic(Arc<Source>);

struct Source {
    settings: GeneratorSettings,
    generate: Generate,
    now_ms: Box<dyn Fn() -> u64 + Send + Sync>,
    /// The offset up to which each partition is readable at its rate.
    reached: Vec<AtomicU64>,
}

impl GeneratorLog {
    /// Opens the topic `topic` beside the topics of `rest`.
    ///
    /// # Errors
    /// [`LogError::Settings`] if the topic has no partition, or neither a number of records nor a rate.
    pub fn open(
        settings: GeneratorSettings,
        topic: &str,
        generate: Generate,
        rest: Arc<dyn RecordLog>,
    ) -> Result<Self, LogError> {
        let refused = |sentence: &str| Err(LogError::Settings(sentence.into()));
        if settings.partitions == 0 {
            return refused("a generated topic has at least 1 partition, not 0");
        }
        if settings.per_second == Some(0) {
            return refused("a generated topic has at least 1 record a second, not 0");
        }
        if settings.records.is_none() && settings.per_second.is_none() {
            return refused("a generated topic without an end needs a rate");
        }

        let source = Source {
            settings,
            generate,
            now_ms: Box::new(system_now_ms),
            reached: (0..settings.partitions)
                .map(|_| AtomicU64::new(0))
                .collect(),
        };
        Ok(Self::new(topic, GeneratedTopic(Arc::new(source)), rest))
    }

    /// Returns the log with another clock, in milliseconds since the Unix epoch.
    ///
    /// # Panics
    /// If the log has been read already.
    #[must_use]
    #[doc(hidden)]
    pub fn with_clock(mut self, now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let source = Arc::get_mut(&mut self.source.0).expect("a new log has no readers");
        source.now_ms = Box::new(now_ms);
        self
    }
}

impl Source {
    /// Returns the number of records of a partition; none if they never end.
    fn records_of(&self, partition: u32) -> Option<u64> {
        let partitions = u64::from(self.settings.partitions);
        let records = self.settings.records?;
        Some(
            records
                .saturating_sub(partition.into())
                .div_ceil(partitions),
        )
    }

    /// Returns the number of the record at an offset of a partition.
    fn number(&self, partition: u32, offset: Offset) -> u64 {
        offset * u64::from(self.settings.partitions) + u64::from(partition)
    }

    fn range_of(&self, partition: u32) -> OffsetRange {
        let reached = || self.reached[partition as usize].load(Ordering::Relaxed);
        OffsetRange {
            start: 0,
            end: self.records_of(partition).unwrap_or_else(reached),
        }
    }
}

impl TopicSource for GeneratedTopic {
    const IS: &'static str = "is generated";

    fn record_limit(&self) -> RecordLimit {
        RecordLimit {
            bytes: usize::MAX,
            setting: "nothing (records are generated)",
        }
    }

    fn ranges(&self) -> Vec<OffsetRange> {
        let partitions = 0..self.0.settings.partitions;
        partitions
            .map(|partition| self.0.range_of(partition))
            .collect()
    }

    fn reader(&self, topic: &str, from: &[(u32, Offset)]) -> Result<Box<dyn Reader>, LogError> {
        let reader = GeneratedReader::new(topic, &self.0, from)?;
        Ok(Box::new(reader))
    }
}
