//! Reads from the embedded log chunk by chunk. Where possible, records are borrowed from SQLite's
//! own pages.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use super::chunk::Entries;
use super::store::{OFFSET_LIMIT, Partition, Topic, last_offset, place};
use super::{Shared, StoreError};
use crate::wakes::Registration;
use crate::{LogError, LogTimeType, Offset, Polled, Reader, Record, Wake};

const CHUNKS_FROM: &str = "SELECT place, base_offset, log_time_ms, body FROM chunks WHERE place BETWEEN ? AND ? ORDER BY place";

pub(super) struct EmbeddedReader {
    shared: Arc<Shared>,
    topic: Arc<Topic>,
    connection: Connection,
    cursors: BTreeMap<u32, Cursor>,
    registration: Option<Registration>,
}

/// The reader's position in a partition.
struct Cursor {
    next: Offset,
    /// The rest of the chunk in which the last poll stopped.
    held: Option<HeldChunk>,
}

struct HeldChunk {
    frame: Frame,
    body: Vec<u8>,
    read_bytes: usize,
}

/// The properties that all records of a chunk share.
#[derive(Clone, Copy)]
struct Frame {
    partition: u32,
    base: Offset,
    last: Offset,
    log_time_ms: u64,
}

/// Passes records to the caller until there are enough.
struct Hand<'a> {
    wanted: usize,
    records: usize,
    next: Offset,
    each: &'a mut dyn FnMut(Record<'_>),
}

impl EmbeddedReader {
    pub(super) fn open(
        shared: Arc<Shared>,
        topic: &str,
        from: &[(u32, Offset)],
    ) -> Result<Self, LogError> {
        let topic = shared.store.topic(topic)?;
        for (partition, _) in from {
            topic.partition(*partition)?;
        }

        let connection = shared.store.read_connection()?;
        let cursors = from
            .iter()
            .map(|(partition, next)| {
                (
                    *partition,
                    Cursor {
                        next: *next,
                        held: None,
                    },
                )
            })
            .collect();

        Ok(Self {
            shared,
            topic,
            connection,
            cursors,
            registration: None,
        })
    }
}

impl Reader for EmbeddedReader {
    fn poll(
        &mut self,
        number: u32,
        max: usize,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<Polled, LogError> {
        let partition = self.topic.partition(number)?;
        let unknown = || LogError::UnknownPartition {
            topic: self.topic.name.to_string(),
            partition: number,
        };
        let cursor = self.cursors.get_mut(&number).ok_or_else(unknown)?;

        let mut hand = Hand {
            wanted: max,
            records: 0,
            next: cursor.next,
            each,
        };

        let as_of_ms = self.shared.end_date_ms();
        let end = partition.end();
        let read = cursor.read(&self.connection, partition, end, &mut hand);
        let records = hand.records;
        let next_offset = hand.next;
        cursor.next = next_offset;
        read?;

        if records == 0 && !(partition.start()..=end).contains(&next_offset) {
            let topic = self.topic.name.to_string();
            return Err(LogError::OffsetOutOfRange {
                topic,
                partition: number,
                offset: next_offset,
            });
        }

        Ok(Polled {
            records,
            next_offset,
            end_as_of_ms: (next_offset == end).then_some(as_of_ms),
        })
    }

    fn on_readable(&mut self, wake: Wake) {
        self.registration = Some(
            self.shared
                .wakes
                .register(&self.topic.name, Arc::clone(&wake)),
        );
        wake();
    }
}

impl Cursor {
    fn read(
        &mut self,
        connection: &Connection,
        partition: &Partition,
        end: Offset,
        hand: &mut Hand<'_>,
    ) -> Result<(), StoreError> {
        if self.next >= end || hand.wanted == 0 || self.read_held(hand)?.is_break() {
            return Ok(());
        }
        self.read_stored(connection, partition, end, hand)
    }

    /// Passes on the rest of the chunk in which the last poll stopped; breaks if there were enough
    /// records.
    fn read_held(&mut self, hand: &mut Hand<'_>) -> Result<ControlFlow<()>, StoreError> {
        let Some(mut held) = self.held.take() else {
            return Ok(ControlFlow::Continue(()));
        };
        let Some(rest) = hand.take(held.frame, &held.body[held.read_bytes..])? else {
            return Ok(ControlFlow::Continue(()));
        };

        held.read_bytes = held.body.len() - rest;
        self.held = Some(held);
        Ok(ControlFlow::Break(()))
    }

    fn read_stored(
        &mut self,
        connection: &Connection,
        partition: &Partition,
        end: Offset,
        hand: &mut Hand<'_>,
    ) -> Result<(), StoreError> {
        let mut statement = connection.prepare_cached(CHUNKS_FROM)?;
        let places = params![
            place(partition.id, hand.next),
            place(partition.id, OFFSET_LIMIT - 1)
        ];
        let mut rows = statement.query(places)?;
        let mut row = rows.next()?;

        // The rows are of one snapshot. Chunks that it lacks had been declared expired before it
        // was taken.
        if partition.start() > hand.next {
            return Ok(());
        }

        while let Some(found) = row {
            let body = found.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
            let frame = Frame::of(found, partition.number)?;
            if let Some(rest) = hand.take(frame, body)? {
                self.held = Some(HeldChunk {
                    frame,
                    body: body[body.len() - rest..].to_vec(),
                    read_bytes: 0,
                });
                return Ok(());
            }

            row = rows.next()?;
        }

        // Compaction may have removed the last records; the end does not move back.
        hand.next = hand.next.max(end);
        Ok(())
    }
}

impl Frame {
    fn of(row: &Row<'_>, partition: u32) -> Result<Self, StoreError> {
        let base = row.get::<_, i64>(1)?.cast_unsigned();
        let log_time_ms = row.get::<_, i64>(2)?.cast_unsigned();
        Ok(Self {
            partition,
            base,
            last: last_offset(row.get(0)?),
            log_time_ms,
        })
    }
}

impl Hand<'_> {
    /// Passes on the records of a chunk. Returns the number of bytes left if there were enough
    /// records before its end.
    fn take(&mut self, frame: Frame, body: &[u8]) -> Result<Option<usize>, StoreError> {
        let mut entries = Entries::of(body);
        while self.records < self.wanted {
            let Some(entry) = entries.next() else {
                self.next = frame.last + 1;
                return Ok(None);
            };

            let entry = entry?;
            let offset = frame.base + u64::from(entry.delta);
            if offset < self.next {
                continue;
            }

            (self.each)(Record {
                partition: frame.partition,
                offset,
                log_time_ms: frame.log_time_ms,
                log_time_type: LogTimeType::Append,
                key: entry.key,
                value: entry.value,
                headers: &entry.headers,
            });

            self.records += 1;
            self.next = offset + 1;
        }

        Ok(Some(entries.rest().len()))
    }
}
