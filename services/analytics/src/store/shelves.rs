//! Reads the counts that versions before the chunks have written, until they expire.
//!
//! They are in the table `analytics-results`, an item for each user and window. The index by window
//! has them on shelves, `<window start>#<shard>`; the window's item names the shards that it uses.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use events::{Timestamp, WindowCount};
use futures::future::try_join_all;

use super::by_window::Starts;
use super::items::Page;
use super::rows::CountRow;
use super::tables::{BY_WINDOW, RESULTS};
use super::{Store, StoreError, as_limit, number};

impl Store {
    /// Returns the next page of the user's counts in the range, newest first.
    pub(super) async fn rows_of(
        &self,
        user_id: u64,
        starts: Starts,
        begin: Option<HashMap<String, AttributeValue>>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let query = self
            .client
            .query()
            .table_name(RESULTS)
            .scan_index_forward(false)
            .set_exclusive_start_key(begin);
        let found = query
            .key_condition_expression("user_id = :user AND window_start BETWEEN :from AND :upto")
            .expression_attribute_values(":user", number(user_id))
            .expression_attribute_values(":from", number(starts.from.as_ms()))
            .expression_attribute_values(":upto", number(starts.upto_ms().unwrap_or(0)))
            .limit(as_limit(limit))
            .send()
            .await?;

        let counts = counts(found.items.unwrap_or_default())?;
        let oldest = counts.last().map(|count| count.window_start.as_ms());
        Ok(Page {
            counts,
            read_to_ms: oldest,
            next: found.last_evaluated_key,
        })
    }

    /// Returns the counts of a window that are on these shelves.
    pub(super) async fn on_shelves(
        &self,
        window_start: Timestamp,
        shards: &[u64],
    ) -> Result<Vec<WindowCount>, StoreError> {
        let shelves = shards.iter().map(|shard| {
            let shelf = format!("{}#{shard}", window_start.as_ms());
            self.on_shelf(shelf)
        });
        Ok(try_join_all(shelves).await?.concat())
    }

    async fn on_shelf(&self, shelf: String) -> Result<Vec<WindowCount>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(RESULTS)
            .index_name(BY_WINDOW)
            .key_condition_expression("shelf = :shelf")
            .expression_attribute_values(":shelf", AttributeValue::S(shelf));

        let mut items = Vec::new();
        let mut next = None;
        loop {
            let found = query.clone().set_exclusive_start_key(next).send().await?;
            items.extend(found.items.unwrap_or_default());
            next = found.last_evaluated_key;
            if next.is_none() {
                return counts(items);
            }
        }
    }
}

fn counts(items: Vec<HashMap<String, AttributeValue>>) -> Result<Vec<WindowCount>, StoreError> {
    let rows: Vec<CountRow> = serde_dynamo::from_items(items)?;
    Ok(rows.into_iter().map(CountRow::into_count).collect())
}
