//! Consumes the records of the two topics: decodes them, writes them, and sends them to the feed.
//!
//! A batch is written before it is sent to listeners and before its positions are stored. A record
//! that cannot be decoded is counted, logged as an error and skipped. The stream job wrote it, so
//! an operator must look into it, but stopping would not help.

use std::collections::HashMap;

use events::{WindowCount, WindowSummary};
use follower::{Batch, Consumer, Received};
use prometheus::IntCounter;
use record_log::Offset;
use serde::de::DeserializeOwned;

use crate::feed::{Feed, FeedTopic};
use crate::http::Shown;
use crate::store::{Store, StoreError};

/// The parts that both consumers use.
#[derive(Clone)]
pub struct Writing {
    /// The tables to write to.
    pub store: Store,
    /// The feed to send to.
    pub feed: Feed,
    /// Number of records written.
    pub written: IntCounter,
    /// Number of records that could not be decoded.
    pub malformed: IntCounter,
}

/// Consumes `analytics-results`.
pub struct Counts(pub Writing);

/// Consumes `analytics-summaries`.
pub struct Summaries(pub Writing);

impl Consumer for Counts {
    type Error = StoreError;

    fn opened(&self, next: &[(u32, Offset)]) {
        self.0.feed.opened(FeedTopic::Counts, next);
    }

    async fn consume(&self, batch: &Batch) -> Result<(), StoreError> {
        let counts = self.0.decode::<WindowCount>(batch);
        self.0.store.upsert_counts(&newest(&counts)).await?;
        self.0.written.inc_by(counts.len() as u64);

        for (record, count) in counts {
            let user_id = Some(count.user_id);
            self.0
                .tell(FeedTopic::Counts, record, user_id, &Shown::from(count));
        }

        Ok(())
    }
}

impl Consumer for Summaries {
    type Error = StoreError;

    fn opened(&self, next: &[(u32, Offset)]) {
        self.0.feed.opened(FeedTopic::Windows, next);
    }

    async fn consume(&self, batch: &Batch) -> Result<(), StoreError> {
        for (record, summary) in self.0.decode::<WindowSummary>(batch) {
            self.0.store.upsert_summary(&summary).await?;
            self.0.written.inc();
            self.0
                .tell(FeedTopic::Windows, record, None, &Shown::from(summary));
        }
        Ok(())
    }
}

impl Writing {
    /// Decodes the events of the batch. Tombstones are skipped.
    fn decode<'a, T: DeserializeOwned>(&self, batch: &'a Batch) -> Vec<(&'a Received, T)> {
        let mut decoded = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            let Some(value) = &record.value else { continue };
            match serde_json::from_slice(value) {
                Ok(event) => decoded.push((record, event)),
                Err(error) => {
                    self.malformed.inc();
                    let partition = record.partition;
                    let offset = record.offset;
                    tracing::error!(%error, partition, offset, "a result cannot be decoded and is left out");
                }
            }
        }

        decoded
    }

    fn tell<T: serde::Serialize>(
        &self,
        topic: FeedTopic,
        record: &Received,
        user_id: Option<u64>,
        shown: &T,
    ) {
        let data = serde_json::to_string(shown).expect("events are plain data");
        self.feed
            .send(topic, (record.partition, record.offset), user_id, data);
    }
}

/// Returns the highest revision of each user and window.
fn newest(counts: &[(&Received, WindowCount)]) -> Vec<WindowCount> {
    let mut newest: HashMap<_, WindowCount> = HashMap::with_capacity(counts.len());
    for (_, count) in counts {
        let known = newest
            .entry((count.user_id, count.window_start))
            .or_insert_with(|| count.clone());
        if known.revision < count.revision {
            known.clone_from(count);
        }
    }

    newest.into_values().collect()
}
