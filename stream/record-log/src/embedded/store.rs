//! The SQLite file: its tables, its connections, and the part of it that is also in memory.
//!
//! One connection writes, behind a mutex; each reader has its own. In write-ahead mode they never
//! wait for each other. Every commit is synced to disk before its records become readable.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, params};

use super::StoreError;
use crate::{Cleanup, LogError, LogTimeType, Offset, RecordLimit, TopicDescription, TopicSpec};

/// The format of the file. In format 1 a progress was a number; it is read as such, and written as
/// bytes.
const FORMAT: i64 = 2;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS topics (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, compacted INTEGER NOT NULL, retention_ms INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS partitions (
        id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, number INTEGER NOT NULL,
        start_offset INTEGER NOT NULL DEFAULT 0, end_offset INTEGER NOT NULL DEFAULT 0,
        compacted_to INTEGER NOT NULL DEFAULT 0, compacted_records INTEGER NOT NULL DEFAULT 0,
        UNIQUE (topic, number));
    CREATE TABLE IF NOT EXISTS chunks (
        place INTEGER PRIMARY KEY, base_offset INTEGER NOT NULL, log_time_ms INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS publishers (id TEXT PRIMARY KEY, progress BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS positions (
        reader_group TEXT NOT NULL, topic TEXT NOT NULL, number INTEGER NOT NULL, next_offset INTEGER NOT NULL,
        PRIMARY KEY (reader_group, topic, number)) WITHOUT ROWID;
    PRAGMA user_version = 2;";

/// Number of low bits of a row id that hold an offset; the bits above hold the id of the partition.
const OFFSET_BITS: u32 = 44;
/// The first offset that does not fit.
pub(super) const OFFSET_LIMIT: Offset = 1 << OFFSET_BITS;

/// Returns the key of a chunk: its partition and the offset of its last record in one integer, so
/// that SQLite's own row ids are the only index. Chunks of a partition are adjacent, in the order
/// of their offsets.
pub(super) fn place(partition_id: i64, last_offset: Offset) -> i64 {
    (partition_id << OFFSET_BITS) | last_offset as i64
}

/// Returns the offset of a chunk's last record.
pub(super) fn last_offset(place: i64) -> Offset {
    place as u64 & (OFFSET_LIMIT - 1)
}

/// The limit of record sizes, for every topic.
pub(super) const RECORD_LIMIT: RecordLimit = RecordLimit {
    bytes: 16 << 20,
    setting: "nothing (the embedded log has a fixed limit)",
};

pub(super) struct Store {
    file: PathBuf,
    writer: Mutex<Writer>,
    topics: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
}

/// The connection that writes, and the newest epoch of each publisher id. Holders end with the
/// process, and no second process can use the folder, so the epochs are only in memory.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) epochs: HashMap<String, u64>,
}

pub(super) struct Topic {
    pub(super) name: Arc<str>,
    kept: RwLock<Kept>,
    pub(super) partitions: Vec<Partition>,
}

/// The rule by which a topic keeps old records.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Kept {
    pub(super) cleanup: Cleanup,
    pub(super) retention: Duration,
}

impl Kept {
    fn of(spec: &TopicSpec) -> Self {
        Self::read(
            spec.cleanup != Cleanup::Delete,
            match spec.cleanup {
                Cleanup::Compact => i64::MAX,
                _ => i64::try_from(spec.retention.as_millis()).unwrap_or(i64::MAX - 1),
            },
        )
    }

    /// Reads the rule from the file. A compacted topic with the greatest retention never expires.
    fn read(is_compacted: bool, retention_ms: i64) -> Self {
        Self {
            cleanup: match (is_compacted, retention_ms) {
                (false, _) => Cleanup::Delete,
                (true, i64::MAX) => Cleanup::Compact,
                (true, _) => Cleanup::CompactAndDelete,
            },
            retention: Duration::from_millis(retention_ms.unsigned_abs()),
        }
    }

    fn retention_ms(self) -> i64 {
        i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX)
    }
}

/// A partition. Its range is in memory, so a reader at the end needs no query.
pub(super) struct Partition {
    pub(super) id: i64,
    pub(super) number: u32,
    start: AtomicU64,
    end: AtomicU64,
}

impl Store {
    pub(super) fn open(file: PathBuf) -> Result<Self, StoreError> {
        let connection = Connection::open(&file)?;
        prepare(&connection)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;

        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version > FORMAT {
            return Err(StoreError::Newer { version });
        }

        connection.execute_batch(SCHEMA)?;
        let topics = RwLock::new(load_topics(&connection)?);
        Ok(Self {
            file,
            writer: Mutex::new(Writer {
                connection,
                epochs: HashMap::new(),
            }),
            topics,
        })
    }

