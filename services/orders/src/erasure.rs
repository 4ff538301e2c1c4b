//! Erases where the orders of closed accounts were delivered. The orders stay, for the books.
//!
//! An address is kept while its order is paid or on its way, because the order has to arrive, or go
//! back, first. The reply that an idempotency key keeps has the address for a day longer
//! ([`crate::stock`]).

use std::time::Duration;

use chassis::Shutdown;

use crate::store::Store;

/// Interval between checks.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The first check, when the users service has made its tables.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// Erases addresses until a shutdown is requested.
pub async fn run(store: &Store, shutdown: &Shutdown) {
    let mut wait = FIRST_LOOK;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.requested() => return,
        }
        wait = LOOK_EVERY;

        match store.erase_addresses().await {
            Ok(0) => {}
            Ok(erased) => tracing::info!(erased, "addresses of closed accounts are erased"),
            Err(error) => tracing::warn!(%error, "addresses of closed accounts wait to be erased"),
        }
    }
}
