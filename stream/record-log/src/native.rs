//! The record log on Apache Kafka, by a client of its own in safe Rust.
//!
//! The client uses blocking sockets, on the caller's thread and on a few threads of its own:
//!
//! - `wire`: connections, frames, headers; `codec`: the primitive types; `api`: the requests with their versions, and
//!   the error codes of brokers; `cluster`: leaders and coordinators; `waiting`: calls that have no answer yet.
//! - `batch`: record batches, walked and built in place; most of the client's work is done there.
//! - `reader`: fetching and handing over; `publisher`: transactions and the batches in them; `admin`: topics, offsets,
//!   positions of groups; `groups`: their members, which are clients of librdkafka.
//! - `settings`: librdkafka's properties; `network`, `plain`, `tls`, `probe`: streams of bytes; `login`: SASL;
//!   `errors`: transient failures and refusals.
//! - `examination`: the steps of a connection and the rights of a publisher, one at a time, for a doctor; `fault`:
//!   kinds of faults in TLS.
//!
//! The kafka-protocol crate was tried for the rare messages and rejected: it allocates as many elements as a frame
//! claims to have, and has 83,000 lines, for thirteen requests.

#![forbid(unsafe_code)]

mod admin;
mod api;
mod batch;
mod cluster;
mod codec;
mod errors;
mod examination;
mod fault;
mod groups;
mod login;
#[cfg(test)]
mod mutations;
mod network;
mod plain;
mod probe;
mod publisher;
mod reader;
mod settings;
#[cfg(test)]
mod simulation;
mod tls;
mod waiting;
mod wire;

/// Access for the harness, which counts the instructions of the client's work. It is not part of the library, and may
/// change at any time.
#[doc(hidden)]
pub mod internals {
    pub use super::publisher::unsent::Unsent;
    pub use super::reader::received::Received;
}

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use self::admin::Admin;
use self::cluster::Cluster;
pub use self::examination::{BrokerAddress, Examination, Offer};
pub use self::fault::{Certificate, TlsFault, TlsRefusal};
use self::groups::Groups;
use self::publisher::{Opening, Patience};
pub use self::publisher::{Trial, TrialError};
use self::reader::{Fetching, NativeReader};
use self::settings::Settings;
use crate::kafka::PROGRESS_TOPIC;
use crate::kafka::progress::{self, Ranges};
#[cfg(test)]
use crate::runtime;
use crate::{
    Delivery, LogError, Membership, Offset, OffsetRange, Publisher, Reader, RecordLog,
    TopicDescription, TopicSpec,
};

/// A record log on Apache Kafka, 3.7 or newer. Opening it does not wait for brokers; it connects when they are needed.
pub struct NativeLog {
    cluster: Arc<Cluster>,
    admin: Arc<Admin>,
    fetching: Fetching,
    transaction_timeout: Duration,
    patience: Patience,
    groups: Groups,
}

impl NativeLog {
    /// Returns the log of the given brokers (`host:port`, comma separated), with further properties under librdkafka's
    /// names.
    ///
    /// # Errors
    /// [`LogError::Settings`] if a property is unknown, has an invalid value, or is one that the log's guarantees
    /// depend on.
    pub fn new(brokers: &str, properties: &[(String, String)]) -> Result<Self, LogError> {
        let settings = Settings::new(brokers, properties)
            .map_err(|refused| LogError::Settings(Box::new(refused)))?;
        let cluster = Arc::new(Cluster::new(settings.access, settings.brokers));

        Ok(Self {
            admin: Arc::new(Admin::new(Arc::clone(&cluster))),
            cluster,
            fetching: settings.fetching,
            transaction_timeout: settings.transaction_timeout,
            patience: Patience::default(),
            groups: Groups::new(brokers, properties),
        })
    }

    /// Returns the log of these brokers behind a test's network.
    #[cfg(test)]
    fn over(network: Box<dyn network::Network>, brokers: &str, patience: Patience) -> Self {
        Self::within(Arc::new(runtime::System), network, brokers, patience)
    }

    /// Returns the log of these brokers with a test's time, threads and network.
    #[cfg(test)]
    fn within(
        runtime: Arc<dyn runtime::Runtime>,
        network: Box<dyn network::Network>,
        brokers: &str,
        patience: Patience,
    ) -> Self {
        let settings = Settings::new(brokers, &[]).unwrap();
        let access = wire::Access {
            network,
            runtime,
            ..settings.access
        };
        let cluster = Arc::new(Cluster::new(access, settings.brokers));
        Self {
            admin: Arc::new(Admin::new(Arc::clone(&cluster))),
            cluster,
            fetching: settings.fetching,
            transaction_timeout: settings.transaction_timeout,
            patience,
            groups: Groups::new(brokers, &[]),
        }
    }

    /// Creates the topic that keeps the progress of publishers, or refuses it if it exists and loses records.
    fn ensure_progress_topic(&self) -> Result<(), LogError> {
        self.admin.ensure_topics(&[progress::topic()])?;
        match self.admin.describe(PROGRESS_TOPIC) {
            Ok(found) => progress::check_topic(PROGRESS_TOPIC, &found),
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                tracing::warn!(topic = PROGRESS_TOPIC, %error, "a topic's settings cannot be read and are assumed to be correct");
                Ok(())
            }
        }
    }

    /// Returns the ranges of all records, committed or not, in some partitions of the progress topic.
    fn written(&self, partitions: &BTreeSet<u32>) -> Result<Ranges, LogError> {
        let ranges = (0..).zip(self.admin.written(PROGRESS_TOPIC)?);
        let wanted = ranges.filter(|(partition, _)| partitions.contains(partition));
        Ok(wanted
            .map(|(partition, range)| (partition, (range.start, range.end)))
            .collect())
    }
}

impl RecordLog for NativeLog {
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
        self.cluster.obstacle()
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

        let reader = NativeReader::open(&self.cluster, topic, &found, &self.fetching, from)?;
        Ok(Box::new(reader))
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
        self.ensure_progress_topic()?;
        let opening = Opening {
            cluster: &self.cluster,
            admin: &self.admin,
            delivery,
            timeout: self.transaction_timeout,
            patience: self.patience,
        };

        let mut publishers = opening.open_all(ids)?;
        let runtime = &**self.cluster.runtime();
        let mut found = progress::read(self, |partitions| self.written(partitions), runtime, ids)?;
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
        self.groups.join(group, topic)
    }
}

/// Converts an offset to Kafka's type.
fn to_kafka(offset: Offset) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

/// Converts a number of partitions or a partition to Kafka's type.
fn to_kafka_partition(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}
