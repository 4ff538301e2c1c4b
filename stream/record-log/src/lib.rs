//! The record log: topics of partitions of records, read by offset and published to atomically.
//!
//! The trait [`RecordLog`] separates Tidemark from the system that keeps its records: Apache Kafka
//! in production and in the full tests ([`kafka`], [`native`]), a persistent log inside the process
//! on a laptop ([`embedded`]), and a log in memory that injects faults for the crash tests
//! ([`simulated`]). Each of these passes the same conformance suite (`tests/it`).
//!
//! A topic may also be read from files, or be generated, beside the topics of any of these logs ([`files`],
//! [`generated`]).
//!
//! Invariants:
//! - a reader returns committed records only, those of each partition in the order of their
//!   offsets;
//! - the records that one [`Publisher`] sends between two commits become readable together with
//!   its progress, or not at all;
//! - opening a publisher fences every earlier holder of its id *before* its progress is read.
//!
//! All calls block: async callers run them on threads of their own. Every reader is assigned its
//! partitions. A group is a name under which positions are stored. Processes that share the work on a
//! topic [join](RecordLog::join) the group to learn which partitions are theirs ([`Membership`]).

// Tests inside the crate share modules with the integration tests, which use the crate's name.
#[cfg(test)]
extern crate self as record_log;

mod open;

pub mod beside;
pub mod embedded;
pub mod files;
pub mod generated;
pub mod kafka;
pub mod native;
pub mod progress;
pub mod simulated;

mod clock;
mod created;
mod error;
mod membership;
mod murmur2;
mod refusal;
mod runtime;
mod set_aside;
mod signal;
mod wakes;

use std::sync::Arc;
use std::time::Duration;

pub use error::{Cause, LogError, PublishError};
pub use membership::{Membership, Owned};
pub use murmur2::partition_of;
pub use open::{LogSettings, open};
pub use progress::PROGRESS_MAX_BYTES;
pub use refusal::{RecordLimit, Refusal};
pub use set_aside::SetAside;
pub use signal::Signal;

/// The position of a record in its partition, or the position to be read next.
pub type Offset = u64;

/// A function that a log calls, from any thread, when new records may be readable.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Topics of records. One value serves a whole process; clones of its `Arc` are cheap.
pub trait RecordLog: Send + Sync {
    /// Creates the topics that do not exist, and leaves existing ones unchanged.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if the log cannot be reached within its time limit;
    /// [`LogError::Settings`] if a topic cannot have this name; [`LogError::Refused`] if a right is
    /// missing.
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError>;

    /// Returns the settings of a topic on which its readers and publishers depend.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::Unavailable`]; [`LogError::Refused`] if the right to
    /// read the settings is missing.
    fn describe(&self, topic: &str) -> Result<TopicDescription, LogError>;

    /// Returns the number of the topic's partitions.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::Unavailable`]; [`LogError::Refused`] if the right to
    /// describe the topic is missing.
    fn partitions(&self, topic: &str) -> Result<u32, LogError>;

    /// Returns the range of offsets that each partition holds, by partition: from the oldest kept
    /// record to the end of the committed ones.
    ///
    /// # Errors
    /// As [`RecordLog::partitions`].
    fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, LogError>;

    /// Returns a reader of the given partitions, each from the given offset.
    ///
    /// # Errors
    /// As [`RecordLog::partitions`]; [`LogError::UnknownPartition`] if the topic has fewer
    /// partitions; [`LogError::Settings`] if the client cannot be created.
    fn reader(&self, topic: &str, from: &[(u32, Offset)]) -> Result<Box<dyn Reader>, LogError>;

    /// Returns why a call that is in progress waits: a sentence for people. None while no call takes long, and of a log
    /// that cannot be away.
    fn obstacle(&self) -> Option<String> {
        None
    }

    /// Returns the topic that contains the progress of publishers, if the log keeps it on a topic.
    fn progress_topic(&self) -> Option<&str> {
        None
    }

    /// Opens the publisher `id`. With [`Delivery::Transactional`], earlier holders of the id are
    /// fenced first, and their uncommitted records are aborted.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Settings`]; [`LogError::Refused`] if a right is
    /// missing, or the topic of publishers' progress has settings that lose records.
    fn publisher(&self, id: &str, delivery: Delivery) -> Result<Box<dyn Publisher>, LogError>;

    /// Opens the publishers of all these ids at once, and returns them in the order of the ids. All
    /// are fenced before the progress of any of them is read.
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

    /// Returns the positions stored for `group` on `topic`; partitions without one are absent.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]; [`LogError::Refused`] if a right is missing.
    fn committed(&self, group: &str, topic: &str) -> Result<Vec<(u32, Offset)>, LogError>;

