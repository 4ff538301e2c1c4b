//! The positions of groups: offsets that are committed under a name.

use std::sync::{Arc, PoisonError};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
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

        let known = self
            .groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(group)
            .cloned();
        let client = known.map_or_else(|| self.new_group(group), Ok)?;
        let found = patiently(|| client.committed_offsets(asked.clone(), CALL_LIMIT))
            .map_err(|error| failed(&client, &self.is_stranger, error, About::Group { group }))?;

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

        let client = self.group(group)?;
        patiently(|| client.commit(&positions, CommitMode::Sync))
            .map_err(|error| failed(&client, &self.is_stranger, error, About::Group { group }))
    }

    fn group(&self, group: &str) -> Result<Arc<BaseConsumer>, LogError> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = groups.get(group) {
            return Ok(Arc::clone(client));
        }

        let client = self.new_group(group)?;
        groups.insert(group.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    fn new_group(&self, group: &str) -> Result<Arc<BaseConsumer>, LogError> {
        Ok(Arc::new(
            self.settings
                .admin()
                .set("group.id", group)
                .create()
                .map_err(refused)?,
        ))
    }
}
