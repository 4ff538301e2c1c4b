//! Reads the records of topics from a given time on, within limits.
//!
//! The log has no index by event time. A scan therefore begins at the records that were appended shortly before the
//! given time, which it finds by bisection. It ends at the end that each partition had when the scan began. The times
//! of the records are only a hint, because in a log that keeps its producers' times they are in any order. Records
//! that were not read are a gap, which a sentence describes.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use record_log::{LogError, Offset, OffsetRange, Reader, Record, RecordLog};

/// Bisection ends when at most this number of records is left, all of which are then read.
const NEAR: u64 = 5_000;
/// Maximum number of records of one poll of a partition.
const AT_A_TIME: usize = 1_000;
/// The longest wait for a partition to become readable. The wait ends early when a partition is readable.
const PAUSE: Duration = Duration::from_millis(50);

/// The limits of a scan.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of records, over all topics.
    pub records: u64,
    /// Maximum duration, over all topics.
    pub time: Duration,
}

/// A scan of one or more topics.
pub struct Scan<'a> {
    log: &'a dyn RecordLog,
    /// Time in milliseconds since 1970; records that were appended before it are not needed.
    since_ms: u64,
    limits: Limits,
    deadline: Instant,
    read: u64,
    gaps: Vec<String>,
}

/// The part of a partition that is left to be read.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// The offset to be read next.
    next: Offset,
    /// The end that it had when the scan began.
    end: Offset,
    /// The oldest offset that the log still holds, until the age of its record is known. None if no record before
    /// `next` that is needed was deleted.
    oldest: Option<Offset>,
}

/// An open reader, and the signal that it may be readable.
struct Open {
    reader: Box<dyn Reader>,
    readable: mpsc::Receiver<()>,
}

impl<'a> Scan<'a> {
    /// Begins a scan of the records that were appended since `since_ms`.
    pub fn new(log: &'a dyn RecordLog, since_ms: u64, limits: Limits) -> Self {
        Self {
            log,
            since_ms,
            limits,
            deadline: Instant::now() + limits.time,
            read: 0,
            gaps: Vec::new(),
        }
    }

    /// Returns the number of records that were read, and a sentence for each gap.
    pub fn conclude(self) -> (u64, Vec<String>) {
        (self.read, self.gaps)
    }

