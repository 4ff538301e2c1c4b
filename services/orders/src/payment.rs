//! A payment of an order: its states, and its next step. Pure logic, without input or output.
//!
//! ```text
//! pending ──authorise──▶ authorised ──capture──▶ captured ──refund──▶ refunded
//!    │ └──declined            └──void──▶ voided
//!    └──(the provider's later message)──▶ captured
//! ```
//!
//! A payment is stored before the provider is called, and its id is the idempotency key of every call. An interrupted
//! step can therefore be repeated ([`crate::settle`]), and takes effect once. An order stores the id of the payment
//! that paid it: of two payments of one order, the first pays it, and the second is voided or refunded. So is a payment
//! whose order was cancelled or has expired.

use events::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::status::Status;

/// A payment as it is stored and returned to clients.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Payment {
    /// Its id, which the provider gets as its idempotency key.
    pub id: Uuid,
    /// The order that it is for.
    pub order_id: i64,
    /// Its state.
    pub status: PaymentStatus,
    /// The order's total, in minor units of the currency.
    pub total_cents: u64,
    /// ISO 4217 code.
    pub currency: String,
    /// The reason why it was declined.
    pub reason: Option<String>,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// The time at which its state last changed.
    pub updated_at: Timestamp,
    /// The provider's name for the card or account that pays; it is not returned to clients.
    #[serde(skip)]
    pub token: String,
}

/// The state of a payment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentStatus {
    /// The provider has not decided.
    Pending,
    /// The provider holds the money for the shop.
    Authorised,
    /// The shop has the money.
    Captured,
    /// The provider refused the payment.
    Declined,
    /// The provider released the money; the shop never had it.
    Voided,
    /// The customer has the money back.
    Refunded,
}

/// The next call to the provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Hold the money.
    Authorise,
    /// Take the money that is held.
    Capture,
    /// Release the money that is held.
    Void,
    /// Return the money that was taken.
    Refund,
}

/// The state of a payment's order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Paid {
    /// The order's state.
    pub status: Status,
    /// Whether this payment paid the order.
    pub is_by_this: bool,
}

impl PaymentStatus {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Authorised,
        Self::Captured,
        Self::Declined,
        Self::Voided,
        Self::Refunded,
    ];

    /// Returns the name used in JSON and in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Authorised => "authorised",
            Self::Captured => "captured",
            Self::Declined => "declined",
            Self::Voided => "voided",
            Self::Refunded => "refunded",
        }
    }

    /// Returns the state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Returns whether a payment may change from this state to `next`.
    pub fn may_become(self, next: Self) -> bool {
        use PaymentStatus::{Authorised, Captured, Declined, Pending, Refunded, Voided};
        matches!(
            (self, next),
            (Pending, Authorised | Captured | Declined)
                | (Authorised, Captured | Voided)
                | (Captured, Refunded)
        )
    }

    /// Returns whether the order is paid for by a payment in this state.
    pub fn pays(self) -> bool {
        matches!(self, Self::Authorised | Self::Captured)
    }

    /// Returns the next step of a payment in this state; none if it is finished.
    pub fn next_step(self, order: Paid) -> Option<Step> {
        let goes_back = !order.is_by_this || order.status.returns_money();
        match self {
            Self::Pending => Some(Step::Authorise),
            Self::Authorised if goes_back => Some(Step::Void),
            Self::Authorised => Some(Step::Capture),
            Self::Captured if goes_back => Some(Step::Refund),
            Self::Captured | Self::Declined | Self::Voided | Self::Refunded => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Paid, PaymentStatus, Step};
    use crate::status::Status;

    /// Rows are the state before, columns the state after, in the order of [`PaymentStatus::ALL`].
    const MAY_BECOME: [&str; 6] = [
        // pending authorised captured declined voided refunded
        ".acd..", // pending
        "..c.v.", // authorised
        ".....r", // captured
        "......", // declined
        "......", // voided
        "......", // refunded
    ];

    #[test]
    fn every_pair_of_states_is_as_the_table_has_it() {
        for (from, row) in PaymentStatus::ALL.into_iter().zip(MAY_BECOME) {
            for (to, cell) in PaymentStatus::ALL.into_iter().zip(row.chars()) {
                assert_eq!(from.may_become(to), cell != '.', "{from:?} to {to:?}");
            }
            assert_eq!(PaymentStatus::from_name(from.name()), Some(from));
        }
    }

    #[test]
    fn money_is_kept_only_for_an_order_that_it_pays() {
        for status in Status::ALL {
            for is_by_this in [true, false] {
                let order = Paid { status, is_by_this };
                let keeps = is_by_this && !status.returns_money();
                let expected = if keeps {
                    [Some(Step::Authorise), Some(Step::Capture), None]
                } else {
                    [Some(Step::Authorise), Some(Step::Void), Some(Step::Refund)]
                };

                let open = [
                    PaymentStatus::Pending,
                    PaymentStatus::Authorised,
                    PaymentStatus::Captured,
                ];
                assert_eq!(open.map(|payment| payment.next_step(order)), expected);
            }
        }
    }

    #[test]
    fn a_payment_that_has_ended_is_left_alone() {
        for status in Status::ALL {
            for is_by_this in [true, false] {
                for ended in [
                    PaymentStatus::Declined,
                    PaymentStatus::Voided,
                    PaymentStatus::Refunded,
                ] {
                    assert_eq!(ended.next_step(Paid { status, is_by_this }), None);
                }
            }
        }
    }
}
