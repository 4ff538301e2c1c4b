//! Settles payments: calls the provider for the next step, stores its answer, and repeats interrupted steps, until the
//! payment is finished.
//!
//! A request to pay runs these steps at once. The task in this module runs the steps that remained: because a process
//! died, the provider was unavailable, or the order was cancelled or expired meanwhile. A payment that cannot be
//! settled does not hold up the others, and is tried again with a growing wait.

use std::sync::Arc;
use std::time::Duration;

use chassis::{Backoff, Shutdown};
use events::Timestamp;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::payment::{Payment, PaymentStatus, Step};
use crate::provider::{Charge, Decision, Provider, ProviderError};
use crate::store::{Observed, Store, StoreError};

/// Interval between checks for interrupted payments.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// The first wait after a payment could not be settled; it grows up to [`LOOK_EVERY`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// An unfinished payment whose state has not changed for this long was interrupted.
const LEFT_AFTER: Duration = Duration::from_secs(30);
/// The most steps of one payment in a row: authorise, capture, refund, and one to spare.
const MOST_STEPS: usize = 4;

/// Settles payments. Clones share the provider.
#[derive(Clone)]
pub struct Settling {
    pub store: Store,
    pub provider: Arc<dyn Provider>,
    /// Wakes the task: an order with a payment was cancelled, or a payment was interrupted.
    pub due: Arc<Notify>,
    /// Wakes the relay.
    pub written: Arc<Notify>,
}

/// The reason why a payment could not be settled now.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

impl Settling {
    /// Runs the steps of a payment that are possible now, and returns the payment; none if it does not exist.
    pub async fn settle(&self, id: Uuid) -> Result<Option<Payment>, SettleError> {
        for _ in 0..MOST_STEPS {
            let Some((payment, order)) = self.store.payment(id).await? else {
                return Ok(None);
            };
            let Some(step) = payment.status.next_step(order) else {
                return Ok(Some(payment));
            };
            let Some(observed) = self.take(&payment, step).await? else {
                return Ok(Some(payment));
            };

            self.store.observe(id, observed, Timestamp::now()).await?;
            self.written.notify_one();
        }

        Ok(self.store.payment(id).await?.map(|(payment, _)| payment))
    }

    /// Calls the provider, and returns the state that follows; none if it decides later.
    async fn take(&self, payment: &Payment, step: Step) -> Result<Option<Observed>, ProviderError> {
        let id = payment.id;
        Ok(match step {
            Step::Authorise => match self.provider.authorise(charge(payment)).await? {
                Decision::Authorised => Some(Observed::of(PaymentStatus::Authorised)),
                Decision::Declined(reason) => Some(Observed::declined(&reason)),
                Decision::Later => None,
            },
            Step::Capture => {
                self.provider.capture(id).await?;
                Some(Observed::of(PaymentStatus::Captured))
            }
            Step::Void => {
                self.provider.void(id).await?;
                Some(Observed::of(PaymentStatus::Voided))
            }
            Step::Refund => {
                self.provider.refund(id).await?;
                Some(Observed::of(PaymentStatus::Refunded))
            }
        })
    }

    /// Settles interrupted payments until a shutdown is requested.
    pub async fn run(&self, shutdown: &Shutdown) {
        let mut left_after = LEFT_AFTER;
        let mut backoff = Backoff::new(FIRST_WAIT, LOOK_EVERY);
        while !shutdown.is_requested() {
            let is_settled = self.settle_left(left_after).await;
            let wait = if is_settled {
                backoff.reset();
                LOOK_EVERY
            } else {
                backoff.next_wait(Uuid::new_v4().as_u64_pair().1)
            };

            left_after = tokio::select! {
                () = self.due.notified() => Duration::ZERO,
                () = tokio::time::sleep(wait) => age_to_retry(is_settled),
                () = shutdown.requested() => return,
            };
        }
    }

    /// Settles the payments whose state has not changed for this long. Returns true if none failed.
    async fn settle_left(&self, left_after: Duration) -> bool {
        let now = Timestamp::now();
        let mut after = String::new();
        let mut is_settled = true;
        loop {
            let left = match self.store.open_payments(now, left_after, &after).await {
                Ok(left) => left,
                Err(error) => {
                    tracing::warn!(%error, "interrupted payments cannot be read");
                    return false;
                }
            };
            let Some(last) = left.last() else {
                return is_settled;
            };
            after = last.to_string();

            for id in left {
                if let Err(error) = self.settle(id).await {
                    tracing::warn!(payment = %id, %error, "a payment could not be settled; will try again");
                    is_settled = false;
                }
            }
        }
    }
}

/// Returns the age from which payments are settled in the next round. After a failure, payments
/// of any age are tried again.
fn age_to_retry(is_settled: bool) -> Duration {
    if is_settled {
        LEFT_AFTER
    } else {
        Duration::ZERO
    }
}

fn charge(payment: &Payment) -> Charge<'_> {
    Charge {
        payment: payment.id,
        token: &payment.token,
        total_cents: payment.total_cents,
        currency: &payment.currency,
    }
}
