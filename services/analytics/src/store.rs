//! The counts in DynamoDB.
//!
//! `analytics-results` holds a count per user and window, keyed by user and window start: what one user did is one query.
//! All counts of a window arrive within a second or so after its end, and one DynamoDB partition takes 1,000 writes a
//! second. By user they spread by themselves. By window, which `recent` reads, they would all meet in one partition of the
//! index, so a window's counts lie on [`SHARDS`] shelves (`<window start>#<shard>`, the shard by user id).
//!
//! `analytics-windows` holds an item per window: which shelves it uses, and its summary once that has come. A window
//! costs a handful of writes, so that all of them fit in one partition, in order of time, and "the newest windows" and "the
//! last hour" are one query each. Nothing here is ever scanned. Items expire with their retention.
//!
//! Writes are upserts that a lower or equal revision never wins: they may be repeated and arrive in any order.
//! `BatchWriteItem` knows no conditions, so counts are written by single conditional puts, [`WRITES_AT_ONCE`] at a time;
//! they cost the same capacity, and the latency is hidden.

mod query;
mod rows;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::AttributeValue;
use chassis::dynamodb::TableError;
use events::{Timestamp, WindowCount, WindowSummary};
use futures::{StreamExt, TryStreamExt};
pub use query::Position;
use rows::{CountRow, SummaryRow};
pub use tables::{RESULTS, WINDOWS};

/// Over how many partitions of the index the counts of one window spread: as many thousand writes a second.
const SHARDS: u64 = 8;
/// How many writes are under way at once.
const WRITES_AT_ONCE: usize = 64;
/// Of how many windows it is remembered that their shelves are noted; enough for all that are being written.
const WINDOWS_REMEMBERED: usize = 1_024;
/// An upsert of a revision.
const IS_NEWER: &str = "attribute_not_exists(revision) OR revision < :revision";

/// The tables of this service. Clones share what they remember.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    retention: Duration,
    noted: Arc<Mutex<BTreeMap<Timestamp, BTreeSet<u64>>>>,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB refused or did not answer; a write may have happened.
    #[error("DynamoDB failed: {}", chassis::in_one_line(&**.0))]
    DynamoDb(#[source] Box<aws_sdk_dynamodb::Error>),
    /// An item does not read as what it should be.
    #[error("an item cannot be read: {0}")]
    Unreadable(#[from] serde_dynamo::Error),
}

impl Store {
    /// The tables where this client finds them; what is written is kept for `retention` after its window's end.
    pub fn new(client: Client, retention: Duration) -> Self {
        Self {
            client,
            retention,
            noted: Arc::default(),
        }
    }

    /// Windows that end after this are kept.
    pub fn kept_since(&self, now: Timestamp) -> Timestamp {
        let retention_ms = u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_ms(now.as_ms().saturating_sub(retention_ms)).unwrap_or(now)
    }

    /// Creates the tables that are missing.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn ensure_tables(&self) -> Result<(), TableError> {
        tables::ensure(&self.client).await
    }

    /// Writes the counts, unless later revisions are there, and notes their windows. Of counts of the same user and
    /// window only the highest revision may be given.
    ///
    /// # Errors
    /// [`StoreError`]: some may have been written, none is taken back; write them all again.
    pub async fn upsert_counts(&self, counts: &[WindowCount]) -> Result<(), StoreError> {
        let writes =
            futures::stream::iter(counts.iter().copied()).map(|count| self.upsert_count(count));
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
        let row = CountRow::new(
            count,
            shelf(count.window_start, shard(count.user_id)),
            self.retention,
        );

        let put = self
            .client
            .put_item()
            .table_name(RESULTS)
            .set_item(Some(serde_dynamo::to_item(row)?));
        let put = put.condition_expression(IS_NEWER);
        let put = put.expression_attribute_values(":revision", number(count.revision.into()));
        unless_newer(put.send().await)
    }

    /// Writes the summary of a window, unless a later revision is there.
    ///
    /// # Errors
    /// [`StoreError`].
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
        unless_newer(update.send().await)
    }

    /// Notes which shelves a window uses, unless that was done before.
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
            .await
            .map_err(failed)?;

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

/// A write that lost to a newer revision has nothing left to do.
fn unless_newer<T, E>(outcome: Result<T, SdkError<E>>) -> Result<(), StoreError>
where
    aws_sdk_dynamodb::Error: From<SdkError<E>>,
{
    match outcome.map_err(aws_sdk_dynamodb::Error::from) {
        Ok(_) | Err(aws_sdk_dynamodb::Error::ConditionalCheckFailedException(_)) => Ok(()),
        Err(error) => Err(StoreError::DynamoDb(Box::new(error))),
    }
}

fn failed<E>(error: SdkError<E>) -> StoreError
where
    aws_sdk_dynamodb::Error: From<SdkError<E>>,
{
    StoreError::DynamoDb(Box::new(error.into()))
}
