//! Errands: what is still to be sent, in the order of when to look at it.
//!
//! An errand is an item beside its notification (`errand#<event id>`) and holds the record that the event came in. It
//! lies on a shelf of the index `by-day`, like the notifications of a day: on `due` at the time it is to be looked at, on
//! `dead` or `skipped` when it is left alone. So no table and no index is needed for it, and what is due is one query.
//!
//! An errand decides nothing; the notification does. It is written after its notification, and while that is open there
//! is always one: looked at too early or too often it does no harm, it is put where it belongs. Whoever moves one moves it
//! from where it was found, so that two who look at the same do not undo each other's work.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::AttributeValue;
use events::Timestamp;
use follower::Received;
use futures::future::try_join_all;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::tables::BY_DAY;
use super::{NOTIFICATIONS, SHARDS, Store, StoreError, failed, shard};
use crate::notification::Notification;

const PREFIX: &str = "errand#";

/// Where errands lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shelf {
    /// To be looked at when its time has come.
    Due,
    /// Its notification is among the dead letters.
    Dead,
    /// Nobody is there to be told.
    Skipped,
}

/// Something to be sent.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The notification.
    pub event_id: Uuid,
    /// What its event came in.
    pub record: Received,
    /// Where it was found.
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

/// Bytes that are kept as bytes.
struct Bytes(Vec<u8>);

impl Store {
    /// Sees to it that the notification has an errand.
    ///
    /// # Errors
    /// [`StoreError`]; it may have one.
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

        if_it_holds(
            put.condition_expression("attribute_not_exists(id)")
                .send()
                .await,
        )?;

        Ok(())
    }

    /// The errands of this shelf whose time has come at `now`, the longest due first, at most `limit`.
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
        for page in shelves.await.map_err(failed)? {
            let rows: Vec<Row> = serde_dynamo::from_items(page.items.unwrap_or_default())?;
            found.extend(rows.into_iter().filter_map(Row::into_errand));
        }

        found.sort_by(|one: &Errand, other| one.position.cmp(&other.position));
        found.truncate(limit);
        Ok(found)
    }

    /// Lays the errand where it belongs, unless somebody else has moved it.
    ///
    /// # Errors
    /// [`StoreError`]; it may lie there.
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
        if_it_holds(update.send().await)?;

        Ok(())
    }

    /// Makes the notification's errand due, wherever it lies. Says whether there is one.
    ///
    /// # Errors
    /// [`StoreError`]; it may be due.
    pub async fn make_due(&self, event_id: Uuid, at: Timestamp) -> Result<bool, StoreError> {
        let update = self
            .move_errand(event_id, Shelf::Due, at)
            .condition_expression("attribute_exists(id)");
        if_it_holds(update.send().await)
    }

    /// Takes the errand away: it is done. Unless somebody else has moved it; then it is found again, and taken away then.
    ///
    /// # Errors
    /// [`StoreError`]; it may be gone.
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
        if_it_holds(delete.send().await)?;

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

/// Whether the write's condition held.
fn if_it_holds<T, E>(outcome: Result<T, SdkError<E>>) -> Result<bool, StoreError>
where
    aws_sdk_dynamodb::Error: From<SdkError<E>>,
{
    match outcome.map_err(aws_sdk_dynamodb::Error::from) {
        Ok(_) => Ok(true),
        Err(aws_sdk_dynamodb::Error::ConditionalCheckFailedException(_)) => Ok(false),
        Err(error) => Err(StoreError::DynamoDb(Box::new(error))),
    }
}

fn key(event_id: Uuid) -> HashMap<String, AttributeValue> {
    [(
        "id".to_owned(),
        AttributeValue::S(format!("{PREFIX}{event_id}")),
    )]
    .into()
}

/// Sorts as the time does, then by event id.
fn position(at: Timestamp, event_id: Uuid) -> String {
    format!("{:015}#{event_id}", at.as_ms())
}

/// Comes after every position up to `now`.
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
