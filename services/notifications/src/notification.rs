//! A notification: what one event told one user.

use events::{OrderCreated, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::template;

/// A notification as it is stored and shown.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Notification {
    /// The id of the event: one event, one notification.
    pub id: Uuid,
    /// Who is told.
    pub user_id: u64,
    /// The order it is about.
    pub order_id: u64,
    /// How it is told.
    pub channel: Channel,
    /// What became of it.
    pub status: Status,
    /// In a line.
    pub subject: String,
    /// At length.
    pub body: String,
    /// When the event happened.
    pub created_at: Timestamp,
    /// When it was told.
    pub sent_at: Option<Timestamp>,
}

/// A way to tell somebody something.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Into the mailbox at `GET /notifications`, and nowhere else.
    Simulated,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was told.
    Sent,
}

impl Notification {
    /// Tells of an order, by the simulated channel.
    pub fn simulated(order: &OrderCreated, now: Timestamp) -> Self {
        let message = template::order_created(order);
        Self {
            id: order.event_id,
            user_id: order.user_id,
            order_id: order.order_id,
            channel: Channel::Simulated,
            status: Status::Sent,
            subject: message.subject,
            body: message.body,
            created_at: order.created_at,
            sent_at: Some(now),
        }
    }
}
