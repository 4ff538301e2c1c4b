//! The delivery state of a notification: leases, outcomes and reopening.
//!
//! Each step is one conditional update of the notification's item. Only one replica gets the lease. A
//! replica whose lease expired and was taken over can change nothing any more.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use events::Timestamp;
use uuid::Uuid;

use super::{NOTIFICATIONS, Store, StoreError};
use crate::notification::{Notification, Outcome, Status};

const IS_DUE: &str = "#status IN (:pending, :sending) AND #next_try_at <= :now";
const IS_MINE: &str = "#status = :sending AND #owner = :me AND #attempts = :leased";
const CAN_BE_OPENED: &str = "#status IN (:pending, :skipped, :dead)";

/// The outcome of [`Store::lease`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LeaseOutcome {
    /// The lease is granted, until its end.
    Granted(Box<Notification>),
    /// The notification is not due before this time.
    NotBefore(Timestamp),
    /// The notification is settled, with this status.
    Settled(Status),
    /// There is no such notification.
    Gone,
}

/// The result of reopening a notification.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reopened {
    /// It is pending.
    To(Box<Notification>),
    /// Its status does not allow it.
    NotFrom(Status),
    /// There is no such notification.
    Gone,
}

/// The current item, if there is one, when the condition of an update does not hold.
type Refused = Option<Notification>;

impl Store {
    /// Leases a notification to `owner` until `lease_end`, if it is due at `now`. Counts the
    /// attempt.
    ///
    /// # Errors
    /// [`StoreError`]; the lease may have been stored.
    pub async fn lease(
        &self,
        id: Uuid,
        owner: Uuid,
        now: Timestamp,
        lease_end: Timestamp,
    ) -> Result<LeaseOutcome, StoreError> {
        let changes = [
            ("status", Some(text(Status::Sending.name()))),
            ("owner", Some(text(&owner))),
            ("next_try_at", Some(text(&lease_end))),
        ];

        let update = self
            .change(id, changes, " ADD #attempts :one")
            .condition_expression(IS_DUE);
        let update = update.expression_attribute_names("#attempts", "attempts");
        let update = update.expression_attribute_values(":one", number(1));
        let update = update.expression_attribute_values(":pending", text(Status::Pending.name()));
        let update = update.expression_attribute_values(":sending", text(Status::Sending.name()));
        let update = update.expression_attribute_values(":now", text(&now));

        Ok(match send(update).await? {
            Ok(notification) => LeaseOutcome::Granted(Box::new(notification)),
            Err(None) => LeaseOutcome::Gone,
            Err(Some(held)) if held.status.is_open() => {
                LeaseOutcome::NotBefore(held.next_try_at.unwrap_or(now))
            }
            Err(Some(settled)) => LeaseOutcome::Settled(settled.status),
        })
    }

    /// Stores the outcome of an attempt. Returns `false` if the lease was lost in the meantime;
    /// then nothing is changed.
    ///
    /// # Errors
    /// [`StoreError`]; the outcome may have been stored.
    pub async fn settle(
        &self,
        leased: &Notification,
        owner: Uuid,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut changes = vec![
            ("status", Some(text(outcome.status().name()))),
            ("owner", None),
        ];

        match outcome {
            Outcome::Sent(channel) => changes.extend([
                ("channel", Some(text(channel.name()))),
                ("sent_at", Some(text(&now))),
                ("next_try_at", None),
                ("last_error", None),
            ]),
            Outcome::Again { at, error } => {
                changes.extend([
                    ("next_try_at", Some(text(at))),
                    ("last_error", Some(text(error))),
                ]);
            }
            Outcome::Skipped(reason) => {
                changes.extend([("next_try_at", None), ("last_error", Some(text(reason)))]);
            }
            Outcome::Dead(reason) => {
                changes.extend([("next_try_at", None), ("last_error", Some(text(reason)))]);
            }
        }

        let update = self
            .change(leased.id, changes, "")
            .condition_expression(IS_MINE);
        let update = update.expression_attribute_names("#attempts", "attempts");
        let update = update.expression_attribute_values(":sending", text(Status::Sending.name()));
        let update = update.expression_attribute_values(":me", text(&owner));
        let update = update.expression_attribute_values(":leased", number(leased.attempts));
        Ok(send(update).await?.is_ok())
    }

    /// Reopens a notification that was given up or skipped, or makes a pending one due at `now`.
    /// Its count of attempts is reset.
    ///
    /// # Errors
    /// [`StoreError`]; the notification may have been reopened.
    pub async fn reopen(&self, id: Uuid, now: Timestamp) -> Result<Reopened, StoreError> {
        let changes = [
            ("status", Some(text(Status::Pending.name()))),
            ("attempts", Some(number(0))),
            ("next_try_at", Some(text(&now))),
            ("owner", None),
        ];

        let update = self
            .change(id, changes, "")
            .condition_expression(CAN_BE_OPENED);
        let update = update.expression_attribute_values(":pending", text(Status::Pending.name()));
        let update = update.expression_attribute_values(":skipped", text(Status::Skipped.name()));
        let update = update.expression_attribute_values(":dead", text(Status::Dead.name()));

        Ok(match send(update).await? {
            Ok(notification) => Reopened::To(Box::new(notification)),
            Err(None) => Reopened::Gone,
            Err(Some(notification)) => Reopened::NotFrom(notification.status),
        })
    }

    /// Returns an update that sets these attributes and removes those without a value. Each is
    /// written as `#name`, in conditions too, because DynamoDB reserves many names.
    fn change(
        &self,
        id: Uuid,
        changes: impl IntoIterator<Item = (&'static str, Option<AttributeValue>)>,
        more: &str,
    ) -> UpdateItemFluentBuilder {
        let key = HashMap::from([("id".to_owned(), text(&id))]);
        let mut update = self
            .client
            .update_item()
            .table_name(NOTIFICATIONS)
            .set_key(Some(key));

        let mut set = Vec::new();
        let mut removed = Vec::new();
        for (name, value) in changes {
            update = update.expression_attribute_names(format!("#{name}"), name);
            match value {
                Some(value) => {
                    update = update.expression_attribute_values(format!(":new_{name}"), value);
                    set.push(format!("#{name} = :new_{name}"));
                }
                None => removed.push(format!("#{name}")),
            }
        }

        let remove = if removed.is_empty() {
            String::new()
        } else {
            format!(" REMOVE {}", removed.join(", "))
        };
        update.update_expression(format!("SET {}{remove}{more}", set.join(", ")))
    }
}

/// Returns the item after the update, or the current item when the condition does not hold.
async fn send(
    update: UpdateItemFluentBuilder,
) -> Result<Result<Notification, Refused>, StoreError> {
    let update = update.return_values(ReturnValue::AllNew);
    let update = update
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);

    match update.send().await.map_err(aws_sdk_dynamodb::Error::from) {
        Ok(updated) => Ok(Ok(serde_dynamo::from_item(
            updated.attributes.unwrap_or_default(),
        )?)),
        Err(aws_sdk_dynamodb::Error::ConditionalCheckFailedException(refusal)) => {
            let item = refusal.item.filter(|item| !item.is_empty());
            Ok(Err(item.map(serde_dynamo::from_item).transpose()?))
        }
        Err(error) => Err(error.into()),
    }
}

fn text(value: &(impl ToString + ?Sized)) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

fn number(value: u32) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