    /// Stores the offsets to be read next under the name `group`.
    ///
    /// # Errors
    /// As [`RecordLog::committed`].
    fn commit(&self, group: &str, topic: &str, next: &[(u32, Offset)]) -> Result<(), LogError>;

    /// Joins the members of `group` that share the partitions of `topic`. Joining does not wait until
    /// partitions are assigned.
    ///
    /// The default implementation has no groups: each member owns every partition. That is right
    /// for the [`embedded`] log, which only one process has open. Members of the [`native`] client's
    /// groups are clients of librdkafka.
    ///
    /// # Errors
    /// [`LogError::Settings`] if the client cannot be created; [`LogError::Unavailable`].
    fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Membership>, LogError> {
        let _ = (group, topic);
        Ok(Box::new(membership::Alone))
    }
}

/// Reads the partitions that it was opened with.
pub trait Reader: Send {
    /// Passes at most `max` records of `partition` to `each`, in order of offset, and returns
    /// without waiting for more.
    ///
    /// It never blocks on the network. At an end, poll sends requests that confirm the ends of the
    /// reader's partitions ([`Polled::end_as_of_ms`]), several times a second, and a later poll
    /// takes their answers. To get a newer date, poll again after a moment. While records flow, no
    /// such request is sent.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] if the log no longer holds the position;
    /// [`LogError::Unavailable`] if the log cannot be reached (the position is kept: call again);
    /// [`LogError::UnknownTopic`] if the topic was deleted; [`LogError::UnknownPartition`] if the
    /// reader was opened without the partition; [`LogError::Refused`] if a right is missing;
    /// [`LogError::Unreadable`] if the records at the position cannot be read.
    fn poll(
        &mut self,
        partition: u32,
        max: usize,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<Polled, LogError>;

    /// Calls `wake` now, and whenever a partition may have become readable. `wake` must not block
    /// or call the log. `wake` is not called for a new date of an end.
    fn on_readable(&mut self, wake: Wake);

    /// Moves the position of `partition` behind records that cannot be read, after a poll returned
    /// [`LogError::Unreadable`]. The position moves to the first batch behind them whose checksum is right, so no
    /// record that can be read is skipped.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] while that batch is not known: poll, and call this again;
    /// [`LogError::Unreadable`] if it cannot be found;
    /// [`LogError::Settings`] if the last poll had no such error, or this log cannot set records aside.
    fn set_aside(&mut self, partition: u32) -> Result<SetAside, LogError> {
        Err(set_aside::not_supported(partition))
    }

    /// Returns the reason why polls of `partition` return neither records nor a newer end although
    /// the log can be reached; none if the log gave no reason.
    fn obstacle(&self, _partition: u32) -> Option<Arc<str>> {
        None
    }
}

/// Publishes records: all records between two commits together, or none of them.
pub trait Publisher: Send {
    /// Returns the progress of the last commit under this id, by any holder. Progress does not
    /// expire.
    fn progress(&self) -> Option<&[u8]>;

    /// Adds a record to those that the next commit publishes.
    ///
    /// # Errors
    /// [`PublishError`]; after a [transient](PublishError::is_transient) error, everything since
    /// the last commit must be sent again. A record larger than its topic's
    /// [limit](TopicDescription::record_limit) is [refused](PublishError::Refused).
    fn send(&mut self, record: NewRecord<'_>) -> Result<(), PublishError>;

    /// Adds a record of the window that begins at `start_ms`, in milliseconds since the Unix epoch.
    /// A log that stores windows separately, as files do, implements it. The default is
    /// [`Publisher::send`].
    ///
    /// # Errors
    /// As [`Publisher::send`].
    fn send_in_window(&mut self, start_ms: u64, record: NewRecord<'_>) -> Result<(), PublishError> {
        let _ = start_ms;
        self.send(record)
    }

    /// Publishes everything sent since the last commit together with `progress`: at most
    /// [`PROGRESS_MAX_BYTES`] bytes, which the log keeps and does not interpret. Readers may get
    /// the records a moment after this returns.
    ///
    /// # Errors
    /// [`PublishError`]; after [`PublishError::MayHaveHappened`], open the publisher again: its
    /// progress shows whether the commit happened.
    fn commit(&mut self, progress: &[u8]) -> Result<(), PublishError>;
}

/// The guarantee of a publisher.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// Records and progress become readable together, once, and earlier holders of the id are fenced.
    Transactional,
    /// Records become readable one by one as they are sent; after a failure some may be in the log
    /// twice. Progress is stored after them.
    AtLeastOnce,
}

/// A record that a reader returns. It borrows from the log's own buffers.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// The partition it was read from.
    pub partition: u32,
    /// Its offset there.
    pub offset: Offset,
    /// Its time in the log, in milliseconds since the Unix epoch; 0 if it has none.
    pub log_time_ms: u64,
    /// The clock that set this time. Kafka stores it with every batch (bit 3 of its attributes), so
    /// it never changes for a record, even if the topic's settings do.
    pub log_time_type: LogTimeType,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers; they are parsed when they are read.
    pub headers: &'a dyn Headers,
}

