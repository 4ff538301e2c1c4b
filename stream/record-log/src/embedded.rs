//! The record log inside the process, persistent in a folder. A laptop uses it.
//!
//! Records are stored in one SQLite file (`store`) as chunks (`chunk`): one row for a commit's
//! records of a partition. A publisher encodes records into chunks and writes them, with its
//! progress, in one SQLite transaction that is synced to disk. Then it moves the partitions' ends,
//! which are also in memory, and wakes the readers. A reader at the end only compares two numbers.
//! A thread deletes and compacts records that the topics no longer keep (`clean`).
//!
//! Invariants: one process owns a folder, by a file lock that ends with the process.
//! Publishers can therefore be fenced by epochs in memory, and after a kill only SQLite's own
//! recovery is needed.

mod chunk;
mod clean;
mod commit_clock;
mod publisher;
mod reader;
mod store;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::params;

use self::chunk::Damaged;
use self::clean::Cleaner;
use self::commit_clock::CommitClock;
use self::publisher::EmbeddedPublisher;
use self::reader::EmbeddedReader;
use self::store::Store;
use crate::clock::{Clock, system_now_ms};
use crate::wakes::Wakes;
use crate::{
    Delivery, LogError, Offset, OffsetRange, Publisher, Reader, RecordLog, TopicDescription,
    TopicSpec,
};

/// A persistent log inside this process.
pub struct EmbeddedLog {
    /// Dropped first: the folder stays locked until the cleaner has stopped.
    _cleaner: Cleaner,
    shared: Arc<Shared>,
}

/// The state that the log, its readers and its publishers share.
struct Shared {
    store: Store,
    wakes: Arc<Wakes>,
    now_ms: Clock,
    commits: CommitClock,
    /// Locked for as long as any of them exists. Dropped last.
    _lock: FolderLock,
}

impl Shared {
    /// Returns the moment as of which the partitions' ends are complete, if they are read after
    /// this call.
    fn end_date_ms(&self) -> u64 {
        self.commits.date_ms((self.now_ms)())
    }
}

/// The reason why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error("cannot use the folder {}: {source}", folder.display())]
    Folder {
        folder: PathBuf,
        source: std::io::Error,
    },
    #[error("the folder {} is in use by another process", folder.display())]
    Locked { folder: PathBuf },
    #[error(
        "the record log's file was written by a newer version of this program (format {version})"
    )]
    Newer { version: i64 },
    #[error("partition {partition} of {topic:?} is full")]
    Full { topic: String, partition: u32 },
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl From<StoreError> for LogError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Sqlite(_) | StoreError::Full { .. } => Self::Unavailable(Box::new(error)),
            _ => Self::Settings(Box::new(error)),
        }
    }
}

impl EmbeddedLog {
    /// Opens the log in `folder`, which is created if it is missing.
    ///
    /// # Errors
    /// [`LogError::Settings`] if the folder cannot be used, or another process uses it.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        Self::open_at(folder, system_now_ms)
    }

    /// Opens the log with this clock, in milliseconds since the Unix epoch. The clock stamps
    /// records and determines which records are old.
    ///
    /// # Errors
    /// As [`EmbeddedLog::open`].
    pub fn open_at(
        folder: &Path,
        now_ms: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Self, LogError> {
        let lock = lock(folder)?;
        // An error of SQLite about the file will not go away by itself.
        let store = Store::open(store::file_in(folder))
            .map_err(|refused| LogError::Settings(Box::new(refused)))?;

        let shared = Arc::new(Shared {
            store,
            wakes: Arc::default(),
            now_ms: Box::new(now_ms),
            commits: CommitClock::default(),
            _lock: lock,
        });
        let _cleaner = Cleaner::start(&shared)?;

        Ok(Self { _cleaner, shared })
    }

    /// Deletes and compacts now the records that the topics no longer keep. Otherwise this happens
    /// once a minute.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if the store fails; no record that the topics keep is lost.
    pub fn clean(&self) -> Result<(), LogError> {
        Ok(clean::run(&self.shared)?)
    }
}

