//! The progress of publishers: it is the newest record of their id on a compacted topic.
//!
//! ```text
//! opening:     fence ──▶ request the ends ──▶ read committed records up to these ends ──▶ the newest of each id
//! committing:  records + (id ──▶ progress), one transaction
//! ```
//!
//! - Progress never expires: the topic is compacted and does not delete by age, so the newest
//!   record of each id stays.
//! - The partition of an id is its murmur2 hash modulo [`PARTITIONS`], even if the topic gets more partitions.
//! - The ends are read *after* the fencing, and count all records, committed or not. Another publisher's open
//!   transaction may hide committed progress behind it: the scan waits until readers of committed records pass the
//!   ends.
//! - Earlier versions kept a number as a group's offset on [`OFFSETS_TOPIC`], which brokers forget after
//!   `offsets.retention.minutes`. It is read if the compacted topic has no record of an id.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::runtime::Runtime;
use crate::{
    Cleanup, LogError, NewRecord, Offset, Reader, RecordLog, Refusal, TopicDescription, TopicSpec,
    partition_of, progress,
};

/// The topic that keeps the progress of publishers. It is created when the first of them opens.
pub const PROGRESS_TOPIC: &str = "tidemark-publisher-progress";

/// The topic on which earlier versions committed progress as a group's offset.
pub(crate) const OFFSETS_TOPIC: &str = "tidemark-progress";

/// The number of partitions over which ids are spread.
const PARTITIONS: u32 = 16;

/// The time for which a scan waits for transactions of others to end: longer than brokers take to abort an abandoned
/// one.
const SCAN_LIMIT: Duration = Duration::from_secs(45);
/// The longest sleep of a scan that is not woken.
const WAIT: Duration = Duration::from_millis(200);
/// The number of records taken at a time.
const BATCH: usize = 10_000;

/// The progress topic as it is created.
pub(crate) fn topic() -> TopicSpec {
    TopicSpec {
        name: PROGRESS_TOPIC.to_owned(),
        partitions: PARTITIONS,
        cleanup: Cleanup::Compact,
        retention: Duration::MAX,
    }
}

/// Refuses the progress topic if it exists and loses records.
pub(crate) fn check_topic(name: &str, found: &TopicDescription) -> Result<(), LogError> {
    if name != PROGRESS_TOPIC || found.cleanup == Cleanup::Compact {
        return Ok(());
    }
    Err(LogError::Refused(Refusal::new(format!(
        "topic {PROGRESS_TOPIC:?} has a cleanup.policy other than compact and would lose the progress of publishers: run \
         kafka-configs.sh --bootstrap-server BROKERS --alter --entity-type topics --entity-name {PROGRESS_TOPIC} \
         --add-config cleanup.policy=compact"
    ))))
}

/// A record that keeps the progress of a publisher.
pub(crate) fn record<'a>(id: &'a str, progress: &'a [u8]) -> NewRecord<'a> {
    NewRecord {
        topic: PROGRESS_TOPIC,
        partition: Some(partition_of(id.as_bytes(), PARTITIONS)),
        key: Some(id.as_bytes()),
        value: Some(progress),
        headers: &[],
    }
}

/// The ranges of offsets that partitions of a topic hold, up to the end of all records, committed or not.
pub(crate) type Ranges = BTreeMap<u32, (Offset, Offset)>;

/// Reads the committed progress of the publishers; those without any are absent. Must be called
/// after all are fenced.
pub(crate) fn read(
    log: &dyn RecordLog,
    written: impl FnOnce(&BTreeSet<u32>) -> Result<Ranges, LogError>,
    runtime: &dyn Runtime,
    ids: &[&str],
) -> Result<HashMap<String, Vec<u8>>, LogError> {
    let partitions: BTreeSet<u32> = ids
        .iter()
        .map(|id| partition_of(id.as_bytes(), PARTITIONS))
        .collect();
    let found = log.partitions(PROGRESS_TOPIC)?;

    if found < PARTITIONS {
        return Err(LogError::Refused(Refusal::new(format!(
            "topic {PROGRESS_TOPIC:?} has {found} partitions, but needs {PARTITIONS}: run kafka-topics.sh \
             --bootstrap-server BROKERS --alter --topic {PROGRESS_TOPIC} --partitions {PARTITIONS}"
        ))));
    }

    let ends = written(&partitions)?;
    let mut found = Scan::open(log, &ends, ids)?.run(runtime)?;
    let without: Vec<&str> = ids
        .iter()
        .copied()
        .filter(|id| !found.contains_key(*id))
        .collect();
    found.extend(numbers(log, &without)?);

    Ok(found)
}

