//! The output of a job: records, their topics, and the functions that encode results as records.

use std::sync::Arc;

use record_log::{NewRecord, PublishError, Publisher};
use serde::{Deserialize, Serialize};

use crate::pane::EventTimeMs;

/// A record that the function of a sink fills, or [skips](Self::skip).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Output {
    /// The record's key. Empty when the function is called.
    pub key: Vec<u8>,
    /// The record's value. Empty when the function is called.
    pub value: Vec<u8>,
    /// The record's headers, names and values. Empty when the function is called.
    pub headers: Vec<(String, Vec<u8>)>,
    is_skipped: bool,
}

impl Output {
    /// Leaves the result out: nothing is published for it.
    ///
    /// If the result corrects another one, a tombstone is published: a record with the key, without
    /// a value. The corrected result may have been published, and must not stand. So a function that
    /// may skip results always fills the key, which names the result: for a row, its key and window.
    ///
    /// ```
    /// use stream::{Count, Output, Row};
    ///
    /// // Publishes the customers with at least ten orders in a window.
    /// let encode = |row: &Row<u64, Count>, output: &mut Output| {
    ///     output.key.extend(format!("{} {}", row.key, row.window_start).bytes());
    ///     if row.aggregate.0 < 10 {
    ///         output.skip();
    ///     }
    ///     output.value.extend(row.aggregate.0.to_string().bytes());
    /// };
    /// # let _ = encode;
    /// ```
    pub fn skip(&mut self) {
        self.is_skipped = true;
    }

    /// Empties the output for the next result.
    pub(crate) fn clear(&mut self) {
        self.key.clear();
        self.value.clear();
        self.headers.clear();
        self.is_skipped = false;
    }

    /// Returns whether nothing is published: the result is skipped, and no other stands for it.
    pub(crate) fn is_nothing(&self, is_correction: bool) -> bool {
        self.is_skipped && !is_correction
    }

    /// Publishes the record to `topic`, as one of the window that begins at `window_start` if there is one, and returns
    /// the size of its key and value.
    pub(crate) fn send(
        &self,
        topic: &str,
        window_start: Option<EventTimeMs>,
        publisher: &mut dyn Publisher,
    ) -> Result<usize, PublishError> {
        let headers: Vec<(&str, &[u8])> = self
            .headers
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let record = NewRecord {
            topic,
            partition: None,
            key: Some(&self.key),
            value: (!self.is_skipped).then_some(&self.value),
            headers: &headers,
        };

        match window_start {
            Some(start_ms) => publisher.send_in_window(start_ms, record)?,
            None => publisher.send(record)?,
        }
        Ok(self.key.len() + self.value.len())
    }
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