    /// Passes the records of a topic to `each` until it returns `false`, which means that it has no room for another.
    ///
    /// # Errors
    /// Returns [`LogError`] if the log cannot be read. Records that the log no longer holds are a gap, not an error.
    pub fn topic(
        &mut self,
        topic: &str,
        each: &mut dyn FnMut(&Record<'_>) -> bool,
    ) -> Result<(), LogError> {
        let ranges = match self.log.offsets(topic) {
            Ok(ranges) => ranges,
            Err(LogError::UnknownTopic(_)) => {
                self.gaps.push(format!("the log has no topic {topic}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };

        let mut spans = self.near(topic, &ranges)?;
        spans.retain(|partition, span| {
            let is_left = span.next < span.end;
            if !is_left {
                self.note_deleted(topic, *partition, span.oldest, None);
            }
            is_left
        });
        if spans.is_empty() {
            return Ok(());
        }

        let mut open = self.open(topic, &places(&spans))?;
        while !spans.is_empty() {
            if let Some(gap) = self.limit_reached(topic) {
                self.gaps.push(gap);
                return Ok(());
            }

            match self.round(topic, &mut open, &mut spans, each)? {
                Round::Read => {}
                Round::Idle => open.wait(),
                Round::Full => {
                    let gap = format!("{topic} has more records of this count than are listed");
                    self.gaps.push(gap);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Polls each partition once, and removes the partitions that are read to their ends from `spans`.
    fn round(
        &mut self,
        topic: &str,
        open: &mut Open,
        spans: &mut BTreeMap<u32, Span>,
        each: &mut dyn FnMut(&Record<'_>) -> bool,
    ) -> Result<Round, LogError> {
        let mut round = Round::Idle;
        let mut is_deleted = false;
        for (partition, mut span) in spans.clone() {
            let mut first_ms = None;
            let mut has_room = true;
            let mut count = 0;
            let polled = open.reader.poll(partition, AT_A_TIME, &mut |record| {
                first_ms.get_or_insert(record.log_time_ms);
                count += 1;
                has_room &= each(&record);
            });

            match polled {
                Ok(polled) => span.next = polled.next_offset,
                Err(LogError::OffsetOutOfRange { .. }) => {
                    self.pass_deleted(topic, partition, &mut span)?;
                    is_deleted = true;
                }
                Err(error) => return Err(error),
            }

            // A partition may have offsets without records before its first record, or only such offsets.
            if first_ms.is_some() || span.next >= span.end {
                self.note_deleted(topic, partition, span.oldest.take(), first_ms);
            }

            self.read += count;
            if !has_room {
                return Ok(Round::Full);
            }
            if count > 0 {
                round = Round::Read;
            }
            if span.next < span.end {
                spans.insert(partition, span);
            } else {
                spans.remove(&partition);
            }
        }

        if is_deleted && !spans.is_empty() {
            *open = self.open(topic, &places(spans))?;
            round = Round::Read;
        }
        Ok(round)
    }

    /// Adds the gap of records that were deleted during the scan, and continues at the oldest record that is left.
    fn pass_deleted(
        &mut self,
        topic: &str,
        partition: u32,
        span: &mut Span,
    ) -> Result<(), LogError> {
        let gap = format!(
            "the log deleted records of partition {partition} of {topic} while they were read"
        );
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }

        let ranges = self.log.offsets(topic)?;
        let held = (0..).zip(&ranges).find(|(id, _)| *id == partition);
        // If the log has lost its end instead, it begins no later than before, and no record is left to read.
        let oldest = held.map(|(_, range)| range.start);
        span.next = oldest
            .filter(|oldest| *oldest > span.next)
            .unwrap_or(span.end);
        span.oldest = None;
        Ok(())
    }

    /// Returns the part of each partition to be read: from a record shortly before the first one that the scan needs,
    /// to the end.
    fn near(&self, topic: &str, ranges: &[OffsetRange]) -> Result<BTreeMap<u32, Span>, LogError> {
        let whole = |range: &OffsetRange| Span {
            next: range.start,
            end: range.end,
            oldest: Some(range.start).filter(|oldest| *oldest > 0),
        };
        let mut spans: BTreeMap<u32, Span> = (0..).zip(ranges.iter().map(whole)).collect();
        // For each partition, the offsets between which the first needed record lies.
        let mut bounds: BTreeMap<u32, (Offset, Offset)> = spans
            .iter()
            .map(|(id, span)| (*id, (span.next, span.end)))
            .collect();

        loop {
            bounds.retain(|_, (low, high)| high.saturating_sub(*low) > NEAR);
            if bounds.is_empty() || Instant::now() >= self.deadline {
                return Ok(spans);
            }

            let middles: Vec<(u32, Offset)> = bounds
                .iter()
                .map(|(id, (low, high))| (*id, low + (high - low) / 2))
                .collect();
            let mut open = self.open(topic, &middles)?;
            for (partition, middle) in middles {
                let Some((low, high)) = bounds.get_mut(&partition) else {
                    continue;
                };
                match self.first(&mut open, partition, *high)? {
                    Some((offset, ms)) if self.is_before(ms) => {
                        *low = offset;
                        if let Some(span) = spans.get_mut(&partition) {
                            span.next = offset;
                            span.oldest = None;
                        }
                    }
                    _ => *high = middle,
                }
            }
        }
    }

    /// Returns the offset and the time of the next record that a reader returns for a partition; none if there is none
    /// before `end`.
    fn first(
        &self,
        open: &mut Open,
        partition: u32,
        end: Offset,
    ) -> Result<Option<(Offset, u64)>, LogError> {
        let mut first = None;
        while Instant::now() < self.deadline {
            let polled = open.reader.poll(partition, 1, &mut |record| {
                first = Some((record.offset, record.log_time_ms));
            });
            let polled = match polled {
                // The record was deleted meanwhile. The remaining records follow it, and are read in the rounds.
                Err(LogError::OffsetOutOfRange { .. }) => return Ok(None),
                polled => polled?,
            };

            if first.is_some() || polled.next_offset >= end {
                break;
            }
            if polled.records == 0 {
                open.wait();
            }
        }
        Ok(first.filter(|(offset, _)| *offset < end))
    }

    /// Adds the gap of a partition whose records before `oldest` are deleted. If the first remaining record is older
    /// than the scan needs, the deleted ones are not needed either, and there is no gap.
    fn note_deleted(
        &mut self,
        topic: &str,
        partition: u32,
        oldest: Option<Offset>,
        first_ms: Option<u64>,
    ) {
        let is_needless = first_ms.is_some_and(|ms| self.is_before(ms));
        if let Some(oldest) = oldest.filter(|_| !is_needless) {
            self.gaps.push(format!(
                "the log no longer holds partition {partition} of {topic} before offset {oldest}"
            ));
        }
    }

    /// Returns whether a record was appended before the time from which the scan needs records. Returns false for a
    /// record without a time.
    fn is_before(&self, log_time_ms: u64) -> bool {
        log_time_ms > 0 && log_time_ms < self.since_ms
    }

    fn limit_reached(&self, topic: &str) -> Option<String> {
        if self.read >= self.limits.records {
            let most = self.limits.records;
            return Some(format!(
                "{topic} was not read to its end, as at most {most} records are read"
            ));
        }
        (Instant::now() >= self.deadline).then(|| {
            let seconds = self.limits.time.as_secs();
            format!("{topic} was not read to its end within {seconds} seconds")
        })
    }

    fn open(&self, topic: &str, from: &[(u32, Offset)]) -> Result<Open, LogError> {
        let mut reader = self.log.reader(topic, from)?;
        // A capacity of one suffices: after several signals, the scan polls once.
        let (wake, readable) = mpsc::sync_channel(1);
        reader.on_readable(Arc::new(move || {
            let _ = wake.try_send(());
        }));
        Ok(Open { reader, readable })
    }
}

/// Returns the offset to be read next of each partition.
fn places(spans: &BTreeMap<u32, Span>) -> Vec<(u32, Offset)> {
    spans.iter().map(|(id, span)| (*id, span.next)).collect()
}

impl Open {
    /// Waits until a partition may be readable.
    fn wait(&self) {
        // The timeout is ignored, because the end of a partition can be reached without a signal.
        let _ = self.readable.recv_timeout(PAUSE);
    }
}

/// The outcome of polling each partition once.
enum Round {
    /// Records were read.
    Read,
    /// No partition had a record.
    Idle,
    /// The caller has no room for more records.
    Full,
}

#[cfg(test)]
mod tests;
