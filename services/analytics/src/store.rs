//! The counts in DynamoDB.
//!
//! `analytics-counts` holds the counts, many to an item, because DynamoDB bills an item and not a count. The counts that
//! are written together and belong to the same bucket of users (`buckets`) and the same time are a chunk
//! (`chunks`), packed to less than ten bytes each (`packed`, `items`):
//!
//! ```text
//! key                                           attributes
//! user_bucket "1024#17" · chunk "<minute>#<writer>#3"    rows (bytes) · version · expires_at
//! ```
//!
//! So the counts of a user are a query of each level (`by_user`), and those of a window a query of each
//! bucket that a page needs (`by_window`). No partition has more than a bucket's share of the writes.
//!
//! A past hour is written once more, by finer buckets, so that a long history reads few chunks (`hours`).
//!
//! `analytics-windows` holds one item per window: its summary once that has arrived, and with the item of
//! a whole minute the levels that have its counts. A window costs few writes, so all windows fit in one
//! partition, ordered by time (`windows`). "The newest windows" and "the last hour" are then one query
//! each. Tables are never scanned. Items expire after the retention.
//!
//! `analytics-results` has the counts that earlier versions wrote, an item for each, until they expire
//! (`shelves`). It is read, and no longer written.
//!
//! All writes may be repeated and may arrive in any order. A summary is an upsert conditional on a higher revision. A
//! chunk has one writer and is conditional on a higher version; of the chunks that have a count, readers take the
//! highest revision. `BatchWriteItem` has no conditions, so chunks are written by single conditional
//! puts, [`WRITES_AT_ONCE`] at a time. These consume the same capacity, and running them concurrently
//! hides their latency.

mod buckets;
mod packed;

mod chunks;
mod items;
mod rows;
mod tables;

mod hours;

mod by_user;
mod by_window;
mod shelves;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, ConsumedCapacity, ReturnConsumedCapacity};
pub use by_window::{Position, Starts};
pub use chassis::dynamodb::StoreError;
use chassis::dynamodb::TableError;
use events::{Timestamp, WindowCount, WindowSummary};
use futures::{StreamExt, TryStreamExt};
use prometheus::Counter;
use tokio::sync::Mutex;
use uuid::Uuid;

use buckets::{Shelf, minute_ms};
use chunks::{Chunk, Chunks};
use hours::Hours;
use rows::SummaryRow;
pub use tables::{COUNTS, RESULTS, WINDOWS};

/// Number of concurrent writes.
const WRITES_AT_ONCE: usize = 64;
/// Number of minutes whose noted levels are kept in memory; enough for all that are being
/// written.
const MINUTES_REMEMBERED: usize = 1_024;
/// The condition of an upsert: there is no revision yet, or a lower one.
const IS_NEWER: &str = "attribute_not_exists(revision) OR revision < :revision";

/// Access to the tables of this service. Clones share what they have written lately.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    retention: Duration,
    /// The write units that DynamoDB has counted for this process.
    units: Counter,
    /// The name in the keys of this process's chunks.
    writer: Arc<str>,
    /// Held while counts are written, so that a chunk has one writer.
    writing: Arc<Mutex<Writing>>,
}

/// What this process has written lately.
#[derive(Debug, Default)]
struct Writing {
    chunks: Chunks,
    noted: BTreeMap<Timestamp, Noted>,
    /// The closed hours, as last read.
    hours: Hours,
}

/// A minute in which windows start, as its item has it.
#[derive(Clone, Debug)]
struct Noted {
    start: Timestamp,
    /// The end of the window that ends last.
    end: Timestamp,
    levels: BTreeSet<u8>,
    late_levels: BTreeSet<u8>,
    has_inner: bool,
}

