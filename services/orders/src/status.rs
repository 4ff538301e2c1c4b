//! The states of an order, and the allowed changes between them. Pure logic, without input or output.
//!
//! ```text
//!             ┌──▶ expired ───(a payment came too late)───┐
//!             │                                           ▼
//! pending ────┼──▶ cancelled ──(it had been paid)──▶ refunded
//!    │        │        ▲                                  ▲
//!    └──▶ paid ────────┘                                  │
//!           └──▶ shipped ──▶ delivered ───────────────────┤
//!                   └─────────────────────────────────────┘
//! ```
//!
//! Invariants: an order enters each state at most once, and its stock is released at most
//! once, when it leaves `pending` or `paid` without being shipped.

use events::{
    ORDER_CANCELLED, ORDER_CREATED, ORDER_DELIVERED, ORDER_EXPIRED, ORDER_PAID, ORDER_REFUNDED,
    ORDER_SHIPPED,
};
use serde::{Deserialize, Serialize};

/// The state of an order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Accepted and not paid; its stock is held until the order expires.
    Pending,
    /// Paid for.
    Paid,
    /// On its way to the customer.
    Shipped,
    /// Arrived.
    Delivered,
    /// Cancelled before it was shipped; its stock is released.
    Cancelled,
    /// Not paid in time; its stock is released.
    Expired,
    /// The money was returned.
    Refunded,
}

impl Status {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Paid,
        Self::Shipped,
        Self::Delivered,
        Self::Cancelled,
        Self::Expired,
        Self::Refunded,
    ];

    /// Returns whether an order may change from this state to `next`.
    pub fn may_become(self, next: Self) -> bool {
        use Status::{Cancelled, Delivered, Expired, Paid, Pending, Refunded, Shipped};
        matches!(
            (self, next),
            (Pending, Paid | Cancelled | Expired)
                | (Paid, Shipped | Cancelled)
                | (Shipped, Delivered | Refunded)
                | (Delivered | Cancelled | Expired, Refunded)
        )
    }

    /// Returns whether the order's stock is released when it enters this state.
    pub fn releases_stock(self) -> bool {
        matches!(self, Self::Cancelled | Self::Expired)
    }

    /// Returns whether the payments of an order in this state are returned to the customer.
    pub fn returns_money(self) -> bool {
        matches!(self, Self::Cancelled | Self::Expired | Self::Refunded)
    }

    /// Returns the type of the event that an order publishes when it enters this state.
    pub fn event_type(self) -> &'static str {
        match self {
            Self::Pending => ORDER_CREATED,
            Self::Paid => ORDER_PAID,
            Self::Shipped => ORDER_SHIPPED,
            Self::Delivered => ORDER_DELIVERED,
            Self::Cancelled => ORDER_CANCELLED,
            Self::Expired => ORDER_EXPIRED,
            Self::Refunded => ORDER_REFUNDED,
        }
    }

    /// Returns the name used in JSON and in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Refunded => "refunded",
        }
    }

    /// Returns the state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    /// Rows are the state before, columns the state after, in the order of [`Status::ALL`].
    const MAY_BECOME: [&str; 7] = [
        // pending paid shipped delivered cancelled expired refunded
        ".p..ce.", // pending
        "..s.c..", // paid
        "...d..r", // shipped
        "......r", // delivered
        "......r", // cancelled
        "......r", // expired
        ".......", // refunded
    ];

    #[test]
    fn every_pair_of_states_is_as_the_table_has_it() {
        for (from, row) in Status::ALL.into_iter().zip(MAY_BECOME) {
            for (to, cell) in Status::ALL.into_iter().zip(row.chars()) {
                assert_eq!(from.may_become(to), cell != '.', "{from:?} to {to:?}");
            }
        }
    }

    /// Returns all sequences of states that the table allows and that begin with `pending`.
    fn lives() -> Vec<Vec<Status>> {
        let mut lives = vec![vec![Status::Pending]];
        let mut ended = Vec::new();
        while let Some(life) = lives.pop() {
            assert!(life.len() <= Status::ALL.len(), "{life:?} does not end");
            let last = *life.last().unwrap();
            let next = Status::ALL
                .into_iter()
                .filter(|next| last.may_become(*next));
            lives.extend(next.map(|next| [life.clone(), vec![next]].concat()));
            ended.push(life);
        }
        ended
    }

    #[test]
    fn stock_is_released_at_most_once_and_never_after_shipping() {
        for life in lives() {
            let releases = life.iter().filter(|status| status.releases_stock()).count();
            let is_shipped = life.contains(&Status::Shipped);
            assert!(releases <= 1, "{life:?}");
            assert!(releases == 0 || !is_shipped, "{life:?}");
        }
    }

    #[test]
    fn nothing_is_shipped_that_was_not_paid() {
        for life in lives() {
            let is_shipped = life.contains(&Status::Shipped);
            assert!(!is_shipped || life.contains(&Status::Paid), "{life:?}");
        }
    }

    #[test]
    fn names_and_events_are_those_of_the_contract() {
        for status in Status::ALL {
            assert_eq!(Status::from_name(status.name()), Some(status));
            let json = serde_json::to_string(&status).unwrap();
            assert_eq!(json, format!("{:?}", status.name()));

            let is_change = events::ORDER_CHANGES.contains(&status.event_type());
            assert_eq!(is_change, status != Status::Pending);
        }
        assert_eq!(Status::from_name("lost"), None);
    }
}
