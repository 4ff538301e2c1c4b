//! Records between `send` and `commit`, for the logs that keep them inside the process.

use std::sync::Arc;

use crate::{LogError, NewRecord, Source, partition_of};

/// A record with its partition decided, owned until its commit.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Staged {
    /// Copies the record. Records without key and partition go round the partitions by `turn`.
    pub(crate) fn new(
        record: &NewRecord<'_>,
        topic: Arc<str>,
        partitions: u32,
        turn: &mut u32,
    ) -> Result<Self, Source> {
        let partition = choose(record, partitions, turn)?;
        let headers = record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        Ok(Self {
            topic,
            partition,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers,
        })
    }
}

fn choose(record: &NewRecord<'_>, partitions: u32, turn: &mut u32) -> Result<u32, Source> {
    match (record.partition, record.key) {
        (Some(partition), _) if partition < partitions => Ok(partition),
        (Some(partition), _) => Err(Box::new(LogError::UnknownPartition { topic: record.topic.to_owned(), partition })),
        (None, Some(key)) => Ok(partition_of(key, partitions)),
        (None, None) => {
            *turn = turn.wrapping_add(1);
            Ok(*turn % partitions)
        }
    }
}
