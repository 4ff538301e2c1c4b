//! The record log on Apache Kafka, by a client of its own in safe Rust.
//!
//! It speaks the protocol over blocking sockets, from the caller's thread and few threads of its own:
//!
//! - `wire`: connections, frames, headers; `codec`: the primitive types; `api`: which requests, in which version, and
//!   what brokers refuse; `cluster`: who leads and coordinates what.
//! - `batch`: record batches, walked and built in place: where the work is.
//! - `reader`: fetching and handing over; `admin`: topics, offsets, positions of groups.
//! - Publishing is still done by librdkafka, through [`KafkaLog`].
//!
//! The kafka-protocol crate was tried for the rare messages and rejected: it allocates what a frame claims to hold, and
//! brings 83,000 lines for eight requests.

#![forbid(unsafe_code)]

mod admin;
mod api;
#[allow(
    dead_code,
    reason = "the builder writes what the tests of the walk read"
)]
mod batch;
mod cluster;
#[allow(dead_code, reason = "the builder of batches uses the rest")]
mod codec;
mod reader;
mod settings;
mod wire;

use std::sync::Arc;

use self::admin::Admin;
use self::cluster::Cluster;
use self::reader::NativeReader;
use self::settings::Settings;
use self::wire::WireError;
use crate::kafka::KafkaLog;
use crate::{
    Delivery, LogError, Offset, OffsetRange, Publisher, Reader, RecordLog, TopicDescription,
    TopicSpec,
};

/// A record log on Apache Kafka, 3.7 or newer. Opening it waits for nobody: brokers are sought when they are needed.
pub struct NativeLog {
    cluster: Arc<Cluster>,
    admin: Admin,
    publishing: KafkaLog,
}

impl NativeLog {
    /// The log of the given brokers (`host:port`, comma separated), with further properties by the names that librdkafka
    /// gives them.
    ///
    /// # Errors
    /// [`LogError::Settings`] when a property is unknown, has no such value, or is one that the log's promises rest on.
    pub fn new(brokers: &str, properties: &[(String, String)]) -> Result<Self, LogError> {
        let settings = Settings::new(brokers, properties)
            .map_err(|refused| LogError::Settings(Box::new(refused)))?;
        let cluster = Arc::new(Cluster::new(settings.network, settings.brokers));

        Ok(Self {
            admin: Admin::new(Arc::clone(&cluster)),
            cluster,
            publishing: KafkaLog::new(brokers, properties)?,
        })
    }
}

impl RecordLog for NativeLog {
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.admin.ensure_topics(topics)?;
        // It looks up the limits of what it is to publish to.
        self.publishing.ensure_topics(topics)
    }

    fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.publishing.describe(topic)
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.admin.partitions(topic)
    }

    fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, LogError> {
        self.admin.offsets(topic)
    }

    fn reader(&self, topic: &str, from: &[(u32, Offset)]) -> Result<Box<dyn Reader>, LogError> {
        let found = self.admin.topic(topic)?;
        let is_unknown = |partition: u32| partition as usize >= found.leaders.len();
        if let Some((partition, _)) = from.iter().find(|(partition, _)| is_unknown(*partition)) {
            return Err(LogError::UnknownPartition {
                topic: topic.to_owned(),
                partition: *partition,
            });
        }

        let reader = NativeReader::open(&self.cluster, topic, &found, from)?;
        Ok(Box::new(reader))
    }

    fn publisher(&self, id: &str, delivery: Delivery) -> Result<Box<dyn Publisher>, LogError> {
        self.publishing.publisher(id, delivery)
    }

    fn publishers(
        &self,
        ids: &[&str],
        delivery: Delivery,
    ) -> Result<Vec<Box<dyn Publisher>>, LogError> {
        self.publishing.publishers(ids, delivery)
    }

    fn committed(&self, group: &str, topic: &str) -> Result<Vec<(u32, Offset)>, LogError> {
        self.admin.committed(group, topic)
    }

    fn commit(&self, group: &str, topic: &str, next: &[(u32, Offset)]) -> Result<(), LogError> {
        self.admin.commit(group, topic, next)
    }
}

/// What cannot help is no [`LogError::Unavailable`], which is tried again.
fn log_error(error: WireError) -> LogError {
    if error.is_passing() {
        LogError::Unavailable(Box::new(error))
    } else {
        LogError::Settings(Box::new(error))
    }
}

/// An offset as Kafka counts it.
fn to_kafka(offset: Offset) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

/// A number of partitions or a partition as Kafka counts it.
fn to_kafka_partition(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}
