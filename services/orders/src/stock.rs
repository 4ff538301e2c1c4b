//! Releases the stock of cancelled orders, of rejected orders, and of requests that died midway.

use std::sync::Arc;
use std::time::Duration;

use chassis::Shutdown;
use events::Timestamp;
use tokio::sync::Notify;

use crate::products::{Products, ReleaseError};
use crate::store::Store;

/// The age after which a claim's request is certainly dead: far longer than any request may take.
const CLAIM_AGE: Duration = Duration::from_secs(120);
/// How long the reply for an idempotency key is kept.
const REPLY_AGE: Duration = Duration::from_secs(24 * 3600);
/// Interval between checks for old claims.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Wakes the task that releases stock. Clones wake the same task.
#[derive(Clone, Default)]
pub struct Stock(Arc<Notify>);

impl Stock {
    /// Requests that released claims are processed at once.
    pub fn release_soon(&self) {
        self.0.notify_one();
    }

    /// Releases stock until a shutdown is requested.
    pub async fn run(&self, store: &Store, products: &Products, shutdown: &Shutdown) {
        while !shutdown.is_requested() {
            if let Err(error) = give_back(store, products).await {
                tracing::warn!(%error, "stock waits to be given back");
            }
            tokio::select! {
                () = self.0.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = shutdown.requested() => {}
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum GiveBackError {
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

async fn give_back(store: &Store, products: &Products) -> Result<(), GiveBackError> {
    let now = Timestamp::now();
    store.release_old_claims(now, CLAIM_AGE).await?;
    store.forget_old_replies(now, REPLY_AGE).await?;

    let mut after = String::new();
    loop {
        let keys = store.released_claims(&after).await?;
        let Some(last) = keys.last().cloned() else {
            return Ok(());
        };

        for key in keys {
            give_back_one(store, products, &key).await?;
        }
        // Continues behind this page, because rejected keys stay in the table.
        after = last;
    }
}

/// Releases the reservation of one key. If the products service rejects or does not answer one
/// release, that key is kept for the next round and the other keys are still processed. If the
/// products service cannot be reached at all, the round ends with an error.
async fn give_back_one(store: &Store, products: &Products, key: &str) -> Result<(), GiveBackError> {
    match products.release(key).await {
        Ok(()) => Ok(store.forget_released(key).await?),
        Err(ReleaseError::Unexpected(status)) => {
            tracing::warn!(key, %status, "the release of a reservation was refused");
            Ok(())
        }
        Err(ReleaseError::Away(error)) if !error.is_connect() => {
            tracing::warn!(key, %error, "the release of a reservation found no answer");
            Ok(())
        }
        Err(away) => Err(away.into()),
    }
}
