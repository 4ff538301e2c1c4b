//! Deletes and compacts the records that the topics no longer keep.
//!
//! Retention deletes a partition's oldest chunks. Compaction works as Kafka's does: it collects the
//! newest offset of each key among the records since the last pass, then reads all records before
//! them and drops those that they replace. It runs when the number of new records equals the number
//! that the last pass left, so its cost is a constant per record. Chunks keep their row ids, and
//! the writer is blocked for only a few of them at a time.

use std::collections::HashMap;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::chunk::{Chunk, Entries};
use super::store::{OFFSET_LIMIT, Partition, Store, last_offset, place};
use super::{Shared, StoreError};
use crate::{Cleanup, LogError, Offset};

const INTERVAL: Duration = Duration::from_secs(60);
/// With fewer new records than this, no compaction runs.
const NEW_RECORDS_MIN: u64 = 10_000;
/// Limits the memory of one pass: records after this many keys are left to the next pass.
const KEYS_MAX: usize = 200_000;
/// The number of chunks that are changed in one transaction.
const CHUNKS_AT_ONCE: usize = 64;

/// The thread that cleans. Dropping it waits for the end of the current pass.
pub(super) struct Cleaner {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Cleaner {
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self, LogError> {
        let (stop, stopped) = channel();
        let shared: Weak<Shared> = Arc::downgrade(shared);
        let work = move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                if let Err(error) = run(&shared) {
                    tracing::warn!(%error, "record log not cleaned, will be tried again");
                }
            }
        };

        let thread = std::thread::Builder::new()
            .name("log-cleaner".into())
            .spawn(work);
        let thread = thread.map_err(|refused| LogError::Unavailable(Box::new(refused)))?;

        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("record log's cleaner panicked");
        }
    }
}

/// Runs one pass over all topics.
pub(super) fn run(shared: &Shared) -> Result<(), StoreError> {
    let connection = shared.store.read_connection()?;
    let now_ms = (shared.now_ms)();
    for topic in shared.store.topics() {
        let oldest_kept_ms = now_ms
            .saturating_sub(u64::try_from(topic.kept().retention.as_millis()).unwrap_or(u64::MAX));
        for partition in &topic.partitions {
            expire(&shared.store, partition, oldest_kept_ms)?;
            if topic.kept().cleanup != Cleanup::Delete {
                compact(&shared.store, &connection, partition)?;
            }
        }
    }

    Ok(())
}

/// Deletes the oldest chunks, a few at a time, as long as they are older than the retention.
fn expire(store: &Store, partition: &Partition, oldest_kept_ms: u64) -> Result<(), StoreError> {
    loop {
        let mut writer = store.writer();
        let transaction = writer.connection.transaction()?;
        let oldest = oldest_chunks(&transaction, partition)?;
        let expired = oldest
            .iter()
            .take_while(|(_, log_time_ms)| *log_time_ms < oldest_kept_ms);
        let Some(newest_expired) = expired.last().map(|(place, _)| *place) else {
            return Ok(());
        };

        let start = last_offset(newest_expired) + 1;
        partition.set_start(start);
        transaction.execute(
            "DELETE FROM chunks WHERE place BETWEEN ? AND ?",
            params![place(partition.id, 0), newest_expired],
        )?;

        transaction.execute(
            "UPDATE partitions SET start_offset = ? WHERE id = ?",
            params![start.cast_signed(), partition.id],
        )?;
        transaction.commit()?;
    }
}

/// Returns the row ids and times of the partition's first chunks.
fn oldest_chunks(
    connection: &Connection,
    partition: &Partition,
) -> Result<Vec<(i64, u64)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT place, log_time_ms FROM chunks WHERE place BETWEEN ? AND ? ORDER BY place LIMIT ?",
    )?;

    let bounds = params![
        place(partition.id, 0),
        place(partition.id, OFFSET_LIMIT - 1),
        CHUNKS_AT_ONCE
    ];

    let chunks = statement.query_map(bounds, |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
    })?;
    Ok(chunks.collect::<Result<_, _>>()?)
}

/// Drops the records that newer ones of the same key replace.
fn compact(
    store: &Store,
    connection: &Connection,
    partition: &Partition,
) -> Result<(), StoreError> {
    let (compacted_to, kept) = last_pass(connection, partition)?;
    let new_records = partition.end() - compacted_to.max(partition.start());
    if new_records < kept.max(NEW_RECORDS_MIN) {
        return Ok(());
    }

    let newest = Newest::of(connection, partition, compacted_to)?;
    let mut kept = 0;
    let mut from = partition.start();

    while from < newest.upto {
        let (rewritten, next) = rewrite(connection, partition, from, &newest)?;
        kept += rewritten
            .iter()
            .map(|change| u64::from(change.records_kept))
            .sum::<u64>();

        store_rewritten(store, &rewritten)?;
        from = next;
    }

    let writer = store.writer();
    writer.connection.execute(
        "UPDATE partitions SET compacted_to = ?, compacted_records = ? WHERE id = ?",
        params![newest.upto.cast_signed(), kept.cast_signed(), partition.id],
    )?;

    Ok(())
}

