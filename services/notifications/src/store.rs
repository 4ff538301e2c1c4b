//! The notifications in DynamoDB.
//!
//! Each notification is one item, keyed by event id. The write has the condition that no such item
//! exists, so an event that is delivered several times has one item. Two indexes list notifications,
//! newest first: `by-user`, and `by-day` for all users. A day is spread over [`SHARDS`] partitions,
//! because one DynamoDB partition accepts 1,000 writes a second. A page queries all of them and merges
//! the results. Both indexes sort by position: the time of the event, then its id. Items expire at the
//! end of their retention.
//!
//! The delivery state is stored in the notification's item only ([`progress`]). A notification that
//! is still to be sent has a second item in the same table, its errand, which contains the time of
//! the next attempt ([`errands`]).

mod errands;
mod progress;
mod tables;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
pub use chassis::dynamodb::StoreError;
use chassis::dynamodb::TableError;
pub use errands::{Errand, Shelf};
use events::Timestamp;
use futures::future::try_join_all;
pub use progress::{LeaseOutcome, Reopened};
use serde::{Deserialize, Serialize};
pub use tables::NOTIFICATIONS;
use uuid::Uuid;

use crate::notification::{Notification, Status};

/// Number of index partitions over which the notifications of one day spread.
const SHARDS: u8 = 4;
const DAY_MS: u64 = 24 * 3_600_000;
/// A position that sorts after all others.
const NEWEST: &str = "~";

/// The table of this service.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    retention: Duration,
}

/// A position in a list: it continues after this notification.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Position {
    created_at: Timestamp,
    position: String,
}

/// The result of storing a notification.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kept {
    /// The notification was stored.
    Now,
    /// The event had a notification already, with this status.
    Before(Status),
}

/// A notification in the form of an item.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    notification: &'a Notification,
    shelf: String,
    position: String,
    expires_at: u64,
}

impl Position {
    /// Returns the position after this notification.
    pub fn after(notification: &Notification) -> Self {
        Self {
            created_at: notification.created_at,
            position: position(notification),
        }
    }
}

impl Store {
    /// Creates a store on this client. Items are kept for `retention` after their event.
    pub fn new(client: Client, retention: Duration) -> Self {
        Self { client, retention }
    }

    /// Creates the table if it is missing.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn ensure_tables(&self) -> Result<(), TableError> {
        tables::ensure(&self.client).await
    }

    /// Stores a notification, unless its event has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep(&self, notification: &Notification) -> Result<Kept, StoreError> {
        let put = self
            .client
            .put_item()
            .table_name(NOTIFICATIONS)
            .set_item(Some(self.item(notification)?));
        let put = put.condition_expression("attribute_not_exists(id)");
        let put = put
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);

        match put.send().await.map_err(aws_sdk_dynamodb::Error::from) {
            Ok(_) => Ok(Kept::Now),
            Err(aws_sdk_dynamodb::Error::ConditionalCheckFailedException(refusal)) => {
                let known: Notification =
                    serde_dynamo::from_item(refusal.item.unwrap_or_default())?;
                Ok(Kept::Before(known.status))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the user's notifications after `after`, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of_user(
        &self,
        user_id: u64,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        let query = self.client.query().index_name(tables::BY_USER);
        let query = query.key_condition_expression("user_id = :key AND #position < :before");
        let query =
            query.expression_attribute_values(":key", AttributeValue::N(user_id.to_string()));
        newest_before(query, after, limit).await
    }

    /// Returns all notifications after `after`, newest first, at most `limit`. The list starts at
    /// `now` and goes back as far as the retention.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn all(
        &self,
        after: Option<&Position>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Notification>, StoreError> {
        let newest = after.map_or(now, |position| position.created_at).as_ms() / DAY_MS;
        let kept_days = self.retention.as_secs() / (DAY_MS / 1_000) + 1;
        let oldest = (now.as_ms() / DAY_MS).saturating_sub(kept_days);
        let mut found = Vec::new();

        for day in (oldest..=newest).rev() {
            found.extend(self.on_day(day, after, limit - found.len()).await?);
            if found.len() == limit {
                break;
            }
        }

        Ok(found)
    }

    /// Queries the shards of a day concurrently and merges their answers.
    async fn on_day(
        &self,
        day: u64,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        let shelves = try_join_all((0..SHARDS).map(|shard| {
            let query = self.client.query().index_name(tables::BY_DAY);
            let query = query.key_condition_expression("shelf = :key AND #position < :before");
            let query = query
                .expression_attribute_values(":key", AttributeValue::S(format!("{day}#{shard}")));
            newest_before(query, after, limit)
        }));
        let mut found = shelves.await?.concat();
        found.sort_by_cached_key(|notification| std::cmp::Reverse(position(notification)));
        found.truncate(limit);

        Ok(found)
    }

    fn item(
        &self,
        notification: &Notification,
    ) -> Result<HashMap<String, AttributeValue>, StoreError> {
        let day = notification.created_at.as_ms() / DAY_MS;
        Ok(serde_dynamo::to_item(Row {
            notification,
            shelf: format!("{day}#{}", shard(notification.id)),
            position: position(notification),
            expires_at: self.expires_at(notification),
        })?)
    }

    /// Returns the expiry time of this notification's items, in seconds since 1970.
    fn expires_at(&self, notification: &Notification) -> u64 {
        notification.created_at.as_ms() / 1_000 + self.retention.as_secs()
    }
}

fn shard(event_id: Uuid) -> u8 {
    event_id.as_bytes()[15] % SHARDS
}

/// Returns a string that sorts by the time of the event, then by its id.
fn position(notification: &Notification) -> String {
    format!(
        "{:015}#{}",
        notification.created_at.as_ms(),
        notification.id
    )
}

async fn newest_before(
    query: QueryFluentBuilder,
    after: Option<&Position>,
    limit: usize,
) -> Result<Vec<Notification>, StoreError> {
    let before = after.map_or(NEWEST, |after| &after.position);
    let query = query
        .table_name(NOTIFICATIONS)
        .scan_index_forward(false)
        .limit(i32::try_from(limit).unwrap_or(i32::MAX));
    let query = query.expression_attribute_names("#position", "position");
    let query = query.expression_attribute_values(":before", AttributeValue::S(before.to_owned()));
    let found = query.send().await?;

    Ok(serde_dynamo::from_items(found.items.unwrap_or_default())?)
}