/// The lock of a folder, which ends when it is dropped.
///
/// Closing the file would not always end it: a child process has a copy of the file from its fork
/// until its exec, and the lock lasts as long as any copy.
struct FolderLock(File);

impl Drop for FolderLock {
    fn drop(&mut self) {
        if let Err(failed) = self.0.unlock() {
            tracing::warn!(error = %failed, "cannot unlock the folder of the record log");
        }
    }
}

fn lock(folder: &Path) -> Result<FolderLock, StoreError> {
    let cannot = |source| StoreError::Folder {
        folder: folder.to_owned(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(cannot)?;

    let file = File::options()
        .create(true)
        .append(true)
        .open(folder.join("lock"))
        .map_err(cannot)?;

    match file.try_lock() {
        Ok(()) => Ok(FolderLock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(failed)) => Err(cannot(failed)),
    }
}

impl RecordLog for EmbeddedLog {
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        Ok(self.shared.store.ensure_topics(topics)?)
    }

    fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        Ok(self.shared.store.topic(topic)?.describe())
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        Ok(self.shared.store.topic(topic)?.partition_count())
    }

    fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, LogError> {
        let topic = self.shared.store.topic(topic)?;
        Ok(topic
            .partitions
            .iter()
            .map(|kept| OffsetRange {
                start: kept.start(),
                end: kept.end(),
            })
            .collect())
    }

    fn reader(&self, topic: &str, from: &[(u32, Offset)]) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(EmbeddedReader::open(
            Arc::clone(&self.shared),
            topic,
            from,
        )?))
    }

    fn publisher(&self, id: &str, delivery: Delivery) -> Result<Box<dyn Publisher>, LogError> {
        Ok(Box::new(EmbeddedPublisher::open(
            Arc::clone(&self.shared),
            id,
            delivery,
        )?))
    }

    fn committed(&self, group: &str, topic: &str) -> Result<Vec<(u32, Offset)>, LogError> {
        Ok(committed(&self.shared.store, group, topic)?)
    }

    fn commit(&self, group: &str, topic: &str, next: &[(u32, Offset)]) -> Result<(), LogError> {
        Ok(remember(&self.shared.store, group, topic, next)?)
    }
}

fn committed(store: &Store, group: &str, topic: &str) -> Result<Vec<(u32, Offset)>, StoreError> {
    let writer = store.writer();
    let mut statement = writer.connection.prepare_cached(
        "SELECT number, next_offset FROM positions WHERE reader_group = ? AND topic = ? ORDER BY number",
    )?;
    let positions = statement.query_map([group, topic], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
    })?;
    Ok(positions.collect::<Result<_, _>>()?)
}

fn remember(
    store: &Store,
    group: &str,
    topic: &str,
    next: &[(u32, Offset)],
) -> Result<(), StoreError> {
    let mut writer = store.writer();
    let transaction = writer.connection.transaction()?;
    for (partition, offset) in next {
        transaction
            .prepare_cached(
                "INSERT INTO positions (reader_group, topic, number, next_offset) VALUES (?, ?, ?, ?)
                 ON CONFLICT (reader_group, topic, number) DO UPDATE SET next_offset = excluded.next_offset",
            )?
            .execute(params![group, topic, partition, offset.cast_signed()])?;
    }

    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    //! The lock of the folder.

    use super::*;

    #[test]
    fn a_lock_ends_although_a_child_process_has_a_copy_of_its_file() {
        let folder = tempfile::TempDir::new().unwrap();
        let held = lock(folder.path()).unwrap();
        let _copy_of_a_child = held.0.try_clone().unwrap();
        assert!(
            matches!(lock(folder.path()), Err(StoreError::Locked { .. })),
            "the lock is held"
        );

        drop(held);
        assert!(lock(folder.path()).is_ok(), "the lock has ended");
    }
}
