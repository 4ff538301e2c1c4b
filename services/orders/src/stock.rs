//! Releases the stock of cancelled and expired orders, of rejected orders, and of interrupted requests.
//!
//! Several keys are released at the same time, independently of each other: if the release of one fails, that key is
//! tried again later, with a growing wait. Only a products service that cannot be reached at all ends a round.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::{Backoff, Shutdown};
use events::Timestamp;
use futures::StreamExt;
use tokio::sync::Notify;

use crate::products::{Products, ReleaseError};
use crate::store::{Store, StoreError};

/// The age after which the request of a claim has certainly ended: far more than the time limit of requests.
const CLAIM_AGE: Duration = Duration::from_secs(120);
/// The time for which the reply for an idempotency key is kept.
const REPLY_AGE: Duration = Duration::from_secs(24 * 3600);
/// Interval between checks for old claims.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Number of keys that are released at the same time.
const AT_ONCE: usize = 16;
/// The waits before a key whose release failed is tried again.
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Maximum number of failed keys with a growing wait. Further keys are tried again in every round.
const MAX_FAILED: usize = 10_000;

/// Wakes the task that releases stock. Clones wake the same task.
#[derive(Clone, Default)]
pub struct Stock(Arc<Notify>);

impl Stock {
    /// Wakes the task, so that it processes released claims at once.
    pub fn release_soon(&self) {
        self.0.notify_one();
    }

    /// Releases stock until a shutdown is requested.
    pub async fn run(&self, store: &Store, products: &Products, shutdown: &Shutdown) {
        let mut failed = Failed::default();
        while !shutdown.is_requested() {
            // A shutdown ends the round between two keys, because a query cancelled midway would leave its connection
            // in an unknown state.
            give_back(store, products, &mut failed, shutdown).await;
            tokio::select! {
                () = self.0.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = shutdown.requested() => {}
            }
        }
    }
}

/// The keys whose release failed, with the time at which each is tried again.
#[derive(Default)]
struct Failed(HashMap<String, Waiting>);

struct Waiting {
    until: Instant,
    backoff: Backoff,
}

impl Failed {
    fn is_due(&self, key: &str, now: Instant) -> bool {
        self.0.get(key).is_none_or(|waiting| waiting.until <= now)
    }

    /// Notes the result of a release.
    fn note(&mut self, key: String, is_done: bool, now: Instant) {
        if is_done {
            self.0.remove(&key);
            return;
        }
        if self.0.len() >= MAX_FAILED && !self.0.contains_key(&key) {
            return;
        }

        let waiting = self.0.entry(key).or_insert_with(|| Waiting {
            until: now,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
        });
        waiting.until = now + waiting.backoff.next_wait(0);
    }
}

/// The result of the release of one key.
enum Release {
    Done,
    Failed,
    /// The products service cannot be reached, so no other key can be released either.
    Unreachable,
}

/// Runs one round. A failed step is logged, and the other steps still run.
async fn give_back(store: &Store, products: &Products, failed: &mut Failed, shutdown: &Shutdown) {
    let now = Timestamp::now();
    warn("old claims", give_up_old_claims(store, now).await);
    warn(
        "old replies",
        store.forget_old_replies(now, REPLY_AGE).await,
    );
    let released = release_all(store, products, failed, shutdown).await;
    warn("claims", released);
}

fn warn(what: &'static str, outcome: Result<(), StoreError>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, what, "stock could not be released; will try again");
    }
}

async fn give_up_old_claims(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    for key in store.old_claims(now, CLAIM_AGE).await? {
        warn("an old claim", store.give_up_claim(&key).await);
    }
    Ok(())
}

async fn release_all(
    store: &Store,
    products: &Products,
    failed: &mut Failed,
    shutdown: &Shutdown,
) -> Result<(), StoreError> {
    let mut after = String::new();
    while !shutdown.is_requested() {
        let mut keys = store.released_claims(&after).await?;
        let Some(last) = keys.last().cloned() else {
            return Ok(());
        };
        // Continues behind this page, because keys whose release failed stay in the table.
        after = last;

        keys.retain(|key| failed.is_due(key, Instant::now()));
        let mut releases = futures::stream::iter(keys)
            .take_until(Box::pin(shutdown.requested()))
            .map(async |key| (release(store, products, &key).await, key))
            .buffer_unordered(AT_ONCE);
        while let Some((outcome, key)) = releases.next().await {
            match outcome {
                Release::Unreachable => return Ok(()),
                outcome => failed.note(key, matches!(outcome, Release::Done), Instant::now()),
            }
        }
    }
    Ok(())
}

/// Releases the reservation of one key.
async fn release(store: &Store, products: &Products, key: &str) -> Release {
    if let Err(error) = products.release(key).await {
        tracing::warn!(key, %error, "a reservation could not be released; will try again");
        return match error {
            ReleaseError::Away(error) if error.is_connect() => Release::Unreachable,
            _ => Release::Failed,
        };
    }

    match store.forget_released(key).await {
        Ok(()) => Release::Done,
        Err(error) => {
            tracing::warn!(key, %error, "the claim of a released reservation could not be deleted; will try again");
            Release::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_key_waits_longer_each_time_until_it_is_released() {
        let mut failed = Failed::default();
        let now = Instant::now();
        assert!(failed.is_due("a", now));

        failed.note("a".to_owned(), false, now);
        assert!(!failed.is_due("a", now + FIRST_WAIT / 4));
        assert!(failed.is_due("a", now + FIRST_WAIT));
        assert!(failed.is_due("b", now));

        for _ in 0..20 {
            failed.note("a".to_owned(), false, now);
        }
        assert!(!failed.is_due("a", now + LONGEST_WAIT / 4));
        assert!(failed.is_due("a", now + LONGEST_WAIT));

        failed.note("a".to_owned(), true, now);
        assert!(failed.is_due("a", now));
    }

    #[test]
    fn the_memory_of_failed_keys_is_bounded() {
        let mut failed = Failed::default();
        let now = Instant::now();
        for key in 0..=MAX_FAILED {
            failed.note(key.to_string(), false, now);
        }
        assert_eq!(failed.0.len(), MAX_FAILED);
    }
}
