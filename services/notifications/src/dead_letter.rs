//! Dead letters: orders that nobody could be told of, as they came, with headers that say from where and why. A letter may
//! stand in the topic twice, when it is not known whether it was published, or who published it died before it said so.
//!
//! The stream job sends its own dead letters to the same topic; `reported_by` tells them apart.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::ORDERS_DEAD_LETTER;
use follower::Received;
use record_log::{
    Cleanup, Delivery, LogError, NewRecord, PublishError, Publisher, RecordLog, TopicSpec,
};

/// The publisher's id, and what `reported_by` says.
const REPORTER: &str = "notifications";
/// As the stream job makes the topic, should it be later than we are.
const PARTITIONS: u32 = 4;
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// An order that nobody can be told of.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The record as it came.
    pub record: Received,
    /// Why.
    pub reason: String,
}

/// Where dead letters go. Clones share one publisher.
#[derive(Clone)]
pub struct DeadLetters {
    log: Arc<dyn RecordLog>,
    publisher: Arc<Mutex<Option<Box<dyn Publisher>>>>,
}

/// Why a dead letter could not be published now.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The topic could not be reached.
    #[error("no publisher for dead letters: {0}")]
    Log(#[from] LogError),
    /// It may stand in the topic all the same; publishing again makes it stand there twice.
    #[error("a dead letter was not published: {0}")]
    Publish(#[from] PublishError),
    /// The thread that published was ended.
    #[error("publishing was broken off: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
}

impl DeadLetters {
    /// Dead letters on this log.
    pub fn new(log: Arc<dyn RecordLog>) -> Self {
        Self {
            log,
            publisher: Arc::default(),
        }
    }

    /// Publishes the letters.
    ///
    /// # Errors
    /// [`DeadLetterError`]: publish them all again.
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

        // Kept only while it works: after a failure the next attempt opens it anew.
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
