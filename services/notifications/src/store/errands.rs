//! Errands: the notifications that are still to be sent, sorted by the time of their next attempt.
//!
//! An errand is an item beside its notification (`errand#<event id>`) and contains the record of
//! the event. Errands share the index `by-day` with the notifications, but have shelves of their own:
//! `due`, sorted by the time of the next attempt, and `dead` and `skipped`, for which no attempt is
//! planned. Errands therefore need no table or index of their own, and one query for each shard
//! returns the due ones.
//!
//! The notification is authoritative, not the errand. The errand is written after its notification,
//! and an open notification always has one. An errand that is found too early or too often is
//! harmless: it is moved to the shelf and time that its notification has. A move has the condition
//! that the errand is still where it was found, so two senders cannot undo each other's work.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chassis::dynamodb::held;
use events::Timestamp;
use follower::Received;
use futures::future::try_join_all;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::tables::BY_DAY;
use super::{NOTIFICATIONS, SHARDS, Store, StoreError, shard};
use crate::notification::Notification;

const PREFIX: &str = "errand#";

/// A list of errands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shelf {
    /// Errands with a time at which they become due.
    Due,
    /// Errands of notifications that are among the dead letters.
    Dead,
    /// Errands of notifications without a recipient.
    Skipped,
}

/// A notification that is to be sent.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The id of the notification.
    pub event_id: Uuid,
    /// The record of its event.
    pub record: Received,
    /// The position at which it was found.
    position: String,
}

#[derive(Deserialize, Serialize)]
struct Row {
    id: String,
    shelf: String,
    position: String,
    expires_at: u64,
    partition: u32,
    offset: u64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(String, Bytes)>,
}

/// Bytes that are stored as binary.
struct Bytes(Vec<u8>);