/// The progress that earlier versions committed as a group's offset; publishers without one are absent.
fn numbers(log: &dyn RecordLog, ids: &[&str]) -> Result<Vec<(String, Vec<u8>)>, LogError> {
    match log.partitions(OFFSETS_TOPIC) {
        Err(LogError::UnknownTopic(_)) => return Ok(Vec::new()),
        known => known?,
    };

    let mut numbers = Vec::new();
    for id in ids {
        let committed = log.committed(id, OFFSETS_TOPIC)?;
        let number = committed.first().map(|(_, number)| *number);
        numbers
            .extend(number.map(|number| ((*id).to_owned(), progress::of_number(number).to_vec())));
    }

    Ok(numbers)
}

/// A walk over some partitions of the progress topic.
struct Scan<'a> {
    reader: Box<dyn Reader>,
    /// The ends of the partitions that are not yet read up to there.
    ends: BTreeMap<u32, Offset>,
    ids: BTreeSet<&'a [u8]>,
    found: HashMap<String, Vec<u8>>,
}

impl<'a> Scan<'a> {
    fn open(log: &dyn RecordLog, ranges: &Ranges, ids: &[&'a str]) -> Result<Self, LogError> {
        let unread: Ranges = ranges
            .iter()
            .filter(|(_, (start, end))| start < end)
            .map(|(partition, range)| (*partition, *range))
            .collect();

        let starts: Vec<(u32, Offset)> = unread
            .iter()
            .map(|(partition, (start, _))| (*partition, *start))
            .collect();

        Ok(Self {
            reader: log.reader(PROGRESS_TOPIC, &starts)?,
            ends: unread
                .into_iter()
                .map(|(partition, (_, end))| (partition, end))
                .collect(),
            ids: ids.iter().map(|id| id.as_bytes()).collect(),
            found: HashMap::new(),
        })
    }

    fn run(mut self, runtime: &dyn Runtime) -> Result<HashMap<String, Vec<u8>>, LogError> {
        let readable = runtime.bell();
        let ringing = Arc::clone(&readable);
        self.reader.on_readable(Arc::new(move || ringing.ring()));
        let deadline = runtime.now() + SCAN_LIMIT;

        while !self.ends.is_empty() {
            let heard = readable.rings();
            let records = self.step()?;
            if runtime.now() >= deadline && !self.ends.is_empty() {
                return Err(held_back(&self.ends));
            }

            if records == 0 {
                readable.wait(heard, Some(WAIT));
            }
        }

        Ok(self.found)
    }

    /// Takes the records that can be read now, and returns their number.
    fn step(&mut self) -> Result<usize, LogError> {
        let mut records = 0;
        let ids = &self.ids;
        let found = &mut self.found;
        let partitions: Vec<u32> = self.ends.keys().copied().collect();

        for partition in partitions {
            let polled = self.reader.poll(partition, BATCH, &mut |record| {
                if let Some(id) = record.key.filter(|key| ids.contains(key)) {
                    let id = String::from_utf8_lossy(id).into_owned();
                    match record.value {
                        Some(progress) => found.insert(id, progress.to_vec()),
                        None => found.remove(&id),
                    };
                }
            })?;
            records += polled.records;

            if polled.next_offset >= self.ends[&partition] {
                self.ends.remove(&partition);
            }
        }

        Ok(records)
    }
}

fn held_back(ends: &BTreeMap<u32, Offset>) -> LogError {
    let partitions: Vec<String> = ends.keys().map(u32::to_string).collect();
    let reason = format!(
        "partition {} of topic {PROGRESS_TOPIC:?} cannot be read to its end within {} s: a transaction is open there, its leader is away, or a quota throttles this client",
        partitions.join(", "),
        SCAN_LIMIT.as_secs()
    );
    LogError::Unavailable(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogTimeType, RecordLimit};

    #[test]
    fn a_lossy_topic_of_progress_is_refused_with_the_remedy() {
        let found = |cleanup| TopicDescription {
            log_time_type: LogTimeType::Append,
            record_limit: RecordLimit {
                bytes: 1,
                setting: "max.message.bytes",
            },
            cleanup,
            retention: None,
        };

        for cleanup in [Cleanup::Delete, Cleanup::CompactAndDelete] {
            let refused = check_topic(PROGRESS_TOPIC, &found(cleanup)).unwrap_err();
            assert!(!refused.is_transient());
            assert!(
                refused
                    .to_string()
                    .contains("--add-config cleanup.policy=compact"),
                "{refused}"
            );
            assert!(check_topic("orders", &found(cleanup)).is_ok());
        }

        assert!(check_topic(PROGRESS_TOPIC, &found(Cleanup::Compact)).is_ok());
    }
}
