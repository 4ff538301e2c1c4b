//! Reads the counts with queries, never scans.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use events::{Timestamp, WindowCount, WindowSummary};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::rows::{CountRow, WindowRow};
use super::tables::{ALL_WINDOWS, BY_WINDOW, RESULTS, WINDOWS};
use super::{Store, StoreError, number, shard, shelf};

/// Number of windows read by one query.
const WINDOWS_PAGE: usize = 50;

/// A position in a list of counts: the count after which it continues. Windows are listed newest
/// first; within a window, shelf by shelf.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Position {
    window_start_ms: u64,
    user_id: u64,
}

/// A range of windows: those that start from `from` on and before `to`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Starts {
    /// The first instant of the range.
    pub from: Timestamp,
    /// The first instant after the range; none if the range has no end.
    pub to: Option<Timestamp>,
}

impl Starts {
    /// Returns the last millisecond of the range, or none if the range is empty.
    fn upto_ms(self) -> Option<u64> {
        let upto_ms = self
            .to
            .map_or(Some(u64::MAX), |to| to.as_ms().checked_sub(1))?;
        (self.from.as_ms() <= upto_ms).then_some(upto_ms)
    }

    /// Returns the part of the range that starts before `to`.
    pub fn before(self, to: Timestamp) -> Self {
        let to = self.to.map_or(to, |end| end.min(to));
        Self {
            to: Some(to),
            ..self
        }
    }
}

impl Position {
    /// Returns the start of the window that the position lies in.
    pub fn window_start(&self) -> Option<Timestamp> {
        Timestamp::from_ms(self.window_start_ms)
    }

    /// Returns the position after this count.
    pub fn after(count: &WindowCount) -> Self {
        Self {
            window_start_ms: count.window_start.as_ms(),
            user_id: count.user_id,
        }
    }
}

impl Store {
    /// Returns at most `limit` counts of the range, newest window first.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn recent(
        &self,
        starts: Starts,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<WindowCount>, StoreError> {
        let mut found = Vec::new();
        let Some(newest) = starts.upto_ms() else {
            return Ok(found);
        };

        let mut upto = after.map_or(newest, |position| position.window_start_ms.min(newest));
        loop {
            let windows = self.windows_upto(upto, WINDOWS_PAGE).await?;
            for window in &windows {
                if window.window_start < starts.from {
                    return Ok(found);
                }

                let begun = after
                    .filter(|position| position.window_start_ms == window.window_start.as_ms());
                let room = limit - found.len();

                found.extend(
                    self.window(window, begun.map(|position| position.user_id), room)
                        .await?,
                );

                if found.len() == limit {
                    return Ok(found);
                }
            }

            match windows
                .last()
                .and_then(|oldest| oldest.window_start.as_ms().checked_sub(1))
            {
                Some(before) if windows.len() == WINDOWS_PAGE => upto = before,
                _ => return Ok(found),
            }
        }
    }

