//! Places an order. Even if a process dies at any step, the order is stored completely or not at all, at most once, and
//! unused stock is released.
//!
//! ```text
//! 1  SQL    insert the claim: the reservation key, and the client's idempotency key with it
//! 2  HTTP   reserve stock under the reservation key, at the current prices
//! 3  SQL    one transaction: delete the claim; insert order, items, outbox row; store the reply
//! ```
//!
//! A claim older than any request belongs to an order that will never be stored; its stock is released
//! ([`crate::stock`]). Requests with the same idempotency key share one claim and therefore one reservation. The first
//! to finish stores the order. The others return the same reply, and so does every later request with that key while
//! the reply is kept.

use std::collections::HashMap;
use std::time::Duration;

use chassis::{Problem, Result, TraceParent};
use events::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::idempotency::IdempotencyKey;
use crate::order::{NewOrder, Offer, Priced, Unpriced};
use crate::products::{Products, ReserveError};
use crate::stock::Stock;
use crate::store::{
    ClaimOutcome, KeyClaim, PlaceOutcome, Placement, Reply, Store, StoreError, TooMuchUnpaid,
    UnpaidLimit,
};

/// The parts needed to place an order.
#[derive(Clone)]
pub struct Placing {
    pub store: Store,
    pub products: Products,
    pub stock: Stock,
    /// The time that an order may stay unpaid.
    pub unpaid_for: Duration,
    /// The limit of one account's unpaid orders.
    pub limit: Option<UnpaidLimit>,
}

/// The reply for a stored order: stored now, or before under the same idempotency key.
pub enum Placed {
    Now(Reply),
    Before(Reply),
}

impl Placing {
    pub async fn place(
        &self,
        new: &NewOrder,
        idempotency_key: Option<IdempotencyKey>,
        trace: Option<&TraceParent>,
    ) -> Result<Placed> {
        let claim = KeyClaim {
            user_id: new.user_id,
            idempotency_key,
            fingerprint: fingerprint(new),
            reservation_key: Uuid::now_v7(),
            now: Timestamp::now(),
        };

        let pieces = new.items.pieces();
        let claim = match self.store.claim(claim, pieces, self.limit).await? {
            ClaimOutcome::Claimed(claim) => claim,
            ClaimOutcome::Replied(reply) => return Ok(Placed::Before(reply)),
            ClaimOutcome::OtherRequest => return Err(other_request()),
            ClaimOutcome::NoUser => return Err(no_user()),
            ClaimOutcome::TooMuchUnpaid(error) => return Err(StoreError::Unpaid(error).into()),
        };

        let priced = match self.price(&claim, new).await {
            Ok(priced) => priced,
            Err(problem) => return Err(self.give_up(&claim, problem).await),
        };

        let placement = Placement {
            priced,
            delivery: new.delivery.clone(),
            traceparent: trace.map(|trace| trace.as_str().to_owned()),
            unpaid_for: self.unpaid_for,
            limit: self.limit,
        };
        self.finish(claim, placement).await
    }

    async fn price(
        &self,
        claim: &KeyClaim,
        new: &NewOrder,
    ) -> std::result::Result<Priced, Failure> {
        let offers: HashMap<Uuid, Offer> = self
            .products
            .reserve(claim.reservation_key, new.items.as_slice())
            .await
            .map_err(Failure::Reserve)?;
        new.priced(&offers).map_err(Failure::Unpriced)
    }

    /// Deletes the claim, or marks it so that its stock is released. If that fails, it is done once the claim is old.
    async fn give_up(&self, claim: &KeyClaim, failure: Failure) -> Problem {
        let refused = matches!(failure, Failure::Reserve(ReserveError::Refused { .. }));
        let dropped = match claim.idempotency_key {
            None if refused => self.store.forget_claim(claim).await,
            // Another request may share the claim and hold stock under it.
            _ => self.store.release_claim(claim).await,
        };

        match dropped {
            Ok(()) => self.stock.release_soon(),
            Err(error) => tracing::warn!(%error, "a claim is released once it is old"),
        }

        failure.into()
    }

    async fn finish(&self, claim: KeyClaim, placement: Placement) -> Result<Placed> {
        match self.store.place(&claim, placement).await {
            Ok(PlaceOutcome::Placed(reply)) => Ok(Placed::Now(reply)),
            Ok(PlaceOutcome::Replied(reply)) => Ok(Placed::Before(reply)),
            Ok(PlaceOutcome::ClaimGone) => Err(Problem::unavailable(
                "the order took too long; nothing was ordered",
            )),
            Err(StoreError::NoUser) => Err(self.give_up(&claim, Failure::NoUser).await),
            Err(StoreError::Unpaid(error)) => {
                Err(self.give_up(&claim, Failure::Unpaid(error)).await)
            }
            // The order may have been stored. If it was not, the claim is released once it is old.
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns a hash that is equal for equal requests: the hexadecimal SHA-256 of the request as JSON.
fn fingerprint(new: &NewOrder) -> String {
    let json = serde_json::to_vec(new).expect("a request is plain data");
    Sha256::digest(json)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn no_user() -> Problem {
    Problem::unprocessable("there is no such user").field("user_id")
}

fn other_request() -> Problem {
    Problem::unprocessable("the key was used for another request").field("Idempotency-Key")
}

/// The reason an order was not placed.
enum Failure {
    Reserve(ReserveError),
    Unpriced(Unpriced),
    Unpaid(TooMuchUnpaid),
    NoUser,
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Reserve(error) => error.into(),
            Failure::NoUser => no_user(),
            Failure::Unpaid(error) => StoreError::Unpaid(error).into(),
            Failure::Unpriced(error @ Unpriced::TooMuch) => {
                Self::unprocessable(error.to_string()).field("items")
            }
            Failure::Unpriced(error @ Unpriced::OtherTotal { total_cents, .. }) => {
                Self::conflict(error.to_string())
                    .field("total_cents")
                    .member("total_cents", total_cents)
            }
            Failure::Unpriced(
                error @ (Unpriced::MixedCurrencies { line, .. } | Unpriced::NoPrice { line }),
            ) => Self::unprocessable(error.to_string()).field(format!("items[{line}].product_id")),
        }
    }
}
