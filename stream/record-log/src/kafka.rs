//! The record log on Apache Kafka, by librdkafka.
//!
//! - `reader`: partitions are started one by one. Each has a queue of its own, which is drained by
//!   callback. A record is passed on from the memory of the fetched batch. The reader joins no
//!   group.
//! - `ends`: dates the ends of partitions that a reader has reached.
//! - `publisher`: one Kafka transaction from commit to commit. Its progress is a record of
//!   the same transaction on the compacted topic [`PROGRESS_TOPIC`] (`progress`), where nothing expires.
//! - `admin`: topics, partitions, offsets and the positions of groups. These calls may be slow.
//! - `membership`: a member of a consumer group, which receives its partitions and fetches nothing.
//! - `client` and `native`: the safe wrapper of librdkafka's handles, for reader and publisher; `logged`: its log;
//!   `settings`: properties.

pub(crate) mod admin;
mod client;
mod ends;
mod errors;
mod identity;
mod logged;
mod membership;
mod native;
pub(crate) mod progress;
mod publisher;
mod reader;
mod settings;
mod undelivered;

use std::sync::Arc;
use std::time::Duration;

use self::admin::Admin;
pub(crate) use self::admin::{COMPACTED_SEGMENT_BYTES, COMPACTED_SEGMENT_MS};
use self::membership::KafkaMembership;
pub use self::progress::PROGRESS_TOPIC;
use self::reader::KafkaReader;
use self::settings::Settings;
use crate::runtime::System;
use crate::{
    Delivery, LogError, Membership, Offset, OffsetRange, Publisher, Reader, RecordLog,
    TopicDescription, TopicSpec,
};

/// The longest time that a call waits for the brokers before it returns [`LogError::Unavailable`].
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// A record log on Apache Kafka. Opening it does not connect: the first call that needs brokers
/// does.
pub struct KafkaLog {
    settings: Settings,
    admin: Arc<Admin>,
}

impl KafkaLog {
    /// Returns the log of the given brokers (`host:port`, comma separated), with further librdkafka
    /// properties.
    ///
    /// # Errors
    /// [`LogError::Settings`] if a property is unknown, has an invalid value, or is one that the
    /// log's guarantees depend on.
    pub fn new(brokers: &str, properties: &[(String, String)]) -> Result<Self, LogError> {
        let settings = Settings::new(brokers, properties)?;
        let admin = Arc::new(Admin::new(settings.clone())?);
        Ok(Self { settings, admin })
    }
}

impl RecordLog for KafkaLog {
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.admin.ensure_topics(topics)
    }

    fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.admin.describe(topic)
    }

    fn progress_topic(&self) -> Option<&str> {
        Some(PROGRESS_TOPIC)
    }

    fn obstacle(&self) -> Option<String> {
        self.admin.obstacle()
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.admin.partitions(topic)
    }

    fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, LogError> {
        self.admin.offsets(topic)
    }

    fn reader(&self, topic: &str, from: &[(u32, Offset)]) -> Result<Box<dyn Reader>, LogError> {
        let partitions = self.admin.partitions(topic)?;
        if let Some((partition, _)) = from.iter().find(|(partition, _)| *partition >= partitions) {
            return Err(LogError::UnknownPartition {
                topic: topic.to_owned(),
                partition: *partition,
            });
        }

        Ok(Box::new(KafkaReader::open(&self.settings, topic, from)?))
    }

    fn publisher(&self, id: &str, delivery: Delivery) -> Result<Box<dyn Publisher>, LogError> {
        let mut opened = self.publishers(&[id], delivery)?;
        Ok(opened.remove(0))
    }

    fn publishers(
        &self,
        ids: &[&str],
        delivery: Delivery,
    ) -> Result<Vec<Box<dyn Publisher>>, LogError> {
        self.admin.ensure_topics(&[progress::topic()])?;
        let limits = self.admin.limits()?;
        let mut publishers = publisher::open_all(&self.settings, &limits, ids, delivery)?;

        let written = |partitions: &_| self.admin.written(PROGRESS_TOPIC, partitions);
        let mut found = progress::read(self, written, &System, ids)?;
        for (publisher, id) in publishers.iter_mut().zip(ids) {
            publisher.set_progress(found.remove(*id));
        }

        Ok(publishers
            .into_iter()
            .map(|publisher| Box::new(publisher) as Box<dyn Publisher>)
            .collect())
    }

    fn committed(&self, group: &str, topic: &str) -> Result<Vec<(u32, Offset)>, LogError> {
        self.admin.committed(group, topic)
    }

    fn commit(&self, group: &str, topic: &str, next: &[(u32, Offset)]) -> Result<(), LogError> {
        self.admin.commit(group, topic, next)
    }

    fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Membership>, LogError> {
        let joined = KafkaMembership::join(&self.settings, group, topic)?;
        Ok(Box::new(joined))
    }
}

/// Joins a group for a log of another client.
pub(crate) fn join(
    brokers: &str,
    properties: &[(String, String)],
    group: &str,
    topic: &str,
) -> Result<Box<dyn Membership>, LogError> {
    let settings = Settings::new(brokers, properties)?;
    let joined = KafkaMembership::join(&settings, group, topic)?;
    Ok(Box::new(joined))
}

/// Converts an offset to Kafka's type.
fn to_kafka(offset: Offset) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

/// Converts a partition, or a number of partitions, to Kafka's type.
fn to_kafka_partition(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}
