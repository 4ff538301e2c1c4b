//! Records between `send` and `commit`.

use std::sync::Arc;

use crate::murmur2::choose_partition;
use crate::{Cause, NewRecord};

/// A record whose partition is chosen, owned until its commit.
#[derive(Clone, Debug)]
pub(super) struct Staged {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl Staged {
    /// Copies the record. Records without key and partition are spread over the partitions by
    /// `turn`.
    pub(super) fn new(
        record: &NewRecord<'_>,
        topic: Arc<str>,
        partitions: u32,
        turn: &mut u32,
    ) -> Result<Self, Cause> {
        let partition = choose_partition(record, partitions, turn)?;
        let headers = record
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
            .collect();

        Ok(Self {
            topic,
            partition,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers,
        })
    }
}