    /// Returns at most `limit` counts of the user in the range, newest window first.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn of_user(
        &self,
        user_id: u64,
        starts: Starts,
        limit: usize,
    ) -> Result<Vec<WindowCount>, StoreError> {
        let Some(upto_ms) = starts.upto_ms() else {
            return Ok(Vec::new());
        };

        let query = self
            .client
            .query()
            .table_name(RESULTS)
            .scan_index_forward(false);
        let query = query
            .key_condition_expression("user_id = :user AND window_start BETWEEN :from AND :upto")
            .expression_attribute_values(":user", number(user_id))
            .expression_attribute_values(":from", number(starts.from.as_ms()))
            .expression_attribute_values(":upto", number(upto_ms));
        counts(query, limit).await
    }

    /// Returns the summaries of windows that end after `since`, newest first.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn summaries_since(
        &self,
        since: Timestamp,
    ) -> Result<Vec<WindowSummary>, StoreError> {
        self.summaries(since, u64::MAX).await
    }

    /// Returns the summaries of windows that end after `from` and start before `to`, newest first.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn summaries_between(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<WindowSummary>, StoreError> {
        self.summaries(from, to.as_ms().saturating_sub(1)).await
    }

    async fn summaries(
        &self,
        since: Timestamp,
        upto: u64,
    ) -> Result<Vec<WindowSummary>, StoreError> {
        let mut found = Vec::new();
        self.for_each_upto(since, upto, |summary| found.push(summary))
            .await?;
        Ok(found)
    }

    /// Passes the summaries of windows that end after `from` and start before `to`, newest first.
    /// It holds one page of them in memory.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn for_each_summary(
        &self,
        from: Timestamp,
        to: Timestamp,
        each: impl FnMut(WindowSummary),
    ) -> Result<(), StoreError> {
        self.for_each_upto(from, to.as_ms().saturating_sub(1), each)
            .await
    }

    async fn for_each_upto(
        &self,
        since: Timestamp,
        mut upto: u64,
        mut each: impl FnMut(WindowSummary),
    ) -> Result<(), StoreError> {
        loop {
            let windows = self.windows_upto(upto, usize::MAX).await?;
            let oldest = windows
                .last()
                .and_then(|oldest| oldest.window_start.as_ms().checked_sub(1));
            let is_last = windows
                .last()
                .is_none_or(|oldest| oldest.window_end <= since);
            let wanted = windows
                .into_iter()
                .take_while(|window| window.window_end > since);
            wanted
                .filter_map(WindowRow::into_summary)
                .for_each(&mut each);

            match oldest {
                Some(before) if !is_last => upto = before,
                _ => return Ok(()),
            }
        }
    }

    /// Returns the summaries among the newest `limit` windows, newest first.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn newest_summaries(&self, limit: usize) -> Result<Vec<WindowSummary>, StoreError> {
        let newest = self.windows_upto(u64::MAX, limit).await?;
        Ok(newest
            .into_iter()
            .filter_map(WindowRow::into_summary)
            .collect())
    }

    /// Returns the end of the newest window that has counts or a summary.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn newest_window_end(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self
            .windows_upto(u64::MAX, 1)
            .await?
            .first()
            .map(|window| window.window_end))
    }

    /// Returns the end of the newest window that has a summary, among the newest 50 windows
    /// (`WINDOWS_PAGE`).
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn newest_summary_end(&self) -> Result<Option<Timestamp>, StoreError> {
        let newest = self.windows_upto(u64::MAX, WINDOWS_PAGE).await?;
        Ok(newest
            .into_iter()
            .find_map(WindowRow::into_summary)
            .map(|summary| summary.window_end))
    }

    /// Returns a page of at most `limit` windows that start at or before `upto_ms`, newest first.
    async fn windows_upto(&self, upto_ms: u64, limit: usize) -> Result<Vec<WindowRow>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(WINDOWS)
            .scan_index_forward(false);
        let query = query.key_condition_expression("series = :all AND window_start <= :upto");
        let query =
            query.expression_attribute_values(":all", AttributeValue::S(ALL_WINDOWS.to_owned()));
        let query = query.expression_attribute_values(":upto", number(upto_ms));
        let found = query.limit(as_limit(limit)).send().await?;

        Ok(serde_dynamo::from_items(found.items.unwrap_or_default())?)
    }

    /// Returns at most `limit` counts of a window, after that of `after_user`. Its shelves are
    /// queried concurrently.
    async fn window(
        &self,
        window: &WindowRow,
        after_user: Option<u64>,
        limit: usize,
    ) -> Result<Vec<WindowCount>, StoreError> {
        let first = after_user.map_or(0, shard);
        let mut shards: Vec<u64> = window
            .shards
            .iter()
            .copied()
            .filter(|shard| *shard >= first)
            .collect();
        shards.sort_unstable();

        let shelves = try_join_all(shards.into_iter().map(|number| {
            let after = after_user.filter(|user_id| shard(*user_id) == number);
            self.on_shelf(shelf(window.window_start, number), after, limit)
        }));
        let mut counts = shelves.await?.concat();
        counts.truncate(limit);

        Ok(counts)
    }

    async fn on_shelf(
        &self,
        shelf: String,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<WindowCount>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(RESULTS)
            .index_name(BY_WINDOW);
        let query = query.expression_attribute_values(":shelf", AttributeValue::S(shelf));

        let query = match after {
            None => query.key_condition_expression("shelf = :shelf"),
            Some(user_id) => query
                .key_condition_expression("shelf = :shelf AND user_id > :after")
                .expression_attribute_values(":after", number(user_id)),
        };
        counts(query, limit).await
    }
}

async fn counts(query: QueryFluentBuilder, limit: usize) -> Result<Vec<WindowCount>, StoreError> {
    let found = query.limit(as_limit(limit)).send().await?;
    let rows: Vec<CountRow> = serde_dynamo::from_items(found.items.unwrap_or_default())?;
    Ok(rows.into_iter().map(CountRow::into_count).collect())
}

fn as_limit(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX).max(1)
}
