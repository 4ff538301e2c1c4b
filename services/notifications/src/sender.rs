//! The sender: leases due errands, hands their messages to couriers, and stores the outcomes.
//!
//! ```text
//! due errands ─▶ lease ───────▶ carry ────────────▶ store the outcome ─▶ move or delete the errand
//!                (one wins,    (within the limit,  (if the lease        (due, dead, skipped,
//!                with a lease) below the lease)    still holds)         or deleted)
//! ```
//!
//! Invariants: an open notification has an errand, so another sender finds it if one dies. If two senders find the
//! same errand, only one sends the message. There is one exception: if a sender dies between handing over the message
//! and storing the outcome, or stalls there for longer than its lease, the message is sent again, under the same id.

use std::sync::Arc;
use std::time::Duration;

use chassis::Shutdown;
use events::Timestamp;
use futures::StreamExt;
use prometheus::IntCounter;
use tokio::time::timeout;
use uuid::Uuid;

use crate::clock::Clock;
use crate::courier::{Courier, Letter};
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::event::OrderEvent;
use crate::notification::{self, Channel, Notification, Outcome, Refusal, Status};
use crate::recipient::Users;
use crate::store::{Errand, LeaseOutcome, Shelf, Store, StoreError};

/// Largest number of errands in one fetch.
pub const BATCH: usize = 64;
/// Largest number of errands in progress at the same time.
const AT_ONCE: usize = 8;
/// Time limit of an attempt.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
/// The length of a lease. It is much longer than an attempt and its writes take, so that it outlasts
/// short stalls of the machine.
const LEASE_MS: u64 = 60_000;

/// Sends due messages. Each sender holds its leases under its own name.
pub struct Sender {
    /// The owner of this sender's leases.
    pub name: Uuid,
    /// The notifications and their errands.
    pub store: Store,
    /// Client that looks up the users' addresses.
    pub users: Users,
    /// The couriers in order of preference.
    pub couriers: Vec<Arc<dyn Courier>>,
    /// Destination of the events whose delivery is given up.
    pub dead_letters: DeadLetters,
    /// Largest number of attempts per notification.
    pub most_attempts: u32,
    /// The clock.
    pub clock: Clock,
    /// Counters of the outcomes.
    pub counters: Counters,
}

/// Counters of outcomes.
#[derive(Clone)]
pub struct Counters {
    /// Notifications that were delivered.
    pub sent: IntCounter,
    /// Attempts that failed and are retried.
    pub failed: IntCounter,
    /// Notifications without a recipient.
    pub skipped: IntCounter,
    /// Events that became dead letters.
    pub dead: IntCounter,
}

impl Sender {
    /// Runs the due errands, at most [`BATCH`], and returns the number that were completed. After a
    /// shutdown is requested, it starts no further errands.
    ///
    /// # Errors
    /// [`StoreError`] when the due errands cannot be read.
    pub async fn send_due(&self, shutdown: &Shutdown) -> Result<usize, StoreError> {
        let due = self
            .store
            .errands(Shelf::Due, self.clock.now(), BATCH)
            .await?;

        let until = shutdown.clone();
        let begun = futures::stream::iter(due).take_until(async move { until.requested().await });
        let done = begun
            .map(|errand| self.run(errand))
            .buffer_unordered(AT_ONCE);

        Ok(done
            .filter(|is_done| std::future::ready(*is_done))
            .count()
            .await)
    }