/// Returns the end of the last pass, and the number of records that it left.
fn last_pass(connection: &Connection, partition: &Partition) -> Result<(Offset, u64), StoreError> {
    let read = |row: &Row<'_>| {
        Ok((
            row.get::<_, i64>(0)?.cast_unsigned(),
            row.get::<_, i64>(1)?.cast_unsigned(),
        ))
    };

    let found = connection
        .prepare_cached("SELECT compacted_to, compacted_records FROM partitions WHERE id = ?")?
        .query_row([partition.id], read)
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// The newest offset of each key since the last pass, up to the offset at which the limit of keys
/// was reached.
struct Newest {
    by_key: HashMap<Box<[u8]>, Offset>,
    upto: Offset,
}

impl Newest {
    fn of(
        connection: &Connection,
        partition: &Partition,
        from: Offset,
    ) -> Result<Self, StoreError> {
        let mut newest = Self {
            by_key: HashMap::new(),
            upto: from,
        };

        let mut statement = connection
            .prepare_cached("SELECT place, base_offset, body FROM chunks WHERE place BETWEEN ? AND ? ORDER BY place")?;
        let bounds = params![
            place(partition.id, from),
            place(partition.id, partition.end().saturating_sub(1))
        ];
        let mut rows = statement.query(bounds)?;

        while newest.by_key.len() < KEYS_MAX {
            let Some(row) = rows.next()? else { break };
            let base = row.get::<_, i64>(1)?.cast_unsigned();
            newest.add(
                base,
                row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?,
            )?;
            newest.upto = last_offset(row.get(0)?) + 1;
        }

        Ok(newest)
    }

    fn add(&mut self, base: Offset, body: &[u8]) -> Result<(), StoreError> {
        for entry in Entries::of(body) {
            let entry = entry?;
            let Some(key) = entry.key else { continue };
            self.by_key
                .insert(key.into(), base + u64::from(entry.delta));
        }
        Ok(())
    }

    fn replaces(&self, key: Option<&[u8]>, offset: Offset) -> bool {
        key.and_then(|key| self.by_key.get(key))
            .is_some_and(|newest| *newest > offset)
    }
}

/// A chunk after compaction.
struct Rewritten {
    place: i64,
    records_kept: u32,
    /// None if nothing was dropped.
    body: Option<Vec<u8>>,
}

/// Compacts the next few chunks in memory. Also returns the offset after them.
fn rewrite(
    connection: &Connection,
    partition: &Partition,
    from: Offset,
    newest: &Newest,
) -> Result<(Vec<Rewritten>, Offset), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT place, base_offset, body FROM chunks WHERE place BETWEEN ? AND ? ORDER BY place LIMIT ?",
    )?;

    let bounds = params![
        place(partition.id, from),
        place(partition.id, newest.upto - 1),
        CHUNKS_AT_ONCE
    ];
    let mut rows = statement.query(bounds)?;
    let mut rewritten = Vec::new();
    let mut next = newest.upto;

    while let Some(row) = rows.next()? {
        let base = row.get::<_, i64>(1)?.cast_unsigned();
        let place = row.get(0)?;
        rewritten.push(compacted(
            place,
            base,
            row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?,
            newest,
        )?);
        next = last_offset(place) + 1;
    }

    Ok((rewritten, next))
}

fn compacted(
    place: i64,
    base: Offset,
    body: &[u8],
    newest: &Newest,
) -> Result<Rewritten, StoreError> {
    let mut kept = Chunk::default();
    for entry in Entries::of(body) {
        let entry = entry?;
        if !newest.replaces(entry.key, base + u64::from(entry.delta)) {
            kept.keep(&entry);
        }
    }

    let is_changed = kept.body.len() != body.len();
    Ok(Rewritten {
        place,
        records_kept: kept.records,
        body: is_changed.then_some(kept.body),
    })
}

/// Stores the chunks that changed, and deletes those that became empty.
fn store_rewritten(store: &Store, rewritten: &[Rewritten]) -> Result<(), StoreError> {
    let mut writer = store.writer();
    let transaction = writer.connection.transaction()?;
    for Rewritten { place, body, .. } in rewritten {
        match body {
            None => {}
            Some(body) if body.is_empty() => {
                transaction
                    .prepare_cached("DELETE FROM chunks WHERE place = ?")?
                    .execute([place])?;
            }
            Some(body) => {
                transaction
                    .prepare_cached("UPDATE chunks SET body = ? WHERE place = ?")?
                    .execute(params![body, place])?;
            }
        }
    }

    Ok(transaction.commit()?)
}
