//! Reads from the simulated log.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::store::{Partition, StoredRecord};
use super::{Call, SimulatedLog};
use crate::set_aside::not_supported;
use crate::wakes::Registration;
use crate::{LogError, Offset, Polled, Reader, Record, SetAside, Wake};

/// The reason why a damaged record cannot be read.
const DAMAGE: &str = "its bytes are damaged";

pub(super) struct SimulatedReader {
    log: SimulatedLog,
    topic: String,
    next: BTreeMap<u32, Offset>,
    registration: Option<Registration>,
}

impl SimulatedReader {
    pub(super) fn new(log: SimulatedLog, topic: &str, from: &[(u32, Offset)]) -> Self {
        Self {
            log,
            topic: topic.to_owned(),
            next: from.iter().copied().collect(),
            registration: None,
        }
    }

    /// Copies the records at the position, so that `each` runs without the store's lock.
    fn fetch(&self, partition: u32, max: usize) -> Result<(Vec<StoredRecord>, Polled), LogError> {
        let unknown = || LogError::UnknownPartition {
            topic: self.topic.clone(),
            partition,
        };
        let from = *self.next.get(&partition).ok_or_else(unknown)?;
        let as_of_ms = (self.log.shared.now_ms)();

        self.log.ask(
            &Call::Poll {
                topic: &self.topic,
                partition,
            },
            |store| {
                let kept = store
                    .topic_mut(&self.topic)?
                    .partition_mut(partition)
                    .ok_or_else(unknown)?;

                if kept.damaged_from(from).is_some() {
                    return Err(LogError::Unreadable {
                        topic: self.topic.clone(),
                        partition,
                        offset: from,
                        reason: DAMAGE.into(),
                    });
                }

                read(kept, from, max, as_of_ms).ok_or_else(|| LogError::OffsetOutOfRange {
                    topic: self.topic.clone(),
                    partition,
                    offset: from,
                })
            },
        )
    }
}

/// Returns up to `max` committed records from an offset on, and the outcome of the poll. Returns
/// none if the partition does not have the offset.
fn read(
    kept: &mut Partition,
    from: Offset,
    max: usize,
    as_of_ms: u64,
) -> Option<(Vec<StoredRecord>, Polled)> {
    if kept.is_silent() || kept.held_from.is_some_and(|held| held <= from) {
        let nothing = Polled {
            records: 0,
            next_offset: from,
            end_as_of_ms: None,
        };
        return Some((Vec::new(), nothing));
    }

    // Behind an open transaction and at damage nothing is readable, and no end is confirmed.
    let stop = kept.stop_behind(from);
    let (records, end) = kept.read(from, max)?;
    let readable = stop.map_or(end, |stop| stop.min(end));
    let before = records.partition_point(|record| record.offset < readable);
    let is_stopped = before < records.len();
    let records = &records[..before];

    let behind_last = records.last().map(|record| record.offset + 1);
    let is_whole = is_stopped || records.len() < max || behind_last == Some(readable);
    let next_offset = if is_whole {
        readable
    } else {
        behind_last.unwrap_or(from)
    };

    let is_end = next_offset == end && stop.is_none();
    let polled = Polled {
        records: records.len(),
        next_offset,
        end_as_of_ms: is_end.then_some(as_of_ms),
    };
    Some((records.to_vec(), polled))
}

impl Reader for SimulatedReader {
    fn poll(
        &mut self,
        partition: u32,
        max: usize,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<Polled, LogError> {
        let (records, polled) = self.fetch(partition, max.min(self.log.batch))?;
        for record in &records {
            each(Record {
                partition,
                offset: record.offset,
                log_time_ms: record.log_time_ms,
                log_time_type: record.log_time_type,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &record.headers,
            });
        }

        self.next.insert(partition, polled.next_offset);
        Ok(polled)
    }

    fn set_aside(&mut self, partition: u32) -> Result<SetAside, LogError> {
        let from = self.next.get(&partition).copied();
        let call = Call::Poll {
            topic: &self.topic,
            partition,
        };
        let damaged = self.log.ask(&call, |store| {
            let kept = store.topic_mut(&self.topic)?.partition_mut(partition);
            Ok(kept
                .zip(from)
                .and_then(|(kept, from)| kept.damaged_from(from)))
        })?;

        let offsets = damaged.ok_or_else(|| not_supported(partition))?;
        self.next.insert(partition, offsets.end);
        Ok(SetAside {
            offsets,
            reason: DAMAGE.to_owned(),
        })
    }

    fn on_readable(&mut self, wake: Wake) {
        self.registration = Some(
            self.log
                .shared
                .wakes
                .register(&self.topic, Arc::clone(&wake)),
        );
        wake();
    }
}
