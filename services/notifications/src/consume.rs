//! Consumes the records of `orders`: decodes them, stores notifications, and sends undecodable
//! records to the dead letters.
//!
//! On the simulated channel, storing a notification delivers it. That is one write, so it happens
//! exactly once. Any other channel also needs an errand for the sender, which is written after the
//! notification. If the process dies between the two writes, the record's position is not stored yet,
//! so the record is consumed again and the errand is written then.

use std::sync::Arc;

use chassis::TRACEPARENT;
use chassis::span::of_record;
use events::ORDERS;
use follower::{Batch, Consumer, Received};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Notify;
use tracing::Instrument;

use crate::clock::Clock;
use crate::dead_letter::{DeadLetter, DeadLetterError, DeadLetters};
use crate::event::OrderEvent;
use crate::notification::{Channel, Notification};
use crate::sender::Counters;
use crate::store::{Kept, Store, StoreError};

/// Largest number of notifications that are written at the same time.
const AT_ONCE: usize = 32;

/// Consumes `orders`.
pub struct Orders {
    /// The store of notifications.
    pub store: Store,
    /// Destination of the orders that cannot be decoded.
    pub dead_letters: DeadLetters,
    /// The channel for new notifications.
    pub channel: Channel,
    /// Wakes the sender.
    pub kept: Arc<Notify>,
    /// The clock.
    pub clock: Clock,
    /// Counters of the outcomes.
    pub counters: Counters,
}

/// The reason why a batch could not be consumed now.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The notification could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The dead letters could not be published.
    #[error(transparent)]
    DeadLetter(#[from] DeadLetterError),
}

/// The decoded form of a record.
enum Decoded {
    Event(OrderEvent),
    /// An event of a type without notifications.
    Other,
    Malformed(String),
}

impl Consumer for Orders {
    type Error = ConsumeError;

    fn is_refusal(error: &ConsumeError) -> bool {
        matches!(error, ConsumeError::DeadLetter(error) if error.is_refusal())
    }

    async fn consume(&self, batch: &Batch) -> Result<(), ConsumeError> {
        let mut events = Vec::new();
        let mut letters = Vec::new();
        for record in &batch.records {
            match decode(record) {
                Decoded::Event(event) => events.push((event, record)),
                Decoded::Other => {}
                Decoded::Malformed(reason) => letters.push(DeadLetter {
                    record: record.clone(),
                    reason,
                }),
            }
        }

        let traced = events.into_iter().map(|(event, record)| {
            let span = of_record("notifications", ORDERS, record.header(TRACEPARENT));
            self.notify(event, record).instrument(span)
        });
        let notified: Vec<_> = traced.collect();

        futures::stream::iter(notified)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;

        let dead = letters.len() as u64;
        self.dead_letters.publish(letters).await?;
        self.counters.dead.inc_by(dead);

        Ok(())
    }
}

impl Orders {
    async fn notify(&self, event: OrderEvent, record: &Received) -> Result<(), StoreError> {
        let notification = Notification::of(&event, self.channel, self.clock.now());
        let status = match self.store.keep(&notification).await? {
            Kept::Now => notification.status,
            Kept::Before(status) if status.is_open() => status,
            Kept::Before(_) => return Ok(()),
        };

        if status.is_open() {
            self.store.ensure_errand(&notification, record).await?;
            self.kept.notify_one();
        } else {
            self.counters.sent.inc();
        }

        Ok(())
    }
}

fn decode(record: &Received) -> Decoded {
    let Some(value) = &record.value else {
        return Decoded::Malformed("the record has no value".to_owned());
    };

    match OrderEvent::decode(value) {
        Ok(Some(event)) => Decoded::Event(event),
        Ok(None) => Decoded::Other,
        Err(error) => Decoded::Malformed(error.to_string()),
    }
}
