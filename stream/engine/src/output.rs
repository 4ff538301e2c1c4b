//! What a job publishes: records, their topics, and the functions that encode results as records.

use std::sync::Arc;

use record_log::NewRecord;
use serde::{Deserialize, Serialize};

/// A record that the function of a sink fills.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Output {
    /// The record's key. Empty when the function is called.
    pub key: Vec<u8>,
    /// The record's value. Empty when the function is called.
    pub value: Vec<u8>,
}

/// The topic of one kind of result, and its encoding.
pub struct Destination<T> {
    pub(crate) topic: String,
    pub(crate) encode: Encode<T>,
}

/// Encodes a result.
pub type Encode<T> = Arc<dyn Fn(&T, &mut Output) + Send + Sync>;

impl<T> Clone for Destination<T> {
    fn clone(&self) -> Self {
        Self {
            topic: self.topic.clone(),
            encode: Arc::clone(&self.encode),
        }
    }
}

/// A record for another topic than the results': summaries, late records or dead letters.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Outgoing {
    /// The key group with which the record is committed.
    pub group: u16,
    /// The topic's name.
    pub topic: String,
    /// The record's key and value.
    pub output: Output,
}

impl Outgoing {
    pub(crate) fn as_new(&self) -> NewRecord<'_> {
        NewRecord {
            topic: &self.topic,
            partition: None,
            key: Some(&self.output.key),
            value: Some(&self.output.value),
            headers: &[],
        }
    }
}
