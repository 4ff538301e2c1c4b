//! Publishes to the embedded log: records are encoded when they are sent, held until the commit,
//! and written in one SQLite transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rusqlite::types::{FromSql, FromSqlError, ValueRef};
use rusqlite::{OptionalExtension, Transaction, params};

use super::chunk::{Chunk, FULL_BYTES};
use super::store::{OFFSET_LIMIT, RECORD_LIMIT, Topic, place};
use super::{Shared, StoreError};
use crate::{
    Cause, Delivery, LogError, NewRecord, Offset, PublishError, Publisher, murmur2, progress,
};

/// The size at which an at-least-once publisher writes the held records without waiting for the
/// commit.
const HELD_LIMIT_BYTES: usize = 16 * FULL_BYTES;

pub(super) struct EmbeddedPublisher {
    shared: Arc<Shared>,
    id: String,
    /// The epoch of this holder of the id; none for an at-least-once publisher, which fences no
    /// other.
    epoch: Option<u64>,
    progress: Option<Vec<u8>>,
    topics: HashMap<String, Arc<Topic>>,
    held: BTreeMap<(Arc<str>, u32), Held>,
    held_bytes: usize,
    turn: u32,
}

/// The records of one partition that wait for the commit.
struct Held {
    topic: Arc<Topic>,
    chunks: Vec<Chunk>,
}

impl EmbeddedPublisher {
    /// Fences earlier holders, then reads the progress, both under the writer's lock.
    pub(super) fn open(
        shared: Arc<Shared>,
        id: &str,
        delivery: Delivery,
    ) -> Result<Self, LogError> {
        let (epoch, progress) = {
            let mut writer = shared.store.writer();
            let epoch = (delivery == Delivery::Transactional).then(|| {
                let newest = writer.epochs.entry(id.to_owned()).or_default();
                *newest += 1;
                *newest
            });

            let progress = writer
                .connection
                .query_row(
                    "SELECT progress FROM publishers WHERE id = ?",
                    [id],
                    |row| Ok(kept(row.get_ref(0)?)?),
                )
                .optional()
                .map_err(StoreError::from)?;

            (epoch, progress)
        };

        let topics = HashMap::new();
        let held = BTreeMap::new();
        Ok(Self {
            shared,
            id: id.to_owned(),
            epoch,
            progress,
            topics,
            held,
            held_bytes: 0,
            turn: 0,
        })
    }

    fn hold(&mut self, record: &NewRecord<'_>) -> Result<(), PublishError> {
        let topic = self.topic(record.topic)?;
        RECORD_LIMIT.check(record)?;
        let partition = murmur2::choose_partition(record, topic.partition_count(), &mut self.turn)
            .map_err(PublishError::from)?;
        let key = (Arc::clone(&topic.name), partition);

        let held = self.held.entry(key).or_insert_with(|| Held {
            topic,
            chunks: vec![Chunk::default()],
        });

        if held.chunks.last().is_none_or(Chunk::is_full) {
            held.chunks.push(Chunk::default());
        }

        let chunk = held.chunks.last_mut().expect("one was pushed above");
        let before = chunk.body.len();
        chunk.push(record).expect("the limit is below 4 GiB");
        self.held_bytes += chunk.body.len() - before;

        Ok(())
    }

    /// Drops the held records; the caller must send them again.
    fn give_up(&mut self, refused: impl Into<PublishError>) -> PublishError {
        self.held.clear();
        self.held_bytes = 0;
        refused.into()
    }

    fn topic(&mut self, name: &str) -> Result<Arc<Topic>, LogError> {
        if let Some(topic) = self.topics.get(name) {
            return Ok(Arc::clone(topic));
        }
        let topic = self.shared.store.topic(name)?;
        self.topics.insert(name.to_owned(), Arc::clone(&topic));
        Ok(topic)
    }

    /// Writes the held records, and the progress if there is one.
    fn publish(&mut self, progress: Option<&[u8]>) -> Result<(), PublishError> {
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        {
            let mut writer = self.shared.store.writer();
            if self
                .epoch
                .is_some_and(|epoch| writer.epochs.get(&self.id) != Some(&epoch))
            {
                return Err(PublishError::Fenced {
                    id: self.id.clone(),
                });
            }

            let _committing = self.shared.commits.begin((self.shared.now_ms)());
            let transaction = writer.connection.transaction().map_err(not_published)?;
            let log_time_ms = (self.shared.now_ms)();
            let ends = append(&transaction, &held, log_time_ms).map_err(not_published)?;

            if let Some(progress) = progress {
                remember(&transaction, &self.id, progress).map_err(not_published)?;
            }
            transaction
                .commit()
                .map_err(|failed| PublishError::MayHaveHappened(Box::new(failed)))?;

            for (((_, partition), held), end) in held.iter().zip(ends) {
                held.topic.partitions[*partition as usize].set_end(end);
            }
        }

        self.shared
            .wakes
            .raise(|topic| held.keys().any(|(grew, _)| **grew == *topic));

        Ok(())
    }
}

impl Publisher for EmbeddedPublisher {
    fn progress(&self) -> Option<&[u8]> {
        self.progress.as_deref()
    }

    fn send(&mut self, record: NewRecord<'_>) -> Result<(), PublishError> {
        if let Err(refused) = self.hold(&record) {
            return Err(self.give_up(refused));
        }
        if self.epoch.is_none() && self.held_bytes >= HELD_LIMIT_BYTES {
            return self.publish(None);
        }

        Ok(())
    }

    fn commit(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        if let Err(refused) = progress::check(progress) {
            return Err(self.give_up(refused));
        }
        self.publish(Some(progress))?;
        self.progress = Some(progress.to_vec());
        Ok(())
    }
}

/// Reads a progress from the file: bytes, or the number of format 1.
fn kept(value: ValueRef<'_>) -> Result<Vec<u8>, FromSqlError> {
    match value {
        ValueRef::Integer(number) => Ok(progress::of_number(number.cast_unsigned()).to_vec()),
        value => Vec::column_result(value),
    }
}

fn not_published(failed: impl Into<Cause>) -> PublishError {
    PublishError::NotPublished(failed.into())
}

/// Appends the chunks of each partition at its end. Returns the new ends, in the order of `held`.
fn append(
    transaction: &Transaction<'_>,
    held: &BTreeMap<(Arc<str>, u32), Held>,
    log_time_ms: u64,
) -> Result<Vec<Offset>, StoreError> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO chunks (place, base_offset, log_time_ms, body) VALUES (?, ?, ?, ?)",
    )?;
    let mut set_end =
        transaction.prepare_cached("UPDATE partitions SET end_offset = ? WHERE id = ?")?;
    let mut ends = Vec::with_capacity(held.len());

    for ((_, number), Held { topic, chunks }) in held {
        let partition = &topic.partitions[*number as usize];
        let mut end = partition.end();
        for chunk in chunks {
            let base = end;
            end += u64::from(chunk.records);
            if end >= OFFSET_LIMIT {
                return Err(StoreError::Full {
                    topic: topic.name.to_string(),
                    partition: *number,
                });
            }

            insert.execute(params![
                place(partition.id, end - 1),
                base as i64,
                log_time_ms as i64,
                chunk.body
            ])?;
        }

        set_end.execute(params![end as i64, partition.id])?;
        ends.push(end);
    }

    Ok(ends)
}

fn remember(transaction: &Transaction<'_>, id: &str, progress: &[u8]) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO publishers (id, progress) VALUES (?, ?)
             ON CONFLICT (id) DO UPDATE SET progress = excluded.progress",
        )?
        .execute(params![id, progress])?;
    Ok(())
}
