//! Consumes the records of the two topics: decodes them, writes them, and sends them to the feed.
//!
//! The replicas share the writing: a record is written by the replica that owns its partition. Each replica also feeds
//! its own listeners, for which it reads all partitions once more, behind the writers ([`follower::Scope`]). A batch is
//! therefore first written, then its positions are stored, and then it is sent to listeners.
//!
//! A record that cannot be decoded is counted, logged as an error and skipped. The stream job wrote
//! it, so an operator must look into it, but stopping would not help.

use std::convert::Infallible;

use events::{WindowCount, WindowSummary};
use follower::{Batch, Consumer, Received};
use prometheus::IntCounter;
use record_log::Offset;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::feed::{Feed, FeedTopic};
use crate::http::Shown;
use crate::store::{Store, StoreError};

/// The parts that both writers use.
#[derive(Clone)]
pub struct Writing {
    /// The tables to write to.
    pub store: Store,
    /// Number of records written.
    pub written: IntCounter,
    /// Number of records that could not be decoded.
    pub malformed: IntCounter,
}

/// Writes what it consumes of `analytics-results`.
pub struct WritesCounts(pub Writing);

/// Writes what it consumes of `analytics-summaries`.
pub struct WritesSummaries(pub Writing);

/// Feeds the listeners with what it consumes of `analytics-results`.
pub struct FeedsCounts(pub Feed);

/// Feeds the listeners with what it consumes of `analytics-summaries`.
pub struct FeedsSummaries(pub Feed);

impl Consumer for WritesCounts {
    type Error = StoreError;

    async fn consume(&self, batch: &Batch) -> Result<(), StoreError> {
        let counts = self.0.decode::<WindowCount>(batch);
        self.0.store.upsert_counts(&counts).await?;
        self.0.written.inc_by(counts.len() as u64);
        Ok(())
    }
}

impl Consumer for WritesSummaries {
    type Error = StoreError;

    async fn consume(&self, batch: &Batch) -> Result<(), StoreError> {
        for summary in self.0.decode::<WindowSummary>(batch) {
            self.0.store.upsert_summary(&summary).await?;
            self.0.written.inc();
        }
        Ok(())
    }
}

impl Consumer for FeedsCounts {
    type Error = Infallible;

    fn opened(&self, next: &[(u32, Offset)]) {
        self.0.opened(FeedTopic::Counts, next);
    }

    async fn consume(&self, batch: &Batch) -> Result<(), Infallible> {
        for (record, count) in decoded::<WindowCount>(batch) {
            let user_id = Some(count.user_id);
            send(
                &self.0,
                FeedTopic::Counts,
                record,
                user_id,
                &Shown::from(count),
            );
        }
        Ok(())
    }
}

impl Consumer for FeedsSummaries {
    type Error = Infallible;

    fn opened(&self, next: &[(u32, Offset)]) {
        self.0.opened(FeedTopic::Windows, next);
    }

    async fn consume(&self, batch: &Batch) -> Result<(), Infallible> {
        for (record, summary) in decoded::<WindowSummary>(batch) {
            send(
                &self.0,
                FeedTopic::Windows,
                record,
                None,
                &Shown::from(summary),
            );
        }
        Ok(())
    }
}

impl Writing {
    /// Decodes the events of the batch, and counts those that cannot be decoded.
    fn decode<T: DeserializeOwned>(&self, batch: &Batch) -> Vec<T> {
        let mut events = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            match decode(record) {
                Some(Ok(event)) => events.push(event),
                Some(Err(error)) => {
                    self.malformed.inc();
                    let partition = record.partition;
                    let offset = record.offset;
                    tracing::error!(%error, partition, offset, "a result cannot be decoded and is left out");
                }
                None => {}
            }
        }

        events
    }
}

/// Returns the events of the batch that can be decoded.
fn decoded<T: DeserializeOwned>(batch: &Batch) -> impl Iterator<Item = (&Received, T)> {
    let records = batch.records.iter();
    records.filter_map(|record| Some((record, decode(record)?.ok()?)))
}

/// Decodes an event; none for a tombstone.
fn decode<T: DeserializeOwned>(record: &Received) -> Option<serde_json::Result<T>> {
    record.value.as_deref().map(serde_json::from_slice)
}

fn send<T: Serialize>(
    feed: &Feed,
    topic: FeedTopic,
    record: &Received,
    user_id: Option<u64>,
    shown: &T,
) {
    let data = serde_json::to_string(shown).expect("events are plain data");
    feed.send(topic, (record.partition, record.offset), user_id, data);
}
