//! A refusal: an operation that a log rejects until a right, a setting or the record is changed.

use std::fmt;

use crate::NewRecord;

/// A sentence that names the refused thing, the setting or right behind it, and the remedy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal(String);

/// The number of bytes of a key that a message shows.
const KEY_SHOWN_BYTES: usize = 40;

/// The reason why brokers refuse a publisher whose last transaction has ended, for both clients of Kafka.
pub(crate) const END_NOT_WRITTEN: &str = "the end of its last transaction is not written yet, because a partition of it is \
     without a leader, or has fewer replicas in sync than its min.insync.replicas: start the brokers that are away";

/// Returns the sentence about a broker that throttles a reader, for both clients of Kafka.
pub(crate) fn throttled_reader(broker: i32, throttled_ms: u128) -> String {
    format!(
        "broker {broker} throttles this client for {throttled_ms} ms: raise its quota consumer_byte_rate"
    )
}

impl Refusal {
    /// Returns a refusal with this sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// Returns the refusal for a right that the principal does not have.
    pub fn denied(right: &str, resource: &str, name: &str) -> Self {
        Self(format!(
            "{right} on {resource} {name:?} is denied to this principal: grant it"
        ))
    }

    /// Returns the refusal of a record that is larger than its topic's limit.
    pub fn too_large(record: &NewRecord<'_>, limit: RecordLimit) -> Self {
        let RecordLimit { bytes, setting } = limit;
        Self(format!(
            "{} of {} bytes is larger than the {bytes} bytes that topic {:?} takes: raise {setting}, or make the record smaller",
            named(record),
            record.size_bytes(),
            record.topic
        ))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// The largest record that a topic accepts, and the setting that determines it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecordLimit {
    /// The greatest [`NewRecord::size_bytes`].
    pub bytes: usize,
    /// The setting.
    pub setting: &'static str,
}

/// The limit of a topic whose settings are not known: a little less than Kafka's default.
pub(crate) const ASSUMED_LIMIT: RecordLimit = RecordLimit {
    bytes: RecordLimit::ASSUMED_BYTES,
    setting: "max.message.bytes, and grant DESCRIBE_CONFIGS so that it can be read",
};

impl RecordLimit {
    /// The limit of a topic whose settings may not be read: a little less than Kafka's default.
    pub const ASSUMED_BYTES: usize = 1_000_000;

    /// Refuses a record that is larger.
    #[inline]
    pub(crate) fn check(self, record: &NewRecord<'_>) -> Result<(), Refusal> {
        if record.size_bytes() > self.bytes {
            return Err(Refusal::too_large(record, self));
        }
        Ok(())
    }
}

/// Returns a record's name for messages. It includes the coordinates in a source topic if headers
/// contain them.
fn named(record: &NewRecord<'_>) -> String {
    let mut name = match record.partition {
        Some(partition) => format!("a record for partition {partition}"),
        None => "a record".to_owned(),
    };

    if let Some(key) = record.key {
        let shown = &key[..key.len().min(KEY_SHOWN_BYTES)];
        name += &format!(" with key {:?}", String::from_utf8_lossy(shown));
    }

    let header = |wanted: &str| {
        let found = record.headers.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| String::from_utf8_lossy(value))
    };

    if let (Some(partition), Some(offset)) = (header("source_partition"), header("source_offset")) {
        name += &format!(", from source partition {partition} offset {offset},");
    }

    name
}
