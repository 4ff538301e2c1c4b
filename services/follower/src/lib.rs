//! Following a topic: how a service consumes records without missing one.
//!
//! A [`Follower`] reads a topic on a thread of its own, because the record log blocks. It passes the
//! records in [`Batch`]es to an async [`Consumer`], repeats a batch until the consumer succeeds, and
//! then stores the positions under the name of a group:
//!
//! ```text
//! owned partitions ─▶ positions ──▶ read ──▶ consume ──┬─▶ store positions ──▶ owned as before? read …
//!                                               ▲      │
//!                                               └──────┘ fails: repeat, after a wait
//! ```
//!
//! So every record is consumed at least once, in the order of its partition. After a crash or a failure some records are
//! consumed again, and the consumer must allow for that. While the log is unavailable, the follower waits for it. If the
//! log has deleted the next records, the follower logs an error and continues with the oldest record.
//!
//! The processes of a service share the partitions ([`Scope::Share`]). Each partition has one owner, which the log chooses
//! ([`record_log::Membership`]). Between two batches, when its positions are stored, a follower checks whether it owns
//! other partitions. If so, it opens the topic again from the stored positions. A partition that changes hands is
//! therefore read from the position where its earlier owner stopped.
//!
//! - A process that is killed has consumed at most one batch beyond its stored positions, or more if storing them
//!   failed. The next owner consumes those records again.
//! - A process that was paused may consume a batch of a partition that it no longer owns, and store a position there. It
//!   has consumed all records below that position, so none is missed. The owner stores its own position again with the
//!   next survey.
//! - A process whose consumer needs more than five minutes for a batch loses its partitions to others.
//!
//! A process that needs all records, for its own listeners, has a second follower, which reads behind the group
//! ([`Scope::Behind`]).
//!
//! A permanent refusal of the log (a right is missing, a record is too large) is logged once and kept as a sentence
//! ([`Refused`]) that makes the service not ready. No position moves meanwhile, so nothing is lost. The follower tries
//! again after [`Follower::refused_wait`].

mod follower;

mod gate;
mod positions;
mod reading;

use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use follower::{Follower, REFUSED_WAIT, Scope};
use record_log::Offset;

/// Consumes the records of a topic.
pub trait Consumer: Send + Sync + 'static {
    /// The reason why a batch could not be consumed now. It is logged, and the batch is passed
    /// again.
    type Error: std::fmt::Display + Send;

    /// Receives the offsets from which partitions are read, each time the topic is opened: at the
    /// start, after a failure, and when other partitions are owned.
    fn opened(&self, next: &[(u32, Offset)]) {
        let _ = next;
    }

    /// Returns whether the log refuses the consumer's own records until an operator changes a right, a setting or the
    /// record.
    fn is_refusal(error: &Self::Error) -> bool {
        let _ = error;
        false
    }

    /// Consumes a batch. Once it returns `Ok` and the positions are stored, the batch is passed again only if a process
    /// that was paused stores older positions. Two processes may consume the same batch at the same time.
    fn consume(&self, batch: &Batch) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Records that were read together; those of one partition in the order of their offsets.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The records.
    pub records: Vec<Received>,
}

/// A record that owns its data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Received {
    /// The partition it was read from.
    pub partition: u32,
    /// Its offset there.
    pub offset: Offset,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers, in the order they were written.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Received {
    /// Returns the value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_slice())
    }
}

/// The refusal that stops a follower, in one sentence; none while it follows. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Refused(Arc<Mutex<Option<String>>>);

impl Refused {
    /// Returns the sentence, if the follower is stopped.
    pub fn sentence(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns the sentence as an error; a check for the service's health.
    ///
    /// # Errors
    /// The sentence, if the follower is stopped.
    pub fn check(&self) -> Result<(), String> {
        self.sentence().map_or(Ok(()), Err)
    }

    /// Replaces the sentence. Returns whether it differs from the one before.
    fn set(&self, sentence: Option<String>) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *kept != sentence;
        *kept = sentence;
        is_news
    }
}

/// The number of records by which a group is behind. Clones share it.
#[derive(Clone, Debug)]
pub struct Lag(Arc<AtomicI64>);

impl Default for Lag {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(-1)))
    }
}

impl Lag {
    /// Returns the number of records that wait to be consumed; none before the log has been read
    /// for the first time.
    pub fn records(&self) -> Option<u64> {
        u64::try_from(self.0.load(Ordering::Relaxed)).ok()
    }

    fn set(&self, records: u64) {
        self.0.store(
            i64::try_from(records).unwrap_or(i64::MAX),
            Ordering::Relaxed,
        );
    }
}
