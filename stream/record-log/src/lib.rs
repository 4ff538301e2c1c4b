//! The record log: topics of partitions of records, read by offset and published to atomically.
//!
//! This trait is the one seam between Tidemark and whatever keeps its records: Apache Kafka in production and in the
//! full tests ([`kafka`], [`native`]), a persistent log inside the process on a laptop ([`embedded`]), and a log in memory that
//! injects faults for the crash tests ([`simulated`]). Every implementation passes the same conformance suite
//! (`tests/it`).
//!
//! What always holds:
//! - a reader sees committed records only, of each partition in the order of their offsets;
//! - what one [`Publisher`] sends between two commits becomes readable all together with its progress, or not at all;
//! - opening a publisher fences every earlier holder of its id *before* its progress is read.
//!
//! All calls block: async callers run them on threads of their own. Consumer groups are not offered. Every reader is
//! assigned its partitions, and a group is no more than a name under which positions are remembered.

mod open;

pub mod embedded;
pub mod kafka;
pub mod native;
pub mod progress;
pub mod simulated;

mod clock;
mod murmur2;
mod refusal;
mod signal;
mod wakes;

use std::sync::Arc;
use std::time::Duration;

pub use murmur2::partition_of;
pub use open::{LogSettings, open};
pub use progress::PROGRESS_MAX_BYTES;
pub use refusal::{RecordLimit, Refusal};
pub use signal::Signal;

/// The position of a record in its partition, or the position to be read next.
pub type Offset = u64;

/// A function that a log calls, from any thread, when there may be something new to read.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Topics of records. One value serves a whole process; clones of its `Arc` are cheap.
pub trait RecordLog: Send + Sync {
    /// Creates the topics that do not exist. Topics that exist are left as they are.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when the log cannot be reached within its time limit.
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError>;

    /// The settings of a topic on which its readers and publishers depend.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::Unavailable`]; [`LogError::Refused`] if the settings may not be read.
    fn describe(&self, topic: &str) -> Result<TopicDescription, LogError>;

    /// How many partitions the topic has.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::Unavailable`].
    fn partitions(&self, topic: &str) -> Result<u32, LogError>;

    /// The range of offsets that each partition holds, by partition: the oldest kept, and the end of what is committed.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::Unavailable`].
    fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, LogError>;

    /// A reader of the given partitions, each from the given offset.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::Unavailable`].
    fn reader(&self, topic: &str, from: &[(u32, Offset)]) -> Result<Box<dyn Reader>, LogError>;

    /// Opens the publisher `id`. With [`Delivery::Transactional`], any earlier holder of the id is fenced first, and what
    /// it left uncommitted is aborted.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Settings`].
    fn publisher(&self, id: &str, delivery: Delivery) -> Result<Box<dyn Publisher>, LogError>;

    /// Opens the publishers of all these ids at once, and returns them in the order of the ids. All are fenced before the
    /// progress of any is read.
    ///
    /// # Errors
    /// As [`RecordLog::publisher`].
    fn publishers(
        &self,
        ids: &[&str],
        delivery: Delivery,
    ) -> Result<Vec<Box<dyn Publisher>>, LogError> {
        ids.iter().map(|id| self.publisher(id, delivery)).collect()
    }

    /// The positions remembered for `group` on `topic`; partitions without one are absent.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    fn committed(&self, group: &str, topic: &str) -> Result<Vec<(u32, Offset)>, LogError>;

    /// Remembers for `group` the offsets to be read next.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    fn commit(&self, group: &str, topic: &str, next: &[(u32, Offset)]) -> Result<(), LogError>;
}

/// Reads the partitions it was opened with.
pub trait Reader: Send {
    /// Hands at most `max` records of `partition` to `each`, in order of offset, and returns without waiting for more.
    ///
    /// It never blocks on the network. A reader has the ends of its partitions confirmed ([`Polled::end_as_of_ms`]) by
    /// requests that poll sends at an end, several times a second, and whose answers a later poll takes: whoever waits for a
    /// newer date polls again after a moment. While records flow, no such request is sent.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] when the log no longer holds the position; [`LogError::Unavailable`] when the
    /// log cannot be reached (the position is kept: call again).
    fn poll(
        &mut self,
        partition: u32,
        max: usize,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<Polled, LogError>;

    /// Has `wake` called now, and whenever a partition may have become readable. It must not block, nor call the log. A date
    /// that an end is given wakes nobody.
    fn on_readable(&mut self, wake: Wake);
}

/// Publishes records, all that lie between two commits together or not at all.
pub trait Publisher: Send {
    /// The progress carried by the last commit under this id, by whichever holder. It does not expire.
    fn progress(&self) -> Option<&[u8]>;

