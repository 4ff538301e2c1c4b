//! Reading: threads of the reader fetch partitions, and the caller of a poll walks the fetched bytes in place.
//!
//! - `fetch`: the request and its answer; `fetcher`: the thread that sends and receives, one for each broker;
//!   `steward`: the thread that finds the leaders; `shared`: the state that they share with the reader; `follower`: reading
//!   from a follower in the client's rack; `whole`: whole batches in fetched bytes; `frames`: memory.
//! - A poll takes the fetched bytes of its partition, checks and unpacks one batch after another, and passes on its
//!   records without a copy. It never waits for a broker.
//!
//! Invariants: a batch that cannot be read stops its partition at that batch, poll after poll, unless the caller sets it
//! aside; an offset that a broker does not confirm is not an end; a reader's threads end soon after the reader.

mod fetch;
mod fetcher;
mod follower;
mod frames;
pub(super) mod received;
mod shared;
mod steward;
mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::shared::{End, Found, Piecewise, Shared, Taken};
use super::batch::records::RawRecord;
use super::batch::walk::{self, Behind, Scratch, Unreadable, Walk};
use super::cluster::{Cluster, Topic};
use super::to_kafka;
use crate::set_aside::not_supported;
use crate::{LogError, Offset, Polled, Reader, Record, SetAside, Wake};

/// The limits of fetching, by librdkafka's `fetch.…` properties.
#[derive(Clone, Debug)]
pub(super) struct Fetching {
    /// The time for which a broker waits for records before it answers that there are none.
    pub wait: Duration,
    /// The number of bytes that a broker waits for.
    pub least_bytes: i32,
    /// The most bytes in one answer, unless a single batch is larger.
    pub answer_bytes: i32,
    /// The number of bytes to request of each partition; if not set, its share of an answer.
    pub partition_bytes: Option<i32>,
    /// The most fetched bytes that wait for the reader.
    pub waiting_bytes: usize,
    /// The client's rack (`client.rack`); empty if it has none.
    pub rack: String,
}

impl Default for Fetching {
    fn default() -> Self {
        Self {
            wait: Duration::from_millis(100),
            least_bytes: 1,
            answer_bytes: 1 << 20,
            partition_bytes: None,
            waiting_bytes: 2 << 20,
            rack: String::new(),
        }
    }
}

pub(super) struct NativeReader {
    shared: Arc<Shared>,
    cursors: BTreeMap<u32, Cursor>,
    scratch: Scratch,
}

/// The reader's position in a partition.
struct Cursor {
    slot: usize,
    next: i64,
    reading: Option<(Piecewise, Walk)>,
    /// The error of the last poll, if a batch could not be read.
    unreadable: Option<Unreadable>,
    /// The time before which no more bytes are requested to find the end of damage.
    looks_on_at: Option<Instant>,
}

/// The time between two requests for the bytes behind damage.
const LOOK: Duration = Duration::from_millis(500);

/// Reasons why a partition is not read, as far as no other error type has them.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0}, and the batch behind it cannot be found, because a length is damaged as well")]
    Endless(Unreadable),
    #[error(
        "partition {partition} of topic {topic:?} cannot be read from offset {offset} on, and the next batch has not come yet, which \
         will show where the damage ends"
    )]
    Unending {
        topic: String,
        partition: u32,
        offset: i64,
    },
    #[error("topic {0:?} was deleted and created again; start the job over to read the new one")]
    Recreated(String),
    #[error("{0}")]
    Failing(Arc<str>),
}

impl NativeReader {
    pub fn open(
        cluster: &Arc<Cluster>,
        name: &str,
        topic: &Topic,
        fetching: &Fetching,
        from: &[(u32, Offset)],
    ) -> Result<Self, LogError> {
        let from: BTreeMap<u32, i64> = from
            .iter()
            .map(|(partition, next)| (*partition, to_kafka(*next)))
            .collect();
        let slots: Vec<(u32, i64)> = from.into_iter().collect();
        let shared = Arc::new(Shared::new(
            cluster.runtime(),
            name,
            topic,
            fetching,
            &slots,
        ));
        steward::start(cluster, &shared).map_err(|error| LogError::Unavailable(error.into()))?;

        let cursor = |(slot, (partition, next)): (usize, (u32, i64))| {
            let cursor = Cursor {
                slot,
                next,
                reading: None,
                unreadable: None,
                looks_on_at: None,
            };
            (partition, cursor)
        };

        Ok(Self {
            shared,
            cursors: slots.into_iter().enumerate().map(cursor).collect(),
            scratch: Scratch::default(),
        })
    }
}

