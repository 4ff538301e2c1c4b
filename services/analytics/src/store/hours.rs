//! Merges past hours into finer buckets, so that the history of a user who orders rarely is read cheaply.
//!
//! The minutes of a bucket are many small chunks, because each is written when it comes. An hour that is over is written
//! once more: a chunk for an hour and a bucket so fine that the counts fill a write unit or two. A
//! history then reads 720 chunks for a month and not 43,200, and a tenth of the counts of others in each. Listings by
//! window still read the minutes, which expire as before.
//!
//! One item of the windows' table has the progress of merging ([`Hours`]):
//!
//! ```text
//! ───────────────── merged ──────────┬─ being merged ─┬──────── open ────────▶ time
//!      histories read the hours      │          histories read the minutes
//!                               merged_ms         closed_ms
//!      counts that arrive now are late                │  counts are timely
//! ```
//!
//! Nothing is missed, whatever the clocks show: `closed_ms` is stored before the hour's chunks are read, with consistent
//! reads. A writer reads `closed_ms` after its chunks are stored and before the batch is done. Either the
//! merge sees the chunks, or the writer sees the closed hour and writes its counts once more, as late. Histories read
//! all late counts.
//!
//! Merging may be repeated and may be done twice at once, since the chunks are the same. The claim only saves
//! the units of a second merge.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use events::{Timestamp, WindowCount};
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;

use super::buckets::{Bucket, HOUR_MS, Shelf, hash, level_for_hour};
use super::chunks::{Chunks, newest};
use super::rows::WindowRow;
use super::tables::{ALL_WINDOWS, WINDOWS};
use super::{Store, StoreError, WRITES_AT_ONCE, items, number};

/// The partition key of the item with the progress, whose sort key is 0.
const PROGRESS: &str = "hours";
/// The name of the writer in the keys of merged chunks. It is the same in all processes, so a repeated merge
/// replaces the chunks.
const WRITER: &str = "merged";
/// The time after the end of an hour until it is merged. Most corrections have arrived by then.
const AGE: Duration = Duration::from_secs(2 * 3_600);
/// The time for which a process claims the merging.
const CLAIM: Duration = Duration::from_secs(900);
/// The condition of a claim: no other process has one, and no hour was merged meanwhile.
const IS_FREE: &str = "(attribute_not_exists(claimed_until) OR claimed_until < :now OR claimed_by = :me) \
                       AND (attribute_not_exists(merged_ms) OR merged_ms = :merged)";

/// The progress of merging. Each time is the beginning of an hour, in milliseconds since 1970.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Hours {
    /// Counts of earlier windows are late.
    #[serde(default)]
    pub(super) closed_ms: u64,
    /// Histories read earlier windows by the hour.
    #[serde(default)]
    pub(super) merged_ms: u64,
    /// The levels of the merged hours.
    #[serde(default)]
    pub(super) levels: BTreeSet<u8>,
}

impl Store {
    /// Returns how far hours are merged. Writers and the merging itself need a consistent answer; histories do not, since
    /// the minutes of a merged hour are kept.
    pub(super) async fn hours(&self) -> Result<Hours, StoreError> {
        let query = self
            .client
            .query()
            .table_name(WINDOWS)
            .consistent_read(true)
            .key_condition_expression("series = :hours")
            .expression_attribute_values(":hours", AttributeValue::S(PROGRESS.to_owned()));
        let item = query.send().await?.items.unwrap_or_default().pop();
        Ok(match item {
            Some(item) => serde_dynamo::from_item(item)?,
            None => Hours::default(),
        })
    }

    /// Merges the oldest hour that is not merged, if it is long over. Returns whether it did, so there may be another.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read. The hour is merged the next time.
    pub async fn merge_next_hour(&self, now: Timestamp) -> Result<bool, StoreError> {
        let hours = self.hours().await?;
        let Some(first_ms) = self.first_window_from(hours.merged_ms).await? else {
            return Ok(false);
        };

        let hour = Timestamp::from_ms(first_ms / HOUR_MS * HOUR_MS);
        let end = hour.and_then(|hour| Timestamp::from_ms(hour.as_ms() + HOUR_MS));
        let (Some(hour), Some(end)) = (hour, end) else {
            return Ok(false);
        };
        let age_ms = u64::try_from(AGE.as_millis()).unwrap_or(u64::MAX);
        if now.as_ms().saturating_sub(end.as_ms()) < age_ms {
            return Ok(false);
        }

        if !self.close_hour(&hours, end, now).await? {
            return Ok(false);
        }
        let levels = self.levels_of_hour(hour).await?;
        let level = self.merge(hour, &levels).await?;
        self.finish_hour(&hours, end, level).await
    }

    /// Claims the merging, and has counts of windows before `end` be late from now on.
    async fn close_hour(
        &self,
        hours: &Hours,
        end: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let claim_ms = u64::try_from(CLAIM.as_millis()).unwrap_or(u64::MAX);
        let closed_ms = hours.closed_ms.max(end.as_ms());
        let update = self
            .client
            .update_item()
            .table_name(WINDOWS)
            .set_key(Some(progress_key()))
            .update_expression("SET closed_ms = :closed, claimed_by = :me, claimed_until = :until")
            .condition_expression(IS_FREE)
            .expression_attribute_values(":closed", number(closed_ms))
            .expression_attribute_values(":me", AttributeValue::S(self.writer.to_string()))
            .expression_attribute_values(":until", number(now.as_ms() + claim_ms))
            .expression_attribute_values(":now", number(now.as_ms()))
            .expression_attribute_values(":merged", number(hours.merged_ms))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let outcome = update.send().await;
        self.held(outcome, |done| done.consumed_capacity())
    }

