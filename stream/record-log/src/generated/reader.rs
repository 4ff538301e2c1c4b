//! Reads generated records.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::{GeneratedRecord, Source};
use crate::{LogError, LogTimeType, Offset, Polled, Reader, Record, Wake};

/// The interval at which records of a rate become readable.
const READABLE_EVERY: Duration = Duration::from_millis(10);

pub(super) struct GeneratedReader {
    topic: String,
    source: Arc<Source>,
    opened_ms: u64,
    places: BTreeMap<u32, Place>,
    wake: Arc<Mutex<Option<Wake>>>,
}

/// The position in a partition.
#[derive(Clone, Copy)]
struct Place {
    from: Offset,
    next: Offset,
}

impl GeneratedReader {
    pub(super) fn new(
        topic: &str,
        source: &Arc<Source>,
        from: &[(u32, Offset)],
    ) -> Result<Self, LogError> {
        let mut places = BTreeMap::new();
        for (partition, offset) in from {
            if *partition >= source.settings.partitions {
                return Err(unknown(topic, *partition));
            }
            let records = source.records_of(*partition);
            if records.is_some_and(|records| *offset > records) {
                return Err(LogError::OffsetOutOfRange {
                    topic: topic.to_owned(),
                    partition: *partition,
                    offset: *offset,
                });
            }

            let place = Place {
                from: *offset,
                next: *offset,
            };
            places.insert(*partition, place);
        }

        Ok(Self {
            topic: topic.to_owned(),
            source: Arc::clone(source),
            opened_ms: (source.now_ms)(),
            places,
            wake: Arc::default(),
        })
    }

    /// Returns the offset before which a partition that was opened at `from` is readable.
    fn readable_before(&self, partition: u32, from: Offset, now_ms: u64) -> Offset {
        let all = self.source.records_of(partition).unwrap_or(Offset::MAX);
        let Some(per_second) = self.source.settings.per_second else {
            return all;
        };

        let partitions = u128::from(self.source.settings.partitions);
        let elapsed_ms = u128::from(now_ms.saturating_sub(self.opened_ms));
        let records = elapsed_ms * u128::from(per_second) / 1000 / partitions;
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        from.saturating_add(records).min(all)
    }
}

impl Reader for GeneratedReader {
    fn poll(
        &mut self,
        partition: u32,
        max: usize,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<Polled, LogError> {
        let now_ms = (self.source.now_ms)();
        let place = self.places.get(&partition);
        let Place { from, next } = *place.ok_or_else(|| unknown(&self.topic, partition))?;
        let end = self.readable_before(partition, from, now_ms);
        let until = end.min(next.saturating_add(max as u64)).max(next);
        let seed = self.source.settings.seed;
        let no_headers: Vec<(String, Vec<u8>)> = Vec::new();

        for offset in next..until {
            let number = self.source.number(partition, offset);
            let GeneratedRecord {
                key,
                value,
                time_ms,
            } = (self.source.generate)(seed, number);
            each(Record {
                partition,
                offset,
                log_time_ms: time_ms,
                log_time_type: LogTimeType::Create,
                key: Some(&key),
                value: Some(&value),
                headers: &no_headers,
            });
        }

        self.places.insert(partition, Place { from, next: until });
        self.source.reached[partition as usize].fetch_max(end, Ordering::Relaxed);
        let is_whole = self.source.records_of(partition) == Some(until);
        Ok(Polled {
            records: usize::try_from(until - next).unwrap_or(usize::MAX),
            next_offset: until,
            end_as_of_ms: is_whole.then_some(now_ms),
        })
    }

    fn on_readable(&mut self, wake: Wake) {
        wake();
        let mut current = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = current.replace(wake).is_none();
        drop(current);

        if is_first && self.source.settings.per_second.is_some() {
            let wakes = Arc::downgrade(&self.wake);
            std::thread::spawn(move || keep_waking(&wakes));
        }
    }
}

/// Wakes a reader until it is dropped.
fn keep_waking(wakes: &Weak<Mutex<Option<Wake>>>) {
    while let Some(current) = wakes.upgrade() {
        let wake = current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        drop(current);
        if let Some(wake) = wake {
            wake();
        }
        std::thread::sleep(READABLE_EVERY);
    }
}

fn unknown(topic: &str, partition: u32) -> LogError {
    LogError::UnknownPartition {
        topic: topic.to_owned(),
        partition,
    }
}
