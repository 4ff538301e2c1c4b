//! Erases the delivery addresses from the orders of closed accounts. The orders themselves are kept.
//!
//! An address is kept while its order is paid or shipped, because the order must first be delivered or returned. The
//! reply stored for an idempotency key contains the address, too; it is deleted after a day ([`crate::stock`]).

use std::time::Duration;

use chassis::Shutdown;

use crate::store::Store;

/// Interval between checks.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Wait before the first check, in which the users service creates its tables.
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
            Err(error) => tracing::warn!(%error, "addresses of closed accounts stay for now"),
        }
    }
}
