//! Dead letters: orders without a possible notification, published unchanged, with headers that
//! contain their origin and the reason. A letter may occur twice in the topic, when the outcome of
//! publishing is unknown or the publisher died before it stored the outcome.
//!
//! The stream job sends its own dead letters to the same topic; the header `reported_by`
//! distinguishes them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::ORDERS_DEAD_LETTER;
use follower::Received;
use record_log::{
    Cleanup, Delivery, LogError, NewRecord, PublishError, Publisher, RecordLog, TopicSpec,
};

/// The publisher's id, and the value of `reported_by`.
const REPORTER: &str = "notifications";
/// The same number as in the stream job, because either may create the topic first.
const PARTITIONS: u32 = 4;
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// An order for which no notification can be delivered.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The record as it was received.
    pub record: Received,
    /// The reason.
    pub reason: String,
}

/// The publisher of dead letters. Clones share one publisher.
#[derive(Clone)]
pub struct DeadLetters {
    log: Arc<dyn RecordLog>,
    publisher: Arc<Mutex<Option<Box<dyn Publisher>>>>,
}

/// The reason why a dead letter could not be published now.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The topic could not be reached.
    #[error("no publisher for dead letters: {0}")]
    Log(#[from] LogError),
    /// The letter may be in the topic nevertheless; publishing again may duplicate it.
    #[error("a dead letter was not published: {0}")]
    Publish(#[from] PublishError),
    /// The publishing task panicked or was cancelled.
    #[error("publishing was broken off: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
}

impl DeadLetters {
    /// Creates a publisher of dead letters on this log.
    pub fn new(log: Arc<dyn RecordLog>) -> Self {
        Self {
            log,
            publisher: Arc::default(),
        }
    }

    /// Publishes the letters.
    ///
    /// # Errors
    /// [`DeadLetterError`]; publish all letters again.
    pub async fn publish(&self, letters: Vec<DeadLetter>) -> Result<(), DeadLetterError> {
        if letters.is_empty() {
            return Ok(());
        }
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.publish_blocking(&letters)).await?
    }

    fn publish_blocking(&self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        let mut kept = self
            .publisher
            .lock()
            .unwrap_or_else(PoisonError::into_inner);

        let mut publisher = match kept.take() {
            Some(publisher) => publisher,
            None => self.open()?,
        };

        for letter in letters {
            send(publisher.as_mut(), letter)?;
        }
        publisher.commit(&[])?;

        // Kept only after a success: the next attempt after a failure opens a new publisher.
        *kept = Some(publisher);
        Ok(())
    }

    fn open(&self) -> Result<Box<dyn Publisher>, LogError> {
        let name = ORDERS_DEAD_LETTER.to_owned();
        let spec = TopicSpec {
            name,
            partitions: PARTITIONS,
            cleanup: Cleanup::Delete,
            retention: RETENTION,
        };
        self.log.ensure_topics(&[spec])?;

        self.log.publisher(REPORTER, Delivery::AtLeastOnce)
    }
}

fn send(publisher: &mut dyn Publisher, letter: &DeadLetter) -> Result<(), PublishError> {
    let record = &letter.record;
    let partition = record.partition.to_string();
    let offset = record.offset.to_string();

    let mut headers: Vec<(&str, &[u8])> = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect();
    headers.push(("source_partition", partition.as_bytes()));
    headers.push(("source_offset", offset.as_bytes()));
    headers.push(("reason", letter.reason.as_bytes()));
    headers.push(("reported_by", REPORTER.as_bytes()));

    publisher.send(NewRecord {
        topic: ORDERS_DEAD_LETTER,
        partition: None,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
    })
}