/// The clock that sets a record's time in the log (Kafka's `message.timestamp.type`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogTimeType {
    /// The log's clock, when it appended the record.
    #[default]
    Append,
    /// The clock of the record's producer, which may be wrong by any amount.
    Create,
}

impl LogTimeType {
    /// Returns the value of Kafka's `message.timestamp.type`.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Append => "LogAppendTime",
            Self::Create => "CreateTime",
        }
    }
}

/// The headers of a record in the order they were written.
pub trait Headers {
    /// Calls `each` with every name and value.
    fn for_each(&self, each: &mut dyn FnMut(&str, &[u8]));
}

/// Headers as pairs; the empty slice has none.
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

/// A record to be published. It borrows its bytes; the publisher copies those that it keeps.
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

/// Size of a batch of one record without the record.
const BATCH_BYTES: usize = 61;
/// Largest size of a record without its key, value and headers.
const RECORD_BYTES: usize = 36;
/// Largest size of a header without its name and value.
const HEADER_BYTES: usize = 10;

impl NewRecord<'_> {
    /// Returns the greatest size that the record can have, uncompressed, in a batch of its own.
    /// Topics limit this size.
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

/// The result of one call of [`Reader::poll`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Polled {
    /// The number of records that were passed to the caller.
    pub records: usize,
    /// The offset to be read next. Offsets may have gaps: transaction markers and compacted records
    /// take some.
    pub next_offset: Offset,
    /// The moment as of which the log itself confirmed that nothing lies at or after `next_offset`,
    /// in milliseconds since the Unix epoch. None while this is unknown, or while the reader holds
    /// records that it has not passed on.
    ///
    /// An implementation follows these rules:
    /// - The date is read from this process's clock *before* the request for the end is sent. It
    ///   does not cover records that are appended after that moment.
    /// - An answer that names the end of the partition's log (committed or not: Kafka's high
    ///   watermark) confirms it if that end is at or below `next_offset`. Markers of transactions,
    ///   aborted records and compacted ones have offsets below the end like any other record; a
    ///   reader's position moves past them.
    /// - An open transaction confirms nothing: records behind it may be committed, but are not
    ///   readable.
    /// - An answer that never comes, fails, or names a later end changes nothing. The last date
    ///   remains until a newer one.
    /// - At an end the date is renewed several times a second, for as long as the reader is polled.
    ///   If no newer date arrives, the date grows old. By this a caller detects a broker that is
    ///   down, frozen or not the leader.
    pub end_as_of_ms: Option<u64>,
}

impl Polled {
    /// Returns `true` if the log has confirmed, as of some moment, that nothing lies at or after
    /// `next_offset`.
    pub fn is_at_end(&self) -> bool {
        self.end_as_of_ms.is_some()
    }
}

/// The range of offsets that a partition holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OffsetRange {
    /// The oldest offset that is still kept.
    pub start: Offset,
    /// The offset after the last committed record.
    pub end: Offset,
}

/// The settings of a topic that is to be created.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// The number of partitions.
    pub partitions: u32,
    /// The handling of old records.
    pub cleanup: Cleanup,
    /// The least time for which records are kept. With [`Cleanup::Compact`] it is ignored: records
    /// do not expire.
    pub retention: Duration,
}

/// The settings of a topic that exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopicDescription {
    /// The clock that sets the log time of records that are appended now. Older records may have
    /// been stamped by the other clock.
    pub log_time_type: LogTimeType,
    /// The largest record that it accepts.
    pub record_limit: RecordLimit,
    /// The handling of old records.
    pub cleanup: Cleanup,
    /// The time for which records are kept; none if they do not expire.
    pub retention: Option<Duration>,
}

/// The handling of old records of a topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cleanup {
    /// They are deleted after the retention.
    Delete,
    /// The newest record of each key is kept, until the retention has passed.
    CompactAndDelete,
    /// The newest record of each key is kept for ever.
    Compact,
}

impl Cleanup {
    /// Returns the value of Kafka's `cleanup.policy`.
    pub fn policy(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::CompactAndDelete => "compact,delete",
            Self::Compact => "compact",
        }
    }
}
