//! The ranges of offsets that partitions hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::super::{CALL_LIMIT, to_kafka_partition};
use super::{Admin, described, patiently, refused};
use crate::{LogError, Offset, OffsetRange};

impl Admin {
    /// The ends are the last stable offsets, because the client reads committed records only.
    pub(in super::super) fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, LogError> {
        let range = |partition| {
            let (start, end) = self.range(&self.client, topic, partition)?;
            Ok(OffsetRange { start, end })
        };
        (0..self.partitions(topic)?).map(range).collect()
    }

    /// Returns the ranges of offsets of partitions, up to the last record written, committed or
    /// not.
    pub(in super::super) fn written(
        &self,
        topic: &str,
        partitions: &BTreeSet<u32>,
    ) -> Result<BTreeMap<u32, (Offset, Offset)>, LogError> {
        let client = self.uncommitted()?;
        // librdkafka requests ends from the leader in its cache, and keeps that leader while its broker does not answer.
        let renewed = client.fetch_metadata(Some(topic), CALL_LIMIT);
        renewed.map_err(|error| self.failed(error, described(topic)))?;

        let range = |partition: &u32| Ok((*partition, self.range(&client, topic, *partition)?));
        partitions.iter().map(range).collect()
    }

    fn range(
        &self,
        client: &BaseConsumer,
        topic: &str,
        partition: u32,
    ) -> Result<(Offset, Offset), LogError> {
        let partition = to_kafka_partition(partition);
        let fetched = patiently(|| client.fetch_watermarks(topic, partition, CALL_LIMIT));
        let (start, end) = fetched.map_err(|error| self.no_range(error, topic))?;
        Ok((start.cast_unsigned(), end.cast_unsigned()))
    }

    /// Interprets a failure to get the range of a partition that exists. librdkafka returns that a
    /// partition is unknown if it has no leader, which is transient.
    fn no_range(&self, error: KafkaError, topic: &str) -> LogError {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownPartition) => LogError::Unavailable(error.into()),
            _ => self.failed(error, described(topic)),
        }
    }

    fn uncommitted(&self) -> Result<Arc<BaseConsumer>, LogError> {
        let mut client = self
            .uncommitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);

        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }

        let made: BaseConsumer = self
            .settings
            .admin()
            .set("isolation.level", "read_uncommitted")
            .create()
            .map_err(refused)?;
        Ok(Arc::clone(client.insert(Arc::new(made))))
    }
}
