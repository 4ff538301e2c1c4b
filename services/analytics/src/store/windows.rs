//! Reads the windows and their summaries with queries, never scans.

use aws_sdk_dynamodb::types::AttributeValue;
use events::{Timestamp, WindowSummary};

use super::rows::WindowRow;
use super::tables::{ALL_WINDOWS, WINDOWS};
use super::{Store, StoreError, as_limit, number};

/// Number of windows read by one query.
pub(super) const WINDOWS_PAGE: usize = 50;
/// Largest number of pages in which the newest summary is looked for: of sessions, it may be a day of minutes older
/// than the newest window.
const LOOK_BACK_PAGES: usize = 30;

impl Store {
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

    /// Returns the summaries among the newest `limit` windows, newest first. If none of these has a summary, which
    /// is so while a sum of sessions is older than many sessions, it looks through earlier windows, up to
    /// [`LOOK_BACK_PAGES`] of as many.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn newest_summaries(&self, limit: usize) -> Result<Vec<WindowSummary>, StoreError> {
        let mut upto = u64::MAX;
        for _ in 0..LOOK_BACK_PAGES {
            let page = self.windows_upto(upto, limit).await?;
            let oldest = page.last().map(|oldest| oldest.window_start.as_ms());
            let summaries: Vec<_> = page
                .into_iter()
                .filter_map(WindowRow::into_summary)
                .collect();

            match oldest.and_then(|oldest| oldest.checked_sub(1)) {
                Some(before) if summaries.is_empty() => upto = before,
                _ => return Ok(summaries),
            }
        }

        Ok(Vec::new())
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

    /// Returns the end of the newest window that has a summary, as far as [`Self::newest_summaries`] looks back.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn newest_summary_end(&self) -> Result<Option<Timestamp>, StoreError> {
        let newest = self.newest_summaries(WINDOWS_PAGE).await?;
        Ok(newest.first().map(|summary| summary.window_end))
    }

    /// Returns a page of at most `limit` windows that start at or before `upto_ms`, newest first.
    pub(super) async fn windows_upto(
        &self,
        upto_ms: u64,
        limit: usize,
    ) -> Result<Vec<WindowRow>, StoreError> {
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
}