    /// Adds a record to what the next commit publishes.
    ///
    /// # Errors
    /// [`PublishError`]; after a [transient](PublishError::is_transient) error everything since the last commit is to be
    /// sent anew. A record larger than its topic's [limit](TopicDescription::record_limit) is [refused](PublishError::Refused).
    fn send(&mut self, record: NewRecord<'_>) -> Result<(), PublishError>;

    /// Publishes everything sent since the last commit together with `progress`, at most [`PROGRESS_MAX_BYTES`] that the
    /// log keeps and does not read. Readers of a log elsewhere may find it a moment after this returned.
    ///
    /// # Errors
    /// [`PublishError::MayHaveHappened`]: open the publisher anew and let its progress say which it was.
    fn commit(&mut self, progress: &[u8]) -> Result<(), PublishError>;
}

/// What a publisher promises.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// Records and progress become readable together, once, and earlier holders of the id are fenced.
    Transactional,
    /// Records become readable one by one as they are sent; after a failure some may stand there twice. Progress is
    /// remembered after them.
    AtLeastOnce,
}

/// A record as a reader hands it over. It borrows from the log's own buffers.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// The partition it was read from.
    pub partition: u32,
    /// Its position there.
    pub offset: Offset,
    /// Its time in the log, in milliseconds since the Unix epoch; 0 if it has none.
    pub log_time_ms: u64,
    /// Who set that time. Kafka keeps it with every batch (bit 3 of its attributes), so it never changes for a record,
    /// whatever becomes of the topic's settings.
    pub log_time_type: LogTimeType,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers, read only when asked for.
    pub headers: &'a dyn Headers,
}

/// Who set a record's time in the log (Kafka's `message.timestamp.type`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogTimeType {
    /// The log, by its own clock, when it appended the record.
    #[default]
    Append,
    /// The record's producer: it may be anything.
    Create,
}

/// The headers of a record in the order they were written.
pub trait Headers {
    /// Calls `each` with every name and value.
    fn for_each(&self, each: &mut dyn FnMut(&str, &[u8]));
}

/// No headers, or headers held as pairs.
impl Headers for [(String, Vec<u8>)] {
    fn for_each(&self, each: &mut dyn FnMut(&str, &[u8])) {
        self.iter().for_each(|(name, value)| each(name, value));
    }
}

impl Headers for Vec<(String, Vec<u8>)> {
    fn for_each(&self, each: &mut dyn FnMut(&str, &[u8])) {
        self.as_slice().for_each(each);
    }
}

/// A record to be published. It borrows; the publisher copies what it must keep.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition; when absent, the key's murmur2 hash decides as in Kafka's Java clients.
    pub partition: Option<u32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none publishes a tombstone.
    pub value: Option<&'a [u8]>,
    /// Header names and values.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// What a batch of one record has beside the record.
const BATCH_BYTES: usize = 61;
/// What a record has at most beside its key, value and headers.
const RECORD_BYTES: usize = 36;
/// What a header has at most beside its name and value.
const HEADER_BYTES: usize = 10;

impl NewRecord<'_> {
    /// The greatest size that the record has, uncompressed, in a batch of its own. Topics limit this size.
    pub fn size_bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| name.len() + value.len() + HEADER_BYTES);
        BATCH_BYTES
            + RECORD_BYTES
            + self.key.map_or(0, <[u8]>::len)
            + self.value.map_or(0, <[u8]>::len)
            + headers.sum::<usize>()
    }
}

/// What one call of [`Reader::poll`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Polled {
    /// How many records were handed over.
    pub records: usize,
    /// The offset to be read next. Offsets may skip: transaction markers and compacted records take some.
    pub next_offset: Offset,
    /// The moment as of which the log itself confirmed that nothing lies at or after `next_offset`; none while that is not
    /// known, or records that the reader has are still to be handed over. In milliseconds since the Unix epoch.
    ///
    /// An implementation follows these rules:
    /// - The date is read from this process's clock *before* the request is sent whose answer confirms the end. Whatever is
    ///   appended after that moment is not covered by the date.
    /// - An answer that names the end of the partition's log (committed or not: Kafka's high watermark) confirms it if that
    ///   end is at or below `next_offset`. Markers of transactions, aborted records and compacted ones lie below an end like
    ///   any other record; a reader's position passes over them.
    /// - An open transaction confirms nothing: what lies behind it is committed, perhaps, and not readable.
    /// - An answer that never comes, fails, or names a later end changes nothing. The last date stands until a newer one.
    /// - At an end the date is renewed several times a second, for as long as it is polled. Where a newer one is not to be had, the date grows old: that
    ///   is how a caller notices a broker that is away, frozen or no leader.
    pub end_as_of_ms: Option<u64>,
}

