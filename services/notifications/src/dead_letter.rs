//! Dead letters: order events whose notification cannot be delivered. They are published unchanged,
//! with headers that contain their origin and the reason. A letter may be in the topic twice, if the
//! outcome of publishing is unknown or the publisher died before it stored the outcome.
//!
//! A record that is too large for the topic is published in part: the same key and headers, as much of
//! the value as fits, and `value_size` and `value_sha256` of the whole value. If the headers alone are
//! too large, those of the record are left out, and `headers_left_out` has their number.
//!
//! The stream job sends its own dead letters to the same topic; the header `reported_by`
//! distinguishes them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::ORDERS_DEAD_LETTER;
use follower::Received;
use record_log::{
    Cleanup, Delivery, LogError, NewRecord, PublishError, Publisher, RecordLimit, RecordLog,
    TopicSpec,
};
use sha2::{Digest, Sha256};

/// The publisher's id, and the value of `reported_by`.
const REPORTER: &str = "notifications";
/// The same number as in the stream job, because either may create the topic first.
const PARTITIONS: u32 = 4;
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// The record of an order event whose notification cannot be delivered.
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
    topic: Arc<Mutex<Option<Topic>>>,
}

/// The topic of dead letters, open for publishing.
struct Topic {
    publisher: Box<dyn Publisher>,
    /// The largest record that the topic accepts; none if this process may not read it.
    limit: Option<RecordLimit>,
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
    #[error("the publishing task failed: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
}

impl DeadLetterError {
    /// Returns whether publishing again cannot help until an operator changes a right, a setting or
    /// the record.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Log(error) => matches!(
                error,
                LogError::Refused(_) | LogError::Settings(_) | LogError::Unreadable { .. }
            ),
            Self::Publish(error) => matches!(error, PublishError::Refused(_)),
            Self::BrokenOff(_) => false,
        }
    }
}

impl DeadLetters {
    /// Creates a publisher of dead letters on this log.
    pub fn new(log: Arc<dyn RecordLog>) -> Self {
        Self {
            log,
            topic: Arc::default(),
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
        let mut kept = self.topic.lock().unwrap_or_else(PoisonError::into_inner);
        let mut topic = match kept.take() {
            Some(topic) => topic,
            None => self.open()?,
        };

        for letter in letters {
            send(&mut topic, letter)?;
        }
        topic.publisher.commit(&[])?;

        // Kept only after a success: the next attempt after a failure opens a new publisher.
        *kept = Some(topic);
        Ok(())
    }

    fn open(&self) -> Result<Topic, LogError> {
        let name = ORDERS_DEAD_LETTER.to_owned();
        let spec = TopicSpec {
            name,
            partitions: PARTITIONS,
            cleanup: Cleanup::Delete,
            retention: RETENTION,
        };
        self.log.ensure_topics(&[spec])?;

        let limit = match self.log.describe(ORDERS_DEAD_LETTER) {
            // If the limit may not be read, letters are sent whole.
            Err(LogError::Refused(_)) => None,
            described => Some(described?.record_limit),
        };
        let publisher = self.log.publisher(REPORTER, Delivery::AtLeastOnce)?;
        Ok(Topic { publisher, limit })
    }
}

/// Sends a letter: whole if the topic accepts it, otherwise in part.
fn send(topic: &mut Topic, letter: &DeadLetter) -> Result<(), PublishError> {
    let record = &letter.record;
    let partition = record.partition.to_string();
    let offset = record.offset.to_string();
    let own = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()));

    let origin: [(&str, &[u8]); 4] = [
        ("source_partition", partition.as_bytes()),
        ("source_offset", offset.as_bytes()),
        ("reason", letter.reason.as_bytes()),
        ("reported_by", REPORTER.as_bytes()),
    ];

    let headers: Vec<(&str, &[u8])> = own.chain(origin).collect();
    let whole = NewRecord {
        topic: ORDERS_DEAD_LETTER,
        partition: None,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
    };

    match topic.limit {
        Some(limit) if whole.size_bytes() > limit.bytes => {
            send_in_part(topic.publisher.as_mut(), whole, &origin, limit)
        }
        _ => topic.publisher.send(whole),
    }
}