    /// Has histories read windows before `end` by the hour, unless another process did so, and gives the claim up.
    async fn finish_hour(
        &self,
        hours: &Hours,
        end: Timestamp,
        level: Option<u8>,
    ) -> Result<bool, StoreError> {
        let mut update = self
            .client
            .update_item()
            .table_name(WINDOWS)
            .set_key(Some(progress_key()))
            .condition_expression("attribute_not_exists(merged_ms) OR merged_ms = :merged")
            .expression_attribute_values(":merged", number(hours.merged_ms))
            .expression_attribute_values(":end", number(end.as_ms()))
            .expression_attribute_values(":free", number(0))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);

        let mut changes = "SET merged_ms = :end, claimed_until = :free".to_owned();
        if let Some(level) = level {
            changes += " ADD levels :levels";
            let levels = AttributeValue::Ns(vec![level.to_string()]);
            update = update.expression_attribute_values(":levels", levels);
        }
        let outcome = update.update_expression(changes).send().await;
        self.held(outcome, |done| done.consumed_capacity())
    }

    /// Returns the start of the first window at or after this instant.
    async fn first_window_from(&self, from_ms: u64) -> Result<Option<u64>, StoreError> {
        let (first, _) = self.windows_from(from_ms, u64::MAX, None, Some(1)).await?;
        Ok(first.first().map(|window| window.window_start.as_ms()))
    }

    /// Returns the levels of the hour's timely chunks.
    async fn levels_of_hour(&self, hour: Timestamp) -> Result<BTreeSet<u8>, StoreError> {
        let last_ms = hour.as_ms() + HOUR_MS - 1;
        let mut levels = BTreeSet::new();
        let mut next = None;
        loop {
            let page = self.windows_from(hour.as_ms(), last_ms, next, None);
            let (windows, after) = page.await?;
            levels.extend(windows.into_iter().flat_map(|window| window.levels));
            if after.is_none() {
                return Ok(levels);
            }
            next = after;
        }
    }

    /// Returns a page of the windows that start in this range, oldest first, and where the next page begins.
    async fn windows_from(
        &self,
        from_ms: u64,
        upto_ms: u64,
        begin: Option<items::Item>,
        limit: Option<i32>,
    ) -> Result<(Vec<WindowRow>, Option<items::Item>), StoreError> {
        let query = self
            .client
            .query()
            .table_name(WINDOWS)
            .consistent_read(true)
            .key_condition_expression("series = :all AND window_start BETWEEN :from AND :upto")
            .expression_attribute_values(":all", AttributeValue::S(ALL_WINDOWS.to_owned()))
            .expression_attribute_values(":from", number(from_ms))
            .expression_attribute_values(":upto", number(upto_ms))
            .set_exclusive_start_key(begin)
            .set_limit(limit);

        let found = query.send().await?;
        let windows = serde_dynamo::from_items(found.items.unwrap_or_default())?;
        Ok((windows, found.last_evaluated_key))
    }

    /// Writes the timely counts of an hour once more, by fine buckets. Returns their level; none if there are no counts.
    ///
    /// It goes through the buckets of each level, the counts of coarser levels with those of the finer ones,
    /// so it holds the counts of a few buckets in memory.
    async fn merge(
        &self,
        hour: Timestamp,
        levels: &BTreeSet<u8>,
    ) -> Result<Option<u8>, StoreError> {
        let finest = levels.last().copied().unwrap_or(0);
        let mut chosen = None;
        let mut left = vec![(Bucket::of(Shelf::Timely, 0, 0), Vec::new())];
        while let Some((bucket, mut counts)) = left.pop() {
            if levels.contains(&bucket.level) {
                counts.extend(self.timely(bucket, hour).await?);
            }
            if bucket.level < finest {
                left.extend(bucket.split().map(|part| (part, of(part, &counts))));
                continue;
            }

            let counts = newest(counts);
            if !counts.is_empty() {
                // All buckets have about as many counts as this one.
                let all = counts.len() << (2 * u32::from(finest));
                let level = *chosen.get_or_insert_with(|| level_for_hour(all, finest));
                self.put_hour(level, counts).await?;
            }
        }
        Ok(chosen)
    }

    /// Returns the counts of a bucket's chunks whose windows start in this hour.
    async fn timely(
        &self,
        bucket: Bucket,
        hour: Timestamp,
    ) -> Result<Vec<WindowCount>, StoreError> {
        let query = self.query_chunks(bucket, hour.as_ms(), hour.as_ms() + HOUR_MS - 1);
        items::all(query.consistent_read(true)).await
    }

    async fn put_hour(&self, level: u8, counts: Vec<WindowCount>) -> Result<(), StoreError> {
        let mut chunks = Chunks::default();
        chunks.add_hour(level, counts);
        let items: Vec<_> = chunks
            .unsaved()
            .map(|chunk| items::item(chunk, WRITER, self.retention))
            .collect();
        futures::stream::iter(items)
            .map(|item| self.put_chunk(item))
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect()
            .await
    }
}

/// Returns those of the counts that are of the bucket's users.
fn of(bucket: Bucket, counts: &[WindowCount]) -> Vec<WindowCount> {
    let own = counts.iter();
    own.filter(|count| bucket.has(hash(count.user_id)))
        .cloned()
        .collect()
}

fn progress_key() -> items::Item {
    let series = AttributeValue::S(PROGRESS.to_owned());
    [
        ("series".to_owned(), series),
        ("window_start".to_owned(), number(0)),
    ]
    .into()
}
