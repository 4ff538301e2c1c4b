//! The port of a payment provider, and the simulated provider.
//!
//! Every call names a payment, and a repeated call has the effect of one: a real provider gets the payment's id as
//! the idempotency key. A provider reports later decisions to `POST /orders/payments/events`; it may repeat a report.

use std::future::Future;
use std::pin::Pin;

use uuid::Uuid;

/// The future of a provider's answer.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + Send + 'a>>;

/// A request to hold money.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// The payment: the provider's idempotency key.
    pub payment: Uuid,
    /// The provider's name for the card or account that pays.
    pub token: &'a str,
    /// The amount, in minor units of the currency.
    pub total_cents: u64,
    /// ISO 4217 code.
    pub currency: &'a str,
}

/// The provider's decision about a charge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// It holds the money.
    Authorised,
    /// It refuses, for this reason.
    Declined(String),
    /// It decides later, and reports then.
    Later,
}

/// The reason why a call of the provider failed. The call may have taken effect, and is repeated.
#[derive(Debug, thiserror::Error)]
#[error("the payment provider is unavailable: {0}")]
pub struct ProviderError(pub String);

/// A payment provider.
pub trait Provider: Send + Sync + 'static {
    /// Holds money for the shop.
    fn authorise<'a>(&'a self, charge: Charge<'a>) -> Answer<'a, Decision>;
    /// Takes the money that is held.
    fn capture(&self, payment: Uuid) -> Answer<'_, ()>;
    /// Releases the money that is held.
    fn void(&self, payment: Uuid) -> Answer<'_, ()>;
    /// Returns the money that was taken.
    fn refund(&self, payment: Uuid) -> Answer<'_, ()>;
}

/// A provider without money: the token contains its decision. `sim-approve` is authorised at once,
/// `sim-decline` is declined, and `sim-later` is decided by a report. Any other token
/// is declined.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulated;

impl Provider for Simulated {
    fn authorise<'a>(&'a self, charge: Charge<'a>) -> Answer<'a, Decision> {
        let decision = match charge.token {
            "sim-approve" => Decision::Authorised,
            "sim-later" => Decision::Later,
            "sim-decline" => Decision::Declined("there is not enough money on the card".to_owned()),
            other => Decision::Declined(format!(
                "{other:?} is not a card of the simulated provider, which has sim-approve, sim-later and sim-decline"
            )),
        };
        Box::pin(std::future::ready(Ok(decision)))
    }

    fn capture(&self, _: Uuid) -> Answer<'_, ()> {
        done()
    }

    fn void(&self, _: Uuid) -> Answer<'_, ()> {
        done()
    }

    fn refund(&self, _: Uuid) -> Answer<'_, ()> {
        done()
    }
}

fn done<'a>() -> Answer<'a, ()> {
    Box::pin(std::future::ready(Ok(())))
}
