//! The positions of groups: offsets that are committed under a name.

use std::sync::{Arc, PoisonError};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use super::super::errors::About;
use super::super::{CALL_LIMIT, to_kafka, to_kafka_partition};
use super::{Admin, failed, patiently, refused, unavailable};
use crate::{LogError, Offset};

impl Admin {
    pub(in super::super) fn committed(
        &self,
        group: &str,
        topic: &str,
    ) -> Result<Vec<(u32, Offset)>, LogError> {
        let partitions = match self.partitions(topic) {
            Err(LogError::UnknownTopic(_)) => return Ok(Vec::new()),
            partitions => partitions?,
        };

        let mut asked = TopicPartitionList::new();
        for partition in 0..partitions {
            asked.add_partition(topic, to_kafka_partition(partition));
        }

        let found = self.call(group, |client| {
            client.committed_offsets(asked.clone(), CALL_LIMIT)
        })?;
        let positions = found
            .elements()
            .into_iter()
            .filter_map(|element| match element.offset() {
                KafkaOffset::Offset(next) => {
                    Some((element.partition().cast_unsigned(), next.cast_unsigned()))
                }
                _ => None,
            });

        Ok(positions.collect())
    }

    pub(in super::super) fn commit(
        &self,
        group: &str,
        topic: &str,
        next: &[(u32, Offset)],
    ) -> Result<(), LogError> {
        if next.is_empty() {
            return Ok(());
        }

        let mut positions = TopicPartitionList::new();
        for (partition, offset) in next {
            let offset = KafkaOffset::Offset(to_kafka(*offset));
            positions
                .add_partition_offset(topic, to_kafka_partition(*partition), offset)
                .map_err(unavailable)?;
        }

        self.call(group, |client| client.commit(&positions, CommitMode::Sync))
    }

    /// Calls a client of the group. It is kept for the next call unless it was refused, because it
    /// returns the reason of a refusal only once.
    fn call<T>(
        &self,
        group: &str,
        call: impl Fn(&BaseConsumer) -> KafkaResult<T>,
    ) -> Result<T, LogError> {
        let client = self.group(group)?;
        let outcome = patiently(|| call(&client))
            .map_err(|error| failed(&client, &self.is_stranger, error, About::Group { group }));

        if !matches!(outcome, Err(LogError::Refused(_))) {
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            groups.entry(group.to_owned()).or_insert(client);
        }
        outcome
    }

    fn group(&self, group: &str) -> Result<Arc<BaseConsumer>, LogError> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = groups.get(group) {
            return Ok(Arc::clone(client));
        }
        drop(groups);

        let client = self.settings.admin().set("group.id", group).create();
        Ok(Arc::new(client.map_err(refused)?))
    }
}