    pub(super) fn read_connection(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.file, flags)?;
        prepare(&connection)?;
        Ok(connection)
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        // If a writer panicked, its transaction was rolled back when it was dropped.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn topic(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics
            .get(name)
            .cloned()
            .ok_or_else(|| LogError::UnknownTopic(name.to_owned()))
    }

    pub(super) fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    pub(super) fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), StoreError> {
        for spec in specs {
            self.keep(spec)?;
        }
        if specs.iter().all(|spec| self.topic(&spec.name).is_ok()) {
            return Ok(());
        }

        let mut writer = self.writer();
        let transaction = writer.connection.transaction()?;
        for spec in specs.iter().filter(|spec| self.topic(&spec.name).is_err()) {
            create_topic(&transaction, spec)?;
        }
        transaction.commit()?;

        // Topics that are already in memory are not replaced, because publishers and readers hold
        // them.
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        for (name, topic) in load_topics(&writer.connection)? {
            topics.entry(name).or_insert(topic);
        }

        Ok(())
    }
}

impl Store {
    /// Gives an existing topic the retention of this specification. No other program can change it
    /// in this file.
    fn keep(&self, spec: &TopicSpec) -> Result<(), StoreError> {
        let kept = Kept::of(spec);
        let Ok(topic) = self.topic(&spec.name) else {
            return Ok(());
        };

        if topic.kept() == kept {
            return Ok(());
        }

        self.writer().connection.execute(
            "UPDATE topics SET compacted = ?, retention_ms = ? WHERE name = ?",
            params![
                kept.cleanup != Cleanup::Delete,
                kept.retention_ms(),
                spec.name
            ],
        )?;

        *topic.kept.write().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(())
    }
}

impl Topic {
    pub(super) fn describe(&self) -> TopicDescription {
        TopicDescription {
            log_time_type: LogTimeType::Append,
            record_limit: RECORD_LIMIT,
            cleanup: self.kept().cleanup,
            retention: (self.kept().cleanup != Cleanup::Compact).then_some(self.kept().retention),
        }
    }

    pub(super) fn kept(&self) -> Kept {
        *self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn partition(&self, number: u32) -> Result<&Partition, LogError> {
        let unknown = || LogError::UnknownPartition {
            topic: self.name.to_string(),
            partition: number,
        };
        self.partitions.get(number as usize).ok_or_else(unknown)
    }

    pub(super) fn partition_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).expect("the number of partitions was a u32")
    }
}

impl Partition {
    pub(super) fn start(&self) -> Offset {
        self.start.load(Ordering::Acquire)
    }

    pub(super) fn end(&self) -> Offset {
        self.end.load(Ordering::Acquire)
    }

    /// Called before the records below are deleted, so that a reader that misses them also sees the
    /// reason.
    pub(super) fn set_start(&self, offset: Offset) {
        self.start.store(offset, Ordering::Release);
    }

    /// Called after the records below were committed.
    pub(super) fn set_end(&self, offset: Offset) {
        self.end.store(offset, Ordering::Release);
    }
}

fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "cache_size", -1_024)?;
    Ok(())
}

fn create_topic(transaction: &Transaction<'_>, spec: &TopicSpec) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT INTO topics (name, compacted, retention_ms) VALUES (?, ?, ?)",
        params![
            spec.name,
            spec.cleanup != Cleanup::Delete,
            Kept::of(spec).retention_ms()
        ],
    )?;

    let topic_id = transaction.last_insert_rowid();
    for number in 0..spec.partitions {
        transaction.execute(
            "INSERT INTO partitions (topic, number) VALUES (?, ?)",
            params![topic_id, number],
        )?;
    }

    Ok(())
}

fn load_topics(connection: &Connection) -> Result<HashMap<Arc<str>, Arc<Topic>>, StoreError> {
    let mut statement =
        connection.prepare("SELECT id, name, compacted, retention_ms FROM topics")?;
    let topics = statement.query_map([], |row| {
        let name: Arc<str> = row.get::<_, String>(1)?.into();
        let kept = RwLock::new(Kept::read(row.get(2)?, row.get(3)?));
        let partitions = load_partitions(connection, row.get(0)?)?;

        Ok((
            Arc::clone(&name),
            Arc::new(Topic {
                name,
                kept,
                partitions,
            }),
        ))
    })?;

    Ok(topics.collect::<Result<_, _>>()?)
}

fn load_partitions(connection: &Connection, topic_id: i64) -> rusqlite::Result<Vec<Partition>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, number, start_offset, end_offset FROM partitions WHERE topic = ? ORDER BY number",
    )?;

    let partitions = statement.query_map([topic_id], |row| {
        let start = row.get::<_, i64>(2)?.unsigned_abs();
        let end = row.get::<_, i64>(3)?.unsigned_abs();
        Ok(Partition {
            id: row.get(0)?,
            number: row.get(1)?,
            start: AtomicU64::new(start),
            end: AtomicU64::new(end),
        })
    })?;

    partitions.collect()
}

/// Returns the file of the store within its folder.
pub(super) fn file_in(folder: &Path) -> PathBuf {
    folder.join("records.sqlite3")
}