/// Sends as much of a letter as the topic accepts.
fn send_in_part(
    publisher: &mut dyn Publisher,
    whole: NewRecord<'_>,
    origin: &[(&str, &[u8])],
    limit: RecordLimit,
) -> Result<(), PublishError> {
    let value = whole.value.unwrap_or_default();
    let size = value.len().to_string();
    let digest = format!("{:x}", Sha256::digest(value));
    let left_out = (whole.headers.len() - origin.len()).to_string();

    let notes: [(&str, &[u8]); 2] = [
        ("value_size", size.as_bytes()),
        ("value_sha256", digest.as_bytes()),
    ];
    let mut headers = [whole.headers, &notes[..]].concat();
    let without_value = |headers: &[(&str, &[u8])]| {
        let record = NewRecord {
            value: None,
            headers,
            ..whole
        };
        record.size_bytes()
    };

    if without_value(&headers) > limit.bytes {
        headers = [origin, &notes[..]].concat();
        headers.push(("headers_left_out", left_out.as_bytes()));
    }

    let room = limit.bytes.saturating_sub(without_value(&headers));
    publisher.send(NewRecord {
        value: whole.value.map(|value| &value[..value.len().min(room)]),
        headers: &headers,
        ..whole
    })
}

#[cfg(test)]
mod tests {
    use record_log::simulated::{SimulatedLog, StoredRecord};

    use super::*;

    /// Publishes a record with this value and header as a dead letter, to a topic that accepts 2,000
    /// bytes. Returns the stored letter.
    fn published(value: &[u8], header: &[u8]) -> StoredRecord {
        let log = SimulatedLog::default();
        let letters = DeadLetters::new(Arc::new(log.clone()));
        drop(letters.open().unwrap());
        log.limit_records(ORDERS_DEAD_LETTER, 2_000);

        let letter = DeadLetter {
            record: Received {
                partition: 3,
                offset: 77,
                key: Some(b"42".to_vec()),
                value: Some(value.to_vec()),
                headers: vec![("own".to_owned(), header.to_vec())],
            },
            reason: "it is no order".to_owned(),
        };
        letters.publish_blocking(&[letter]).unwrap();
        log.records(ORDERS_DEAD_LETTER).pop().unwrap()
    }

    fn header(record: &StoredRecord, wanted: &str) -> Option<String> {
        let found = record.headers.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    }

    #[test]
    fn a_letter_that_fits_is_whole() {
        let record = published(&[b'x'; 1_500], b"short");
        assert_eq!(record.value.as_deref(), Some(&[b'x'; 1_500][..]));
        assert_eq!(header(&record, "own").as_deref(), Some("short"));
        assert_eq!(header(&record, "value_size"), None);
    }

    #[test]
    fn a_letter_that_is_too_large_is_carried_in_part() {
        for (value_bytes, header_bytes) in [(1_900, 5), (1_000_000, 5), (10, 5_000), (9_000, 9_000)]
        {
            let value = vec![b'x'; value_bytes];
            let record = published(&value, &vec![b'h'; header_bytes]);
            let kept = record.value.clone().unwrap();

            assert!(value.starts_with(&kept));
            assert_eq!(record.key.as_deref(), Some(&b"42"[..]));
            for (name, expected) in [
                ("source_partition", "3".to_owned()),
                ("source_offset", "77".to_owned()),
                ("reason", "it is no order".to_owned()),
                ("value_size", value_bytes.to_string()),
                ("value_sha256", format!("{:x}", Sha256::digest(&value))),
            ] {
                assert_eq!(header(&record, name), Some(expected), "{name}");
            }

            let has_own = header(&record, "own").is_some();
            assert_eq!(has_own, header_bytes == 5);
            assert_eq!(header(&record, "headers_left_out").is_some(), !has_own);
            assert!(
                kept.len() > 1_000 || kept.len() == value_bytes,
                "as much as fits: {}",
                kept.len()
            );
        }
    }
}
