//! A record log in this process that costs almost nothing: it passes on records that were made
//! before, and counts published ones. So a job on it spends its instructions on its own work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use record_log::{
    Cleanup, Delivery, LogError, LogTimeType, NewRecord, Offset, OffsetRange, Polled, PublishError,
    Publisher, Reader, Record, RecordLimit, RecordLog, TopicDescription, TopicSpec, Wake,
};

/// The partitions of every topic.
pub const PARTITIONS: u32 = 4;

/// A record of the source topic.
pub struct Stored {
    /// Its time in the log.
    pub time_ms: u64,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// A log with one source topic. Everything that is published is dropped.
pub struct FixedLog {
    source: String,
    /// The records of the source topic, by partition.
    partitions: Arc<[Partition]>,
    /// The number of records that were published to topics, and the topic that is counted.
    published: Arc<AtomicU64>,
    counted: String,
}

/// The records of a partition, of which the topic has the first ones.
#[derive(Default)]
struct Partition {
    records: Vec<Stored>,
    end: usize,
}

struct FixedReader {
    partitions: Arc<[Partition]>,
    next: Vec<usize>,
}

struct CountingPublisher {
    published: Arc<AtomicU64>,
    counted: String,
    progress: Option<Vec<u8>>,
}

impl FixedLog {
    /// Returns a log whose topic `source` has the first `count` of these records, which are dealt to
    /// the partitions in turn. It holds the others as well: with the same records, logs of any count
    /// are made and dropped by the same instructions. Records that are published to the topic
    /// `counted` are counted.
    pub fn new(
        source: &str,
        counted: &str,
        records: impl IntoIterator<Item = Stored>,
        count: u64,
    ) -> Self {
        let mut partitions: Vec<Partition> = Vec::new();
        partitions.resize_with(PARTITIONS as usize, Partition::default);
        for (place, record) in (0_usize..).zip(records) {
            let partition = place % partitions.len();
            let partition = &mut partitions[partition];
            partition.end += usize::from((place as u64) < count);
            partition.records.push(record);
        }

        Self {
            source: source.to_owned(),
            partitions: partitions.into(),
            published: Arc::default(),
            counted: counted.to_owned(),
        }
    }

    /// Returns the number of records that were published to the counted topic, shared with the log.
    pub fn published(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.published)
    }
}

impl RecordLog for FixedLog {
    fn ensure_topics(&self, _: &[TopicSpec]) -> Result<(), LogError> {
        Ok(())
    }

    fn describe(&self, _: &str) -> Result<TopicDescription, LogError> {
        Ok(TopicDescription {
            log_time_type: LogTimeType::Append,
            record_limit: RecordLimit {
                bytes: 1 << 20,
                setting: "none",
            },
            cleanup: Cleanup::Delete,
            retention: None,
        })
    }

    fn partitions(&self, _: &str) -> Result<u32, LogError> {
        Ok(PARTITIONS)
    }

    fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, LogError> {
        let is_source = topic == self.source;
        let range = |partition: &Partition| OffsetRange {
            start: 0,
            end: if is_source { partition.end as u64 } else { 0 },
        };
        Ok(self.partitions.iter().map(range).collect())
    }

    fn reader(&self, _: &str, from: &[(u32, Offset)]) -> Result<Box<dyn Reader>, LogError> {
        let mut next = vec![0; self.partitions.len()];
        for (partition, offset) in from {
            next[*partition as usize] = usize::try_from(*offset).unwrap_or(usize::MAX);
        }

        Ok(Box::new(FixedReader {
            partitions: Arc::clone(&self.partitions),
            next,
        }))
    }

    fn publisher(&self, _: &str, _: Delivery) -> Result<Box<dyn Publisher>, LogError> {
        Ok(Box::new(CountingPublisher {
            published: Arc::clone(&self.published),
            counted: self.counted.clone(),
            progress: None,
        }))
    }

    fn committed(&self, _: &str, _: &str) -> Result<Vec<(u32, Offset)>, LogError> {
        Ok(Vec::new())
    }

    fn commit(&self, _: &str, _: &str, _: &[(u32, Offset)]) -> Result<(), LogError> {
        Ok(())
    }
}

impl Reader for FixedReader {
    fn poll(
        &mut self,
        partition: u32,
        max: usize,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<Polled, LogError> {
        let Partition { records, end } = &self.partitions[partition as usize];
        let all = &records[..*end];
        let next = &mut self.next[partition as usize];
        let from = (*next).min(all.len());
        let read = &all[from..from.saturating_add(max).min(all.len())];

        let no_headers = Vec::new();
        for (offset, stored) in (from as u64..).zip(read) {
            each(Record {
                partition,
                offset,
                log_time_ms: stored.time_ms,
                log_time_type: LogTimeType::Append,
                key: Some(&stored.key),
                value: Some(&stored.value),
                headers: &no_headers,
            });
        }

        *next = from + read.len();
        let is_at_end = *next == all.len();
        Ok(Polled {
            records: read.len(),
            next_offset: *next as u64,
            end_as_of_ms: is_at_end.then(|| events::Timestamp::now().as_ms()),
        })
    }

    fn on_readable(&mut self, wake: Wake) {
        wake();
    }
}

impl Publisher for CountingPublisher {
    fn progress(&self) -> Option<&[u8]> {
        self.progress.as_deref()
    }

    fn send(&mut self, record: NewRecord<'_>) -> Result<(), PublishError> {
        if record.topic == self.counted {
            self.published.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn commit(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        self.progress = Some(progress.to_vec());
        Ok(())
    }
}
