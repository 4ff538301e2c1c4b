//! Ends orders that were not paid in time: they expire, and their stock is released.
//!
//! Each order is ended in its own transaction, so that a failure affects no other order. Replicas may find the same
//! orders: each locks the row and reads the state again, so an order that was paid meanwhile stays paid.

use std::sync::Arc;
use std::time::Duration;

use chassis::Shutdown;
use events::Timestamp;
use tokio::sync::Notify;

use crate::status::Status;
use crate::stock::Stock;
use crate::store::{Changed, Store, StoreError};

/// Longest interval between checks for orders that have expired.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Shortest interval.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(200);

/// Ends unpaid orders.
#[derive(Clone)]
pub struct Expiry {
    pub store: Store,
    pub stock: Stock,
    /// Wakes the relay.
    pub written: Arc<Notify>,
    /// The time that an order may stay unpaid.
    pub unpaid_for: Duration,
}

impl Expiry {
    /// Ends unpaid orders until a shutdown is requested.
    pub async fn run(&self, shutdown: &Shutdown) {
        let look_every = (self.unpaid_for / 4).clamp(LOOK_AT_MOST_EVERY, LOOK_EVERY);
        while !shutdown.is_requested() {
            if let Err(error) = self.expire_due(Timestamp::now()).await {
                tracing::warn!(%error, "expired orders cannot be read");
            }
            tokio::select! {
                () = tokio::time::sleep(look_every) => {}
                () = shutdown.requested() => {}
            }
        }
    }

    /// Ends every pending order whose time to pay is over.
    async fn expire_due(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut after = (0, 0);
        loop {
            let due = self.store.unpaid_at(now, after).await?;
            let Some(last) = due.last() else {
                return Ok(());
            };
            after = *last;

            for (_, id) in due {
                self.expire(id, now).await;
            }
        }
    }

    async fn expire(&self, id: i64, now: Timestamp) {
        match self.store.set_status(id, Status::Expired, now).await {
            Ok(Changed::To(_)) => {
                self.stock.release_soon();
                self.written.notify_one();
            }
            // The order has expired, or was paid or cancelled meanwhile.
            Ok(_) => {}
            Err(error) => tracing::warn!(order = id, %error, "an order cannot expire yet"),
        }
    }
}