    /// Runs an errand. Returns `false` if a call of the table failed.
    async fn run(&self, errand: Errand) -> bool {
        match self.try_run(&errand).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, event_id = %errand.event_id, "an errand could not be completed and is left for later");
                false
            }
        }
    }

    async fn try_run(&self, errand: &Errand) -> Result<(), StoreError> {
        let now = self.clock.now();
        let lease_end = Timestamp::from_ms(now.as_ms() + LEASE_MS).unwrap_or(now);
        match self
            .store
            .lease(errand.event_id, self.name, now, lease_end)
            .await?
        {
            LeaseOutcome::Granted(notification) => {
                let outcome = self.outcome(errand, &notification).await;
                self.settle(errand, &notification, outcome).await
            }
            LeaseOutcome::NotBefore(at) => self.store.lay(errand, Shelf::Due, at).await,
            LeaseOutcome::Settled(status) => self.put_away(errand, status).await,
            LeaseOutcome::Gone => self.store.finish(errand).await,
        }
    }

    /// Makes the attempt that the lease counted, and returns its outcome. A dead letter is published
    /// here, before its status is stored. If this sender dies in between, the letter is published
    /// again.
    async fn outcome(&self, errand: &Errand, leased: &Notification) -> Outcome {
        let attempt = if leased.attempts > self.most_attempts {
            // An earlier attempt gave up, but its dead letter or its status could not be written.
            Err(Refusal::Never(
                leased
                    .last_error
                    .clone()
                    .unwrap_or_else(|| "tried too often".to_owned()),
            ))
        } else {
            self.attempt(errand, leased).await
        };

        let random = Uuid::new_v4().as_u64_pair().1;
        let outcome = Outcome::of(
            attempt,
            leased.attempts,
            self.most_attempts,
            self.clock.now(),
            random,
        );

        let Outcome::Dead(reason) = &outcome else {
            return outcome;
        };

        let letter = DeadLetter {
            record: errand.record.clone(),
            reason: reason.clone(),
        };

        match self.dead_letters.publish(vec![letter]).await {
            Ok(()) => outcome,
            Err(error) => {
                tracing::warn!(%error, event_id = %errand.event_id, "a dead letter could not be published, retrying later");
                let at = notification::again_at(leased.attempts, self.clock.now(), random);
                Outcome::Again {
                    at,
                    error: reason.clone(),
                }
            }
        }
    }

    async fn attempt(&self, errand: &Errand, leased: &Notification) -> Result<Channel, Refusal> {
        let carried = timeout(ATTEMPT_LIMIT, self.carry(errand, leased)).await;
        carried.unwrap_or_else(|_| {
            Err(Refusal::NotNow(format!(
                "no answer within {} s",
                ATTEMPT_LIMIT.as_secs()
            )))
        })
    }

    async fn carry(&self, errand: &Errand, leased: &Notification) -> Result<Channel, Refusal> {
        let value = errand.record.value.as_deref().unwrap_or_default();
        let unread = |reason: String| Refusal::Never(format!("its event cannot be read: {reason}"));
        let event = OrderEvent::decode(value)
            .map_err(|error| unread(error.to_string()))?
            .ok_or_else(|| unread("it has another type".to_owned()))?;

        let found = self.users.find(leased.user_id, self.clock.now()).await;
        let recipient = found.map_err(|error| Refusal::NotNow(error.to_string()))?;
        let recipient = recipient.ok_or(Refusal::NoRecipient("there is no such user any more"))?;

        // Required on every channel: a sign-up may contain a stranger's address and phone number.
        if recipient.email.is_none() {
            return Err(Refusal::NoRecipient(
                "the user has not confirmed an e-mail address",
            ));
        }

        let way = self
            .couriers
            .iter()
            .find_map(|courier| Some((courier, courier.address(&recipient)?)));

        let (courier, to) = way.ok_or(Refusal::NoRecipient(
            "the user has no address that a message could go to",
        ))?;

        courier
            .carry(Letter {
                id: errand.event_id,
                to,
                message: &event.message(),
            })
            .await?;

        Ok(courier.channel())
    }

    async fn settle(
        &self,
        errand: &Errand,
        leased: &Notification,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        if !self.store.settle(leased, self.name, &outcome, now).await? {
            tracing::warn!(event_id = %errand.event_id, "the lease was lost: the message may be sent a second time");
            return Ok(());
        }

        self.counters.note(&outcome);
        match outcome {
            Outcome::Again { at, .. } => self.store.lay(errand, Shelf::Due, at).await,
            settled => self.put_away(errand, settled.status()).await,
        }
    }

    /// Finishes or moves the errand of a settled notification.
    async fn put_away(&self, errand: &Errand, status: Status) -> Result<(), StoreError> {
        let now = self.clock.now();
        match status {
            Status::Dead => self.store.lay(errand, Shelf::Dead, now).await,
            Status::Skipped => self.store.lay(errand, Shelf::Skipped, now).await,
            Status::Pending | Status::Sending | Status::Sent => self.store.finish(errand).await,
        }
    }
}

impl Counters {
    fn note(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Sent(_) => self.sent.inc(),
            Outcome::Again { .. } => self.failed.inc(),
            Outcome::Skipped(_) => self.skipped.inc(),
            Outcome::Dead(_) => self.dead.inc(),
        }
    }
}
