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
//! So every record is consumed at least once, in the order of its partition; after a crash or a failure some are handed
//! over again, and a consumer must not mind. When the log is away the follower waits for it; when the log has deleted
//! the next records, the follower logs it and goes on with the oldest that is there.
//!
//! The processes of a service share the partitions ([`Scope::Share`]), each of which has one owner. The log decides who
//! ([`record_log::Membership`]). Between two batches, and with its positions stored, a follower notices that it owns
//! other partitions, and opens the topic again from the stored positions. So a partition that changes hands is read on
//! where its earlier owner stopped.
//!
//! - A process that is killed has no more batches than one behind its stored positions; the next owner consumes that one
//!   again.
//! - A process that was paused may consume and store once more what is no longer its own. It has consumed all records below
//!   the position that it stores, so none is missed; the owner stores its own again with the next survey.
//! - A process whose consumer does not get through a batch for five minutes loses its partitions to others.
//!
//! A process that needs all records, for its own listeners, has a second follower, which reads behind the group
//! ([`Scope::Behind`]).
//!
//! A permanent refusal of the log (a right is missing, a record is too large) is logged once and kept as a sentence
//! ([`Refused`]) that makes the service not ready. No position moves meanwhile, so nothing is lost; the follower looks
//! only once in a while whether it was mended.

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

    /// Returns whether the error is a permanent refusal of the consumer's own records, until an operator changes a
    /// right, a setting or the record.
    fn is_refusal(error: &Self::Error) -> bool {
        let _ = error;
        false
    }

    /// Consumes a batch. Once it returns `Ok` and the positions are stored, the batch is handed over again only if a
    /// process that was paused stores older positions. Two processes may have the same batch for a moment.
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
    /// The sentence, if the follower is stopped.
    pub fn sentence(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The same as a check of the service's health.
    ///
    /// # Errors
    /// The sentence, if the follower is stopped.
    pub fn check(&self) -> Result<(), String> {
        self.sentence().map_or(Ok(()), Err)
    }

    /// Replaces the sentence; whether it is another one than before.
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