impl Store {
    /// Creates the notification's errand, unless it has one.
    ///
    /// # Errors
    /// [`StoreError`]; the errand may have been written.
    pub async fn ensure_errand(
        &self,
        notification: &Notification,
        record: &Received,
    ) -> Result<(), StoreError> {
        let at = notification.next_try_at.unwrap_or(notification.created_at);
        let bytes = |bytes: &Option<Vec<u8>>| bytes.clone().map(Bytes);
        let row = Row {
            id: format!("{PREFIX}{}", notification.id),
            shelf: Shelf::Due.of(notification.id),
            position: position(at, notification.id),
            expires_at: self.expires_at(notification),
            partition: record.partition,
            offset: record.offset,
            key: bytes(&record.key),
            value: bytes(&record.value),
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), Bytes(value.clone())))
                .collect(),
        };

        let put = self
            .client
            .put_item()
            .table_name(NOTIFICATIONS)
            .set_item(Some(serde_dynamo::to_item(row)?));

        held(
            put.condition_expression("attribute_not_exists(id)")
                .send()
                .await,
        )?;

        Ok(())
    }

    /// Returns the errands of this shelf that are due at `now`, the longest due first, at most
    /// `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn errands(
        &self,
        shelf: Shelf,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Errand>, StoreError> {
        let at_most = i32::try_from(limit).unwrap_or(i32::MAX);
        let shelves = try_join_all((0..SHARDS).map(|shard| {
            let query = self
                .client
                .query()
                .table_name(NOTIFICATIONS)
                .index_name(BY_DAY)
                .limit(at_most);
            let query = query.key_condition_expression("shelf = :shelf AND #position < :after_now");
            let query = query.expression_attribute_names("#position", "position");
            let query =
                query.expression_attribute_values(":shelf", AttributeValue::S(shelf.shard(shard)));

            query
                .expression_attribute_values(":after_now", AttributeValue::S(after(now)))
                .send()
        }));

        let mut found = Vec::new();
        for page in shelves.await? {
            let rows: Vec<Row> = serde_dynamo::from_items(page.items.unwrap_or_default())?;
            found.extend(rows.into_iter().filter_map(Row::into_errand));
        }

        found.sort_by(|one: &Errand, other| one.position.cmp(&other.position));
        found.truncate(limit);
        Ok(found)
    }

    /// Moves the errand to a shelf, unless another sender has moved it.
    ///
    /// # Errors
    /// [`StoreError`]; the errand may have been moved.
    pub async fn lay(
        &self,
        errand: &Errand,
        shelf: Shelf,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let update = self
            .move_errand(errand.event_id, shelf, at)
            .condition_expression("#position = :found");
        let update = update
            .expression_attribute_values(":found", AttributeValue::S(errand.position.clone()));
        held(update.send().await)?;

        Ok(())
    }

    /// Makes the notification's errand due, on any shelf. Returns `false` if there is
    /// none.
    ///
    /// # Errors
    /// [`StoreError`]; the errand may have been changed.
    pub async fn make_due(&self, event_id: Uuid, at: Timestamp) -> Result<bool, StoreError> {
        let update = self
            .move_errand(event_id, Shelf::Due, at)
            .condition_expression("attribute_exists(id)");
        held(update.send().await)
    }

    /// Deletes a completed errand, unless another sender has moved it. In that case it is found
    /// again and deleted then.
    ///
    /// # Errors
    /// [`StoreError`]; the errand may have been deleted.
    pub async fn finish(&self, errand: &Errand) -> Result<(), StoreError> {
        let delete = self
            .client
            .delete_item()
            .table_name(NOTIFICATIONS)
            .set_key(Some(key(errand.event_id)));
        let delete = delete.condition_expression("#position = :found");
        let delete = delete.expression_attribute_names("#position", "position");
        let delete = delete
            .expression_attribute_values(":found", AttributeValue::S(errand.position.clone()));
        held(delete.send().await)?;

        Ok(())
    }

    fn move_errand(
        &self,
        event_id: Uuid,
        shelf: Shelf,
        at: Timestamp,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        let update = self
            .client
            .update_item()
            .table_name(NOTIFICATIONS)
            .set_key(Some(key(event_id)));
        let update = update.update_expression("SET shelf = :shelf, #position = :position");
        let update = update.expression_attribute_names("#position", "position");
        let update =
            update.expression_attribute_values(":shelf", AttributeValue::S(shelf.of(event_id)));

        update.expression_attribute_values(":position", AttributeValue::S(position(at, event_id)))
    }
}

impl Shelf {
    fn of(self, event_id: Uuid) -> String {
        self.shard(shard(event_id))
    }

    fn shard(self, shard: u8) -> String {
        let name = match self {
            Self::Due => "due",
            Self::Dead => "dead",
            Self::Skipped => "skipped",
        };
        format!("{name}#{shard}")
    }
}

impl Row {
    fn into_errand(self) -> Option<Errand> {
        let event_id = self.id.strip_prefix(PREFIX)?.parse().ok()?;
        let record = Received {
            partition: self.partition,
            offset: self.offset,
            key: self.key.map(|Bytes(bytes)| bytes),
            value: self.value.map(|Bytes(bytes)| bytes),
            headers: self
                .headers
                .into_iter()
                .map(|(name, Bytes(value))| (name, value))
                .collect(),
        };

        Some(Errand {
            event_id,
            record,
            position: self.position,
        })
    }
}

fn key(event_id: Uuid) -> HashMap<String, AttributeValue> {
    [(
        "id".to_owned(),
        AttributeValue::S(format!("{PREFIX}{event_id}")),
    )]
    .into()
}

/// Returns a string that sorts by time, then by event id.
fn position(at: Timestamp, event_id: Uuid) -> String {
    format!("{:015}#{event_id}", at.as_ms())
}

/// Returns a string that sorts after every position up to `now`.
fn after(now: Timestamp) -> String {
    format!("{:015}", now.as_ms() + 1)
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Binary;
        impl Visitor<'_> for Binary {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Binary)
    }
}
