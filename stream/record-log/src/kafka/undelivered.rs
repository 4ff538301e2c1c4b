//! A record that librdkafka did not deliver, with the likely reason.

use std::ffi::CStr;
use std::fmt;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use super::errors::{self, About};
use crate::Refusal;

/// A record that was not delivered.
#[derive(Clone, Debug)]
pub(super) struct Undelivered {
    pub(super) code: RDKafkaErrorCode,
    topic: String,
    partition: i32,
    key: String,
    size_bytes: usize,
    /// The likely reason of a time-out.
    explanation: String,
}

impl Undelivered {
    /// Adds the likely reason of a time-out.
    pub(super) fn because(self, explanation: String) -> Self {
        Self {
            explanation,
            ..self
        }
    }

    /// Returns the refusal for this record's error; none if the error is transient.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let about = About::Topic {
            right: "WRITE",
            topic: &self.topic,
        };

        // librdkafka reports this code only after the topic was missing for the whole time limit.
        let code = match self.code {
            RDKafkaErrorCode::UnknownTopicOrPartition => RDKafkaErrorCode::UnknownTopic,
            code => code,
        };
        let reason = errors::refusal(code, about)?;
        Some(Refusal::new(format!("{reason}; {self}")))
    }
}

impl fmt::Display for Undelivered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            topic,
            partition,
            key,
            size_bytes,
            explanation,
        } = self;

        write!(
            formatter,
            "a record of {size_bytes} bytes with key {key:?} for partition {partition} of topic {topic:?} was not delivered: \
             {code}{explanation}"
        )
    }
}

impl std::error::Error for Undelivered {}

/// The number of bytes of a key that a message shows.
const KEY_SHOWN_BYTES: usize = 40;

/// Returns the record of a failed delivery.
pub(super) fn undelivered(message: &sys::rd_kafka_message_t) -> Undelivered {
    // SAFETY: the topic's handle lives during the callback, and its name ends with a zero byte.
    let topic = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(message.rkt)) };
    let key = if message.key.is_null() {
        &[][..]
    } else {
        // SAFETY: the key is of this length and lives during the callback.
        unsafe { std::slice::from_raw_parts(message.key.cast::<u8>(), message.key_len) }
    };

    Undelivered {
        code: message.err.into(),
        topic: topic.to_string_lossy().into_owned(),
        partition: message.partition,
        key: String::from_utf8_lossy(&key[..key.len().min(KEY_SHOWN_BYTES)]).into_owned(),
        size_bytes: message.len,
        explanation: String::new(),
    }
}

/// The replicas of a partition that are in sync, and all of them.
#[derive(Debug)]
pub(super) struct InSync {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) in_sync: i32,
    pub(super) replicas: i32,
}

impl InSync {
    pub(super) fn lacks_replicas(&self) -> bool {
        self.in_sync < self.replicas
    }

    /// The order of partitions as reasons of a time-out: the most likely one first.
    pub(super) fn order(&self) -> (bool, i32) {
        (!self.lacks_replicas(), self.in_sync)
    }
}

impl fmt::Display for InSync {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            partition,
            in_sync,
            replicas,
        } = self;
        write!(
            formatter,
            "partition {partition} of topic {topic:?} has {in_sync} of its {replicas} replicas in sync"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::InSync;

    #[test]
    fn the_likely_reason_is_the_partition_that_lacks_replicas_and_has_the_fewest_in_sync() {
        let of = |partition, in_sync, replicas| InSync {
            topic: "results".to_owned(),
            partition,
            in_sync,
            replicas,
        };
        let thinnest = |partitions: Vec<InSync>| {
            let thinnest = partitions.into_iter().min_by_key(InSync::order);
            thinnest.unwrap().to_string()
        };

        let of_three = of(0, 2, 3);
        let of_two = of(1, 1, 2);
        let whole = of(2, 1, 1);
        assert_eq!(
            thinnest(vec![whole, of_three, of_two]),
            "partition 1 of topic \"results\" has 1 of its 2 replicas in sync"
        );
        assert!(!of(2, 1, 1).lacks_replicas());
    }
}