impl Store {
    /// Creates a store that uses this client, and adds the write units that it takes to `units`. Items are kept
    /// for `retention` after the end of their window.
    pub fn new(client: Client, retention: Duration, units: Counter) -> Self {
        let writer = format!("{:016x}", Uuid::new_v4().as_u64_pair().1);
        Self {
            client,
            retention,
            units,
            writer: writer.into(),
            writing: Arc::default(),
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

    /// Writes the counts to chunks, and notes the chunks' levels with the minutes of the windows. Counts of an
    /// hour that was closed meanwhile are written once more, as late ones (`hours`).
    ///
    /// # Errors
    /// Returns [`StoreError`] if a write failed. Some counts may have been written and are not
    /// rolled back; write all of them again.
    pub async fn upsert_counts(&self, counts: &[WindowCount]) -> Result<(), StoreError> {
        let mut writing = self.writing.lock().await;
        let closed_ms = writing.hours.closed_ms;
        writing.chunks.add(counts, closed_ms);
        self.write_unsaved(&mut writing).await?;

        writing.hours = self.hours().await?;
        let closed_ms = writing.hours.closed_ms;
        let overtaken = writing.chunks.overtaken(closed_ms);
        if !overtaken.is_empty() {
            writing.chunks.add(&overtaken, closed_ms);
            self.write_unsaved(&mut writing).await?;
        }
        writing.chunks.note_saved();
        Ok(())
    }

    async fn write_unsaved(&self, writing: &mut Writing) -> Result<(), StoreError> {
        let items: Vec<_> = writing
            .chunks
            .unsaved()
            .map(|chunk| items::item(chunk, &self.writer, self.retention))
            .collect();
        futures::stream::iter(items)
            .map(|item| self.put_chunk(item))
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect::<()>()
            .await?;

        for minute in minutes(writing.chunks.unsaved()) {
            if !writing.has_noted(&minute) {
                self.note_minute(&minute).await?;
                writing.note(minute);
            }
        }
        Ok(())
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
            .condition_expression(IS_NEWER)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let outcome = update.send().await;
        self.held(outcome, |done| done.consumed_capacity())
            .map(drop)
    }

    /// Stores in which levels a minute has chunks. The end of a window with a summary is not changed.
    async fn note_minute(&self, minute: &Noted) -> Result<(), StoreError> {
        let mut changes =
            "SET window_end = if_not_exists(window_end, :end), expires_at = :expires_at".to_owned();
        if minute.has_inner {
            changes += ", has_inner = :has_inner";
        }

        let sets = [
            (":levels", &minute.levels),
            (":late_levels", &minute.late_levels),
        ];
        let sets = sets.into_iter().filter(|(_, levels)| !levels.is_empty());
        let added: Vec<_> = sets
            .clone()
            .map(|(name, _)| format!("{} {name}", &name[1..]))
            .collect();
        changes += &format!(" ADD {}", added.join(", "));

        let expires_at = rows::expires_at(minute.end, self.retention);
        let mut update = self
            .client
            .update_item()
            .table_name(WINDOWS)
            .set_key(Some(window_key(minute.start)))
            .update_expression(changes)
            .expression_attribute_values(":end", number(minute.end.as_ms()))
            .expression_attribute_values(":expires_at", number(expires_at));
        for (name, levels) in sets {
            let levels = levels.iter().map(u8::to_string).collect();
            update = update.expression_attribute_values(name, AttributeValue::Ns(levels));
        }
        if minute.has_inner {
            update = update.expression_attribute_values(":has_inner", AttributeValue::Bool(true));
        }
        let update = update.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let outcome = update.send().await;
        self.held(outcome, |done| done.consumed_capacity())
            .map(drop)
    }

    /// Returns whether the condition of a write held, and counts the units that it took.
    fn held<T, E>(
        &self,
        outcome: Result<T, SdkError<E>>,
        consumed: impl FnOnce(&T) -> Option<&ConsumedCapacity>,
    ) -> Result<bool, StoreError>
    where
        aws_sdk_dynamodb::Error: From<SdkError<E>>,
    {
        let units = outcome.as_ref().ok().and_then(consumed);
        let units = units.and_then(ConsumedCapacity::capacity_units);
        self.units.inc_by(units.unwrap_or(0.0));
        chassis::dynamodb::held(outcome)
    }
}

impl Writing {
    fn has_noted(&self, minute: &Noted) -> bool {
        self.noted.get(&minute.start).is_some_and(|noted| {
            noted.levels.is_superset(&minute.levels)
                && noted.late_levels.is_superset(&minute.late_levels)
                && (noted.has_inner || !minute.has_inner)
        })
    }

    fn note(&mut self, minute: Noted) {
        let noted = self
            .noted
            .entry(minute.start)
            .or_insert_with(|| minute.clone());
        noted.levels.extend(minute.levels);
        noted.late_levels.extend(minute.late_levels);
        noted.has_inner |= minute.has_inner;
        while self.noted.len() > MINUTES_REMEMBERED {
            self.noted.pop_first();
        }
    }
}

/// Returns the minutes of the counts in these chunks.
fn minutes<'a>(chunks: impl Iterator<Item = &'a Chunk>) -> Vec<Noted> {
    let mut minutes: BTreeMap<Timestamp, Noted> = BTreeMap::new();
    for chunk in chunks {
        for count in chunk.counts() {
            let start_ms = minute_ms(count.window_start);
            let start = Timestamp::from_ms(start_ms).unwrap_or(count.window_start);
            let minute = minutes.entry(start).or_insert_with(|| Noted {
                start,
                end: count.window_end,
                levels: BTreeSet::new(),
                late_levels: BTreeSet::new(),
                has_inner: false,
            });
            minute.end = minute.end.max(count.window_end);
            match chunk.bucket().shelf {
                Shelf::Late => minute.late_levels.insert(chunk.bucket().level),
                Shelf::Timely | Shelf::Hours => minute.levels.insert(chunk.bucket().level),
            };
            minute.has_inner |= count.window_start != start;
        }
    }

    minutes.into_values().collect()
}

fn window_key(start: Timestamp) -> std::collections::HashMap<String, AttributeValue> {
    let series = AttributeValue::S(tables::ALL_WINDOWS.to_owned());
    [
        ("series".to_owned(), series),
        ("window_start".to_owned(), number(start.as_ms())),
    ]
    .into()
}

fn as_limit(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX).max(1)
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}