impl Reader for NativeReader {
    fn poll(
        &mut self,
        partition: u32,
        max: usize,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<Polled, LogError> {
        let Some(cursor) = self.cursors.get_mut(&partition) else {
            return Err(LogError::UnknownPartition {
                topic: self.shared.topic.clone(),
                partition,
            });
        };

        let mut hand_over = |raw: RawRecord<'_>| each(record(partition, &raw));
        let mut records = 0;
        let mut end = None;

        while records < max {
            if cursor.reading.is_none() {
                match self.shared.take(cursor.slot) {
                    Taken::Piece(piece) => cursor.begin(piece),
                    Taken::Nothing {
                        found: Some(found), ..
                    } if records == 0 => return Err(cursor.error(&self.shared, partition, found)),
                    Taken::Nothing { end: found, .. } => {
                        end = found;
                        break;
                    }
                }
            }

            let walked = cursor.walk(max - records, &mut self.scratch, &mut hand_over);
            match walked {
                Ok(walked) => records += walked,
                // The records before the failure are handed over first.
                Err(_) if records > 0 => break,
                Err(source) => {
                    cursor.unreadable = Some(source.clone());
                    return Err(unreadable(&self.shared, partition, source));
                }
            }
        }

        Ok(cursor.polled(records, end))
    }

    fn set_aside(&mut self, partition: u32) -> Result<SetAside, LogError> {
        let damaged = self.cursors.get_mut(&partition).and_then(|cursor| {
            let unreadable = cursor.unreadable.take()?;
            Some((cursor, unreadable))
        });
        let Some((cursor, unreadable)) = damaged else {
            return Err(not_supported(partition));
        };

        match cursor.behind_unreadable() {
            Behind::At(offset) => Ok(cursor.set_aside(&self.shared, offset, &unreadable)),
            Behind::NotFound => Err(endless(&self.shared, partition, unreadable)),
            Behind::NotFetched => {
                cursor.look_on(&self.shared);
                Err(LogError::Unavailable(Box::new(ReadError::Unending {
                    topic: self.shared.topic.clone(),
                    partition,
                    offset: cursor.next,
                })))
            }
        }
    }

    fn on_readable(&mut self, wake: Wake) {
        self.shared.set_wake(Arc::clone(&wake));
        // Records that came before this call would not wake the caller.
        wake();
    }

    fn obstacle(&self, partition: u32) -> Option<Arc<str>> {
        let cursor = self.cursors.get(&partition)?;
        self.shared.throttled(cursor.slot)
    }
}

impl Drop for NativeReader {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Cursor {
    fn begin(&mut self, piece: Piecewise) {
        let walk = Walk::new(self.next, -1, piece.aborted.clone());
        self.reading = Some((piece, walk));
    }

    fn walk(
        &mut self,
        max: usize,
        scratch: &mut Scratch,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<usize, Unreadable> {
        let Some((piece, walk)) = &mut self.reading else {
            return Ok(0);
        };

        let fetched = walk::Fetched {
            id: piece.id,
            bytes: piece.piece.bytes(),
            max,
        };
        let walked = walk.run(&fetched, scratch, each);
        self.next = walk.next_offset;

        if walk.is_done(fetched.bytes) {
            self.next = self.next.max(piece.next);
            self.reading = None;
        }

        walked
    }

    fn behind_unreadable(&self) -> Behind {
        let reading = self.reading.as_ref();
        reading.map_or(Behind::NotFetched, |(piece, walk)| {
            walk.behind_unreadable(piece.piece.bytes())
        })
    }

    /// Moves to `behind`. The rest is fetched anew, with the transactions that were aborted behind it: the marker of an
    /// earlier one may have been passed over.
    fn set_aside(&mut self, shared: &Shared, behind: i64, unreadable: &Unreadable) -> SetAside {
        let from = std::mem::replace(&mut self.next, behind);
        self.reading = None;
        self.looks_on_at = None;
        shared.fetch_from(self.slot, behind, 0);

        SetAside {
            offsets: from.cast_unsigned()..behind.cast_unsigned(),
            reason: unreadable.to_string(),
        }
    }

    /// Requests twice as many bytes from the position, unless it did a moment ago.
    fn look_on(&mut self, shared: &Shared) {
        let now = shared.runtime.now();
        if self.looks_on_at.is_some_and(|at| now < at) {
            return;
        }

        self.looks_on_at = Some(now + LOOK);
        let reading = self.reading.take();
        let fetched = reading.map_or(0, |(piece, _)| piece.piece.bytes().len());
        shared.fetch_from(self.slot, self.next, fetched.saturating_mul(2));
    }

    /// Returns the result of a poll. An end at or below the position confirms it, unless fetched records are still to
    /// be handed over.
    fn polled(&self, records: usize, end: Option<End>) -> Polled {
        let confirmed = end.filter(|end| end.offset >= 0 && end.offset <= self.next);
        Polled {
            records,
            next_offset: self.next.cast_unsigned(),
            end_as_of_ms: confirmed
                .filter(|_| self.reading.is_none())
                .map(|end| end.as_of_ms),
        }
    }

    fn error(&self, shared: &Shared, partition: u32, found: Found) -> LogError {
        let topic = shared.topic.clone();
        match found {
            Found::Lost => LogError::OffsetOutOfRange {
                topic,
                partition,
                offset: self.next.cast_unsigned(),
            },
            Found::NoTopic => LogError::UnknownTopic(topic),
            Found::Recreated => LogError::Settings(Box::new(ReadError::Recreated(topic))),
            Found::Failing(reason) => LogError::Unavailable(Box::new(ReadError::Failing(reason))),
            Found::Refused(refusal) => LogError::Refused(refusal),
        }
    }
}

fn unreadable(shared: &Shared, partition: u32, unreadable: Unreadable) -> LogError {
    LogError::Unreadable {
        topic: shared.topic.clone(),
        partition,
        offset: unreadable.offset.cast_unsigned(),
        reason: Box::new(unreadable.source),
    }
}

/// Returns the error for damage whose end cannot be found.
fn endless(shared: &Shared, partition: u32, unreadable: Unreadable) -> LogError {
    LogError::Unreadable {
        topic: shared.topic.clone(),
        partition,
        offset: unreadable.offset.cast_unsigned(),
        reason: Box::new(ReadError::Endless(unreadable)),
    }
}

#[inline]
fn record<'a>(partition: u32, raw: &'a RawRecord<'a>) -> Record<'a> {
    Record {
        partition,
        // Batches with negative offsets were refused.
        offset: raw.offset.cast_unsigned(),
        log_time_ms: u64::try_from(raw.time_ms).unwrap_or(0),
        log_time_type: raw.time_type,
        key: raw.key,
        value: raw.value,
        headers: &raw.headers,
    }
}

#[cfg(test)]
mod tests;
