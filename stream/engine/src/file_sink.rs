//! A log whose published topics are files in an object store, exactly once by name. Its source topics are those of another
//! log.
//!
//! ```text
//! {url}/{topic}/{window start}/{order}-{publisher}.ndjson    the records of one transaction of a window
//! {url}/{topic}/{order}-{publisher}.ndjson                   records without a window: summaries, late records, …
//!                                                            (.parquet with [`FileFormat::Parquet`])
//! {url}/_transactions/{publisher}/{number}                   the newest transaction of each publisher
//! ```
//!
//! A transaction is committed by the creation of one object, which holds its records and its progress
//! (`_transactions/{publisher}/{number}`). Only then are its files created. So a file is never there before its
//! transaction is committed, and never with other content.
//!
//! 1. A holder of a publisher's id commits transaction `n + 1` after transaction `n`. The object is created only if it
//!    does not exist, so of two holders one wins.
//! 2. A new holder first creates the missing files of the newest transaction. Then it takes the next number with a
//!    transaction without records. This fences earlier holders: they find their next number taken.
//! 3. An earlier holder that was paused for so long that its next number was taken, and deleted again, finds a newer
//!    transaction beside its own. It creates no file.
//!
//! The order in a file's name grows with each transaction of a publisher, and over all publishers from attempt to attempt.
//! So of two records with the same key, the one in the file with the greater name is the newer. It may be a corrected
//! row, a tombstone, or a row of a new [line of history](crate::checkpoint::lineage), whose revision is higher, too.
//! Corrections have files of their own and do not replace the window's file. A file never changes, so readers may
//! remember which ones they have loaded, and a correction costs its rows and not those of the whole window.
//!
//! Invariants: the files of a topic are those of committed transactions, each with the records of one transaction, whole.
//! When [`commit`](record_log::Publisher::commit) has returned, all files of the transaction are there; after a crash,
//! they are once the publisher has been opened again.

mod format;
mod line;
#[cfg(feature = "parquet")]
mod parquet;
mod publisher;
mod store;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;
use record_log::{
    Cleanup, Delivery, LogError, LogTimeType, Membership, Offset, OffsetRange, Publisher, Reader,
    RecordLimit, RecordLog, Refusal, TopicDescription, TopicSpec,
};

use crate::checkpoint::store::address;
pub use format::FileFormat;
use publisher::FilePublisher;
use store::SinkStore;

/// The largest record that is written.
const RECORD_LIMIT: RecordLimit = RecordLimit {
    bytes: 16 << 20,
    setting: "nothing (files have a fixed limit)",
};

/// A log that publishes to files in an object store, and reads its source topics from another log.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use record_log::{Record, RecordLog, simulated::SimulatedLog};
/// use stream::{Count, FileFormat, FileSink, Job, Output, Run, Settings, Stop, Windows};
///
/// let job = Job::new("visits")
///     .source("visits", |record: &Record<'_>| Ok((record.log_time_ms, ())))
///     .window(Windows::tumbling(Duration::from_secs(60))?)
///     .aggregate(|()| [(0_u64, Count(1))])
///     .sink("visit-counts", |row, output: &mut Output| {
///         output.value.extend(row.aggregate.0.to_string().bytes());
///     });
///
/// let kafka = Arc::new(SimulatedLog::default());
/// # kafka.ensure_topics(&[record_log::TopicSpec {
/// #     name: "visits".to_owned(), partitions: 2, cleanup: record_log::Cleanup::Delete,
/// #     retention: Duration::from_secs(60),
/// # }])?;
/// let log = FileSink::open("memory:///results", &["visits".to_owned()], kafka)?.with_format(FileFormat::Ndjson);
/// let settings = Settings { until_end: true, ..Settings::default() };
/// Run::new(job, settings, Arc::new(log))?.run(&Stop::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileSink {
    store: Arc<SinkStore>,
    format: FileFormat,
    sources: Vec<String>,
    rest: Arc<dyn RecordLog>,
}

