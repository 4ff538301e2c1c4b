//! Removes accounts whose address was never verified.
//!
//! Anybody can sign up with a stranger's address, so an unverified account is kept only for a limited time. It is
//! removed with its sessions: its refresh tokens are refused at once, and its access tokens are revoked like those of
//! any account that ends. An account with orders stays, because its orders refer to it. So do admins, whose address
//! the settings name.
//!
//! Each process examines each account once, in the order of the sign-ups, so accounts that stay cost nothing later. If
//! an account cannot be removed because of a failure, it is examined again.

use std::time::Duration;

use chassis::Shutdown;
use events::Timestamp;

use crate::store::{Store, StoreError};
use crate::{Config, Parts};

/// Longest interval between examinations.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// Shortest interval.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(200);

/// Removes accounts without a verified address.
pub struct Unverified {
    store: Store,
    /// The time for which an account may stay unverified; none if there is no limit.
    kept_for: Option<Duration>,
}

/// The last account that was examined: the time of its sign-up, and its id.
pub type Examined = (i64, i64);

impl Unverified {
    pub fn new(config: &Config, parts: &Parts) -> Self {
        let kept_for = Some(config.users_unverified_for)
            .filter(|kept_for| !kept_for.is_zero() && !parts.auth.is_open());
        Self {
            store: Store::new(parts.database.clone()),
            kept_for,
        }
    }

    /// Removes accounts that are due, until a shutdown is requested.
    pub async fn run(&self, shutdown: &Shutdown) {
        let Some(kept_for) = self.kept_for else {
            return;
        };

        let look_every = (kept_for / 4).clamp(LOOK_AT_MOST_EVERY, LOOK_EVERY);
        let mut examined = Examined::default();
        while !shutdown.is_requested() {
            if let Err(error) = self.remove_due(&mut examined, Timestamp::now()).await {
                tracing::warn!(%error, "unverified accounts could not be removed; will try again");
            }
            tokio::select! {
                () = tokio::time::sleep(look_every) => {}
                () = shutdown.requested() => {}
            }
        }
    }

    /// Examines the accounts that follow `examined` and were created long enough ago.
    async fn remove_due(&self, examined: &mut Examined, now: Timestamp) -> Result<(), StoreError> {
        let kept_ms = self.kept_for.unwrap_or_default().as_millis();
        let kept_ms = u64::try_from(kept_ms).unwrap_or(u64::MAX);
        let Some(until) = Timestamp::from_ms(now.as_ms().saturating_sub(kept_ms)) else {
            return Ok(());
        };

        loop {
            let due = self.store.unverified_until(until, *examined).await?;
            if due.is_empty() {
                return Ok(());
            }

            for account in due {
                let id = account.1;
                if self.store.remove_unverified(id, now).await? {
                    tracing::info!(target: "security", event = "unverified_account_removed", user_id = id);
                }
                *examined = account;
            }
        }
    }
}

#[cfg(test)]
mod tests;