impl Polled {
    /// The log confirmed, as of some moment, that nothing lies at or after `next_offset`.
    pub fn is_at_end(&self) -> bool {
        self.end_as_of_ms.is_some()
    }
}

/// What a partition holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OffsetRange {
    /// The oldest offset that is still kept.
    pub start: Offset,
    /// The offset after the last committed record.
    pub end: Offset,
}

/// A topic as it is to be created.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: u32,
    /// What happens to old records.
    pub cleanup: Cleanup,
    /// How long records are kept at least.
    pub retention: Duration,
}

/// The settings of a topic that exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopicDescription {
    /// Who sets the log time of records that are appended now. Those that are there already may have another.
    pub log_time_type: LogTimeType,
    /// The size up to which it takes records.
    pub record_limit: RecordLimit,
    /// What happens to old records.
    pub cleanup: Cleanup,
    /// How long records are kept; none if they do not expire.
    pub retention: Option<Duration>,
}

/// What happens to old records of a topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cleanup {
    /// They are deleted after the retention.
    Delete,
    /// Of each key the newest is kept until the retention has passed.
    CompactAndDelete,
    /// Of each key the newest is kept for ever.
    Compact,
}

impl Cleanup {
    /// Kafka's `cleanup.policy` for it.
    pub fn policy(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::CompactAndDelete => "compact,delete",
            Self::Compact => "compact",
        }
    }
}

/// Why the log did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log cannot be reached now; the same call may succeed later.
    #[error("the record log is unavailable: {0}")]
    Unavailable(#[source] Source),
    /// There is no such topic.
    #[error("there is no topic {0:?}")]
    UnknownTopic(String),
    /// The topic exists, but has no such partition; or the reader was not opened with it.
    #[error("there is no partition {partition} of {topic:?} to be read or written here")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// The position to be read is no longer, or not yet, in the log.
    #[error("partition {partition} of {topic:?} holds no offset {offset}")]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset that was asked for.
        offset: Offset,
    },
    /// The settings cannot work, whenever they are tried.
    #[error("the record log refuses its settings: {0}")]
    Settings(#[source] Source),
    /// The log refuses this call for good: a right or a setting must change first.
    #[error("{0}")]
    Refused(#[source] Refusal),
}

impl LogError {
    /// Trying again can help. Everything else ends with its sentence.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Why a publisher did not publish.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A newer holder of the id lives. This one must not go on.
    #[error("publisher {id:?} was fenced by a newer holder of its id")]
    Fenced {
        /// The id.
        id: String,
    },
    /// Nothing since the last commit was published, nor will be. Send it anew.
    #[error("nothing was published: {0}")]
    NotPublished(#[source] Source),
    /// The commit was on its way when the log went silent.
    #[error("it is not known whether the commit happened: {0}")]
    MayHaveHappened(#[source] Source),
    /// The log refuses a record or the publisher for good. No transaction with it is published; without transactions,
    /// records before it may be.
    #[error("{0}")]
    Refused(#[source] Refusal),
}

impl PublishError {
    /// Trying again can help: by this publisher, or, if the commit [may have happened](Self::may_have_happened), by one
    /// that is opened anew and reads the progress first.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::NotPublished(_) | Self::MayHaveHappened(_))
    }

    /// The commit may have been published.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::MayHaveHappened(_))
    }
}

impl From<Refusal> for PublishError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<LogError> for PublishError {
    /// An error that came before anything was published.
    fn from(error: LogError) -> Self {
        match error {
            LogError::Refused(refusal) => Self::Refused(refusal),
            transient if transient.is_transient() => Self::NotPublished(Box::new(transient)),
            permanent => Self::Refused(Refusal::new(permanent.to_string())),
        }
    }
}

/// The cause behind an error of a log.
pub type Source = Box<dyn std::error::Error + Send + Sync>;
