//! What happens to the records of `orders`: decode, notify, and what cannot be decoded to the dead letters.

use events::{ORDER_CREATED, OrderCreated, Timestamp};
use follower::{Batch, Consumer, Received};
use futures::{StreamExt, TryStreamExt};
use prometheus::IntCounter;
use serde::Deserialize;

use crate::dead_letter::{DeadLetter, DeadLetterError, DeadLetters};
use crate::notification::Notification;
use crate::store::{Store, StoreError};

/// How many notifications are under way at once.
const AT_ONCE: usize = 32;

/// Consumes `orders`.
pub struct Orders {
    /// Where notifications are kept.
    pub store: Store,
    /// Where orders go that nobody can be told of.
    pub dead_letters: DeadLetters,
    /// How many notifications were sent.
    pub sent: IntCounter,
    /// How many orders went to the dead letters.
    pub dead: IntCounter,
}

/// Why a batch could not be consumed now.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The notification could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The dead letters could not be published.
    #[error(transparent)]
    DeadLetter(#[from] DeadLetterError),
}

/// What a record turned out to be.
enum Decoded {
    Order(OrderCreated),
    /// An event of a type that nobody is told of.
    Other,
    Malformed(String),
}

#[derive(Deserialize)]
struct Kind {
    event_type: String,
}

impl Consumer for Orders {
    type Error = ConsumeError;

    async fn consume(&self, batch: &Batch) -> Result<(), ConsumeError> {
        let (mut orders, mut letters) = (Vec::new(), Vec::new());
        for record in &batch.records {
            match decode(record) {
                Decoded::Order(order) => orders.push(order),
                Decoded::Other => {}
                Decoded::Malformed(reason) => letters.push(DeadLetter { record: record.clone(), reason }),
            }
        }
        let notified = futures::stream::iter(orders).map(|order| self.notify(order));
        notified.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let dead = letters.len() as u64;
        self.dead_letters.publish(letters).await?;
        self.dead.inc_by(dead);
        Ok(())
    }
}

impl Orders {
    async fn notify(&self, order: OrderCreated) -> Result<(), ConsumeError> {
        let notification = Notification::simulated(&order, Timestamp::now());
        if self.store.keep(&notification).await? {
            self.sent.inc();
        }
        Ok(())
    }
}

fn decode(record: &Received) -> Decoded {
    let Some(value) = &record.value else {
        return Decoded::Malformed("the record has no value".to_owned());
    };
    match serde_json::from_slice::<Kind>(value) {
        Ok(kind) if kind.event_type != ORDER_CREATED => Decoded::Other,
        Ok(_) => match serde_json::from_slice(value) {
            Ok(order) => Decoded::Order(order),
            Err(error) => Decoded::Malformed(error.to_string()),
        },
        Err(error) => Decoded::Malformed(error.to_string()),
    }
}