impl FileSink {
    /// Opens the files at `url`, `file:///folder`, `gs://bucket/prefix` or `s3://bucket/prefix`, for a job that reads
    /// `sources` from the log `rest`.
    ///
    /// # Errors
    /// [`LogError::Settings`] if the URL names no object store.
    pub fn open(url: &str, sources: &[String], rest: Arc<dyn RecordLog>) -> Result<Self, LogError> {
        let refused = |error| format!("cannot use {url:?} for results: {error}");
        let found =
            address::open(url).map_err(|error| LogError::Settings(refused(error).into()))?;
        Self::new(found.objects, found.root, sources, rest)
    }

    /// Creates files below `root` in a store that is already open.
    ///
    /// # Errors
    /// [`LogError::Settings`] if the system cannot start a thread.
    #[doc(hidden)]
    pub fn new(
        objects: Arc<dyn ObjectStore>,
        root: Path,
        sources: &[String],
        rest: Arc<dyn RecordLog>,
    ) -> Result<Self, LogError> {
        let store = SinkStore::new(objects, root);
        Ok(Self {
            store: Arc::new(store.map_err(|error| LogError::Settings(error.into()))?),
            format: FileFormat::default(),
            sources: sources.to_vec(),
            rest,
        })
    }

    /// Returns the sink with files of another format.
    #[must_use]
    pub fn with_format(self, format: FileFormat) -> Self {
        Self { format, ..self }
    }

    /// Returns the sink with another time limit for a store that does not answer.
    #[must_use]
    #[doc(hidden)]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        if let Some(store) = Arc::get_mut(&mut self.store) {
            store.limit = limit;
        }
        self
    }

    fn is_source(&self, topic: &str) -> bool {
        self.sources.iter().any(|source| source == topic)
    }

    /// Returns the log of a source topic. A topic that is written to files cannot be read.
    fn readable(&self, topic: &str) -> Result<&dyn RecordLog, LogError> {
        if self.is_source(topic) {
            return Ok(self.rest.as_ref());
        }
        let sentence = format!("topic {topic:?} is written to files, and not read");
        Err(LogError::Refused(Refusal::new(sentence)))
    }
}

impl RecordLog for FileSink {
    /// Creates none: a topic of files begins with its first file.
    fn ensure_topics(&self, _: &[TopicSpec]) -> Result<(), LogError> {
        Ok(())
    }

    fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        if self.is_source(topic) {
            return self.rest.describe(topic);
        }

        Ok(TopicDescription {
            log_time_type: LogTimeType::Create,
            record_limit: RECORD_LIMIT,
            cleanup: Cleanup::Delete,
            retention: None,
        })
    }

    /// Files are written elsewhere, so only the log of the source topics can be away.
    fn obstacle(&self) -> Option<String> {
        self.rest.obstacle()
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.readable(topic)?.partitions(topic)
    }

    fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, LogError> {
        self.readable(topic)?.offsets(topic)
    }

    fn reader(&self, topic: &str, from: &[(u32, Offset)]) -> Result<Box<dyn Reader>, LogError> {
        self.readable(topic)?.reader(topic, from)
    }

    fn publisher(&self, id: &str, _: Delivery) -> Result<Box<dyn Publisher>, LogError> {
        let publisher = FilePublisher::open(&self.store, self.format, id)?;
        Ok(Box::new(publisher))
    }

    fn committed(&self, group: &str, topic: &str) -> Result<Vec<(u32, Offset)>, LogError> {
        self.readable(topic)?.committed(group, topic)
    }

    fn commit(&self, group: &str, topic: &str, next: &[(u32, Offset)]) -> Result<(), LogError> {
        self.readable(topic)?.commit(group, topic, next)
    }

    fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Membership>, LogError> {
        self.readable(topic)?.join(group, topic)
    }
}
