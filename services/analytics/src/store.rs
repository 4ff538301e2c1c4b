//! The counts in DynamoDB.
//!
//! `analytics-results` holds one count per user and window, keyed by user and window start, so that
//! the counts of one user are one query. All counts of a window arrive within about a second of its
//! end, and one DynamoDB partition takes 1,000 writes a second. The table's keys spread these
//! writes by user. The index by window, which `recent` reads, would collect them in one partition,
//! so the counts of a window are split over [`SHARDS`] shelves. A shelf is a partition key of the
//! index, `<window start>#<shard>`; the shard follows from the user id.
//!
//! `analytics-windows` holds one item per window: the shelves it uses, and its summary once that
//! has arrived. A window costs few writes, so all windows fit in one partition, ordered by time.
//! "The newest windows" and "the last hour" are then one query each. Tables are never scanned.
//! Items expire after the retention.
//!
//! Writes are upserts conditional on a higher revision, so they may be repeated and may arrive in
//! any order. `BatchWriteItem` has no conditions, so counts are written by single conditional puts,
//! [`WRITES_AT_ONCE`] at a time. These consume the same capacity, and running them concurrently
//! hides their latency.

mod query;
mod rows;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
pub use chassis::dynamodb::StoreError;
use chassis::dynamodb::{TableError, held};
use events::{Timestamp, WindowCount, WindowSummary};
use futures::{StreamExt, TryStreamExt};
pub use query::{Position, Starts};
use rows::{CountRow, SummaryRow};
pub use tables::{RESULTS, WINDOWS};

/// Number of index partitions that the counts of one window are split over. Each takes 1,000 writes
/// a second.
const SHARDS: u64 = 8;
/// Number of concurrent writes.
const WRITES_AT_ONCE: usize = 64;
/// Number of windows whose noted shelves are kept in memory; enough for all windows that are being
/// written.
const WINDOWS_REMEMBERED: usize = 1_024;
/// The condition of an upsert: there is no revision yet, or a lower one.
const IS_NEWER: &str = "attribute_not_exists(revision) OR revision < :revision";

/// Access to the tables of this service. Clones share one cache.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    retention: Duration,
    noted: Arc<Mutex<BTreeMap<Timestamp, BTreeSet<u64>>>>,
}

impl Store {
    /// Creates a store that uses this client. Items are kept for `retention` after the end of their
    /// window.
    pub fn new(client: Client, retention: Duration) -> Self {
        Self {
            client,
            retention,
            noted: Arc::default(),
        }
    }

    /// Returns the start of the retained time: windows that end after it are kept.
    pub fn kept_since(&self, now: Timestamp) -> Timestamp {
        let retention_ms = u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_ms(now.as_ms().saturating_sub(retention_ms)).unwrap_or(now)
    }

    /// Creates the missing tables.
    ///
    /// # Errors
    /// Returns [`TableError`] if a table cannot be created.
    pub async fn ensure_tables(&self) -> Result<(), TableError> {
        tables::ensure(&self.client).await
    }

    /// Writes the counts, except where a later revision is stored, and notes their windows.
    /// `counts` may contain only the highest revision of a user and window.
    ///
    /// # Errors
    /// Returns [`StoreError`] if a write failed. Some counts may have been written and are not
    /// rolled back; write all of them again.
    pub async fn upsert_counts(&self, counts: &[WindowCount]) -> Result<(), StoreError> {
        let writes =
            futures::stream::iter(counts.iter().cloned()).map(|count| self.upsert_count(count));
        writes
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect::<()>()
            .await?;

        let mut windows: BTreeMap<Timestamp, (Timestamp, BTreeSet<u64>)> = BTreeMap::new();
        for count in counts {
            let window = windows
                .entry(count.window_start)
                .or_insert((count.window_end, BTreeSet::new()));
            window.1.insert(shard(count.user_id));
        }

        for (start, (end, shards)) in windows {
            self.note_window(start, end, shards).await?;
        }

        Ok(())
    }

    async fn upsert_count(&self, count: WindowCount) -> Result<(), StoreError> {
        let revision = number(count.revision.into());
        let shelf = shelf(count.window_start, shard(count.user_id));
        let row = CountRow::new(count, shelf, self.retention);

        let put = self
            .client
            .put_item()
            .table_name(RESULTS)
            .set_item(Some(serde_dynamo::to_item(row)?));
        let put = put.condition_expression(IS_NEWER);
        let put = put.expression_attribute_values(":revision", revision);
        // A failed condition means that a newer revision is stored: nothing is left to do.
        held(put.send().await).map(drop)
    }

    /// Writes the summary of a window, unless a later revision is stored.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn upsert_summary(&self, summary: &WindowSummary) -> Result<(), StoreError> {
        let row: std::collections::HashMap<String, AttributeValue> =
            serde_dynamo::to_item(SummaryRow::new(summary, self.retention))?;
        let mut update = self
            .client
            .update_item()
            .table_name(WINDOWS)
            .set_key(Some(window_key(summary.window_start)));

        let mut changes = Vec::new();
        for (name, value) in row {
            changes.push(format!("#{name} = :{name}"));
            update = update.expression_attribute_values(format!(":{name}"), value);
            update = update.expression_attribute_names(format!("#{name}"), name);
        }

        let update = update
            .update_expression(format!("SET {}", changes.join(", ")))
            .condition_expression(IS_NEWER);
        held(update.send().await).map(drop)
    }

    /// Stores which shelves a window uses, unless this process has already done so.
    async fn note_window(
        &self,
        start: Timestamp,
        end: Timestamp,
        shards: BTreeSet<u64>,
    ) -> Result<(), StoreError> {
        if self
            .noted()
            .get(&start)
            .is_some_and(|noted| noted.is_superset(&shards))
        {
            return Ok(());
        }

        let expires_at = rows::expires_at(end, self.retention);
        let shelves = AttributeValue::Ns(shards.iter().map(u64::to_string).collect());
        let update = self
            .client
            .update_item()
            .table_name(WINDOWS)
            .set_key(Some(window_key(start)));

        let update = update.update_expression(
            "SET window_end = :end, expires_at = :expires_at ADD shards :shards",
        );
        let update = update.expression_attribute_values(":end", number(end.as_ms()));
        let update = update.expression_attribute_values(":expires_at", number(expires_at));

        update
            .expression_attribute_values(":shards", shelves)
            .send()
            .await?;

        let mut noted = self.noted();
        noted.entry(start).or_default().extend(shards);
        while noted.len() > WINDOWS_REMEMBERED {
            noted.pop_first();
        }

        Ok(())
    }

    fn noted(&self) -> std::sync::MutexGuard<'_, BTreeMap<Timestamp, BTreeSet<u64>>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shard(user_id: u64) -> u64 {
    user_id % SHARDS
}

fn shelf(window_start: Timestamp, shard: u64) -> String {
    format!("{}#{shard}", window_start.as_ms())
}

fn window_key(start: Timestamp) -> std::collections::HashMap<String, AttributeValue> {
    let series = AttributeValue::S(tables::ALL_WINDOWS.to_owned());
    [
        ("series".to_owned(), series),
        ("window_start".to_owned(), number(start.as_ms())),
    ]
    .into()
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}
