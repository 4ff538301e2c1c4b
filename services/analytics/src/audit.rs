//! The audit: compares the orders stored in SQL with the orders counted by the stream job, minute by minute. Pure
//! logic, without input or output.
//!
//! Both use the event time of the order's event. In a closed minute, the number of orders and their totals in each
//! currency are therefore equal, unless an order was lost or counted twice. Windows arrive in the order of their ends,
//! so a minute is closed once a window with the same or a later end has arrived. If none arrives, because there are no
//! orders or the job is down, the minute closes after a configured wait. Orders that are not counted by then are a
//! difference.
//!
//! A difference that disappears is not a loss: a late order corrects its window, and the last window of a closed minute
//! may arrive a moment after a later window.

use std::collections::BTreeMap;

use events::{Amount, Amounts, Currency, Timestamp, WindowSummary};
use serde::{Deserialize, Serialize};

const MINUTE_MS: u64 = 60_000;

/// A number of orders and their totals.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sum {
    /// The number of orders.
    pub orders: u64,
    /// Sums of their totals, by currency.
    #[serde(flatten)]
    pub amounts: Amounts,
}

/// The orders of a minute, as stored in SQL.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct StoredMinute {
    /// Its start.
    pub minute: Timestamp,
    /// The number and totals of its orders.
    #[serde(flatten)]
    pub sum: Sum,
}

/// The result of an audit over a range of time.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Audit {
    /// Whether no closed minute has a difference.
    pub balanced: bool,
    /// Minutes that end at or before this instant are closed.
    pub closed_until: Timestamp,
    /// The sum over the closed minutes, as stored in SQL.
    pub stored: Sum,
    /// The sum over the closed minutes, as counted by the stream job.
    pub counted: Sum,
    /// Number of minutes with orders that are still open.
    pub open_minutes: usize,
    /// The minutes with orders, oldest first.
    pub items: Vec<Line>,
    /// Always `None`, as the range is one page. Every list has this field.
    pub next: Option<String>,
}

/// One minute of an audit.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Line {
    /// Its start in milliseconds since 1970.
    pub id: u64,
    /// Its start.
    pub minute: Timestamp,
    /// Whether the minute is closed, so that all its orders should be counted.
    pub is_closed: bool,
    /// The orders stored in SQL.
    pub stored: Sum,
    /// The orders counted by the stream job.
    pub counted: Sum,
    /// The number of stored orders minus the number of counted ones.
    pub difference: i64,
}

/// The stream job counts in windows that do not each lie within one minute.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the stream job counts in windows that do not each lie within one minute")]
pub struct NotByMinute;

/// Returns the instant until which minutes are closed: the end of the newest window, or `patience_ms` before `now`,
/// whichever is later.
pub fn closed_until(
    newest_window_end: Option<Timestamp>,
    now: Timestamp,
    patience_ms: u64,
) -> Timestamp {
    let given_up = Timestamp::from_ms(now.as_ms().saturating_sub(patience_ms)).unwrap_or(now);
    newest_window_end.map_or(given_up, |known| known.max(given_up))
}

impl Audit {
    /// Compares the stored orders with the counted windows.
    ///
    /// # Errors
    /// Returns [`NotByMinute`] if a window does not lie within one minute.
    pub fn of(
        stored: &[StoredMinute],
        windows: &[WindowSummary],
        closed_until: Timestamp,
    ) -> Result<Self, NotByMinute> {
        let mut minutes: BTreeMap<Timestamp, (Sum, Sum)> = BTreeMap::new();
        for StoredMinute { minute, sum } in stored {
            minutes.entry(*minute).or_default().0.add(sum);
        }

        for window in windows {
            let sum = Sum {
                orders: window.order_count,
                amounts: window.amounts.clone(),
            };
            minutes.entry(minute_of(window)?).or_default().1.add(&sum);
        }

        let line = |(minute, (stored, counted))| Line::of(minute, stored, counted, closed_until);
        Ok(Self::over(
            minutes.into_iter().map(line).collect(),
            closed_until,
        ))
    }

    fn over(items: Vec<Line>, closed_until: Timestamp) -> Self {
        let mut stored = Sum::default();
        let mut counted = Sum::default();
        for line in items.iter().filter(|line| line.is_closed) {
            stored.add(&line.stored);
            counted.add(&line.counted);
        }

        Self {
            balanced: items
                .iter()
                .all(|line| !line.is_closed || line.stored.agrees_with(&line.counted)),
            closed_until,
            stored,
            counted,
            open_minutes: items.iter().filter(|line| !line.is_closed).count(),
            items,
            next: None,
        }
    }
}

impl Line {
    fn of(minute: Timestamp, stored: Sum, counted: Sum, closed_until: Timestamp) -> Self {
        Self {
            id: minute.as_ms(),
            minute,
            is_closed: minute.as_ms() + MINUTE_MS <= closed_until.as_ms(),
            difference: stored
                .orders
                .cast_signed()
                .saturating_sub(counted.orders.cast_signed()),
            stored,
            counted,
        }
    }
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.orders = self.orders.saturating_add(other.orders);
        self.amounts
            .extend(other.amounts.as_slice().iter().copied());
    }

    /// Returns whether the numbers of orders and the totals are equal, as far as the currencies are known.
    fn agrees_with(&self, other: &Self) -> bool {
        let own = self.amounts.as_slice();
        let others = other.amounts.as_slice();
        let totals_agree = own == others || is_rest_of(own, others) || is_rest_of(others, own);
        self.orders == other.orders && totals_agree
    }
}

/// Returns whether `partly` has an amount of unknown currency that, together with its known amounts, can be `whole`. An
/// amount from before currencies were counted is one number for the orders of all currencies.
fn is_rest_of(partly: &[Amount], whole: &[Amount]) -> bool {
    let is_known = |amount: &&Amount| amount.currency != Currency::UNKNOWN;
    let sum = |amounts: &[Amount]| -> u128 {
        amounts
            .iter()
            .map(|amount| u128::from(amount.minor_units))
            .sum()
    };

    let is_within = |known: &Amount| {
        let same = |amount: &&Amount| amount.currency == known.currency;
        let most = whole
            .iter()
            .find(same)
            .map_or(0, |amount| amount.minor_units);
        known.minor_units <= most
    };

    let has_unknown = !partly.iter().all(|amount| is_known(&amount));
    has_unknown && sum(partly) == sum(whole) && partly.iter().filter(is_known).all(is_within)
}

/// Returns the start of the minute that contains the window.
fn minute_of(window: &WindowSummary) -> Result<Timestamp, NotByMinute> {
    let start_ms = window.window_start.as_ms() / MINUTE_MS * MINUTE_MS;
    let start = Timestamp::from_ms(start_ms).ok_or(NotByMinute)?;
    if window.window_end.as_ms() > start_ms + MINUTE_MS {
        Err(NotByMinute)
    } else {
        Ok(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_MS: u64 = 1_795_341_600_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_ms(TEN_MS + seconds * 1_000).unwrap()
    }

    fn amounts(of: &[(&str, u64)]) -> Amounts {
        let amount = |(code, minor_units): &(&str, u64)| Amount {
            currency: code.parse().unwrap(),
            minor_units: *minor_units,
        };
        of.iter().map(amount).collect()
    }

    fn sum(orders: u64) -> Sum {
        Sum {
            orders,
            amounts: amounts(&[("USD", orders * 100)]),
        }
    }

    fn stored(minute: u64, orders: u64) -> StoredMinute {
        StoredMinute {
            minute: at(minute * 60),
            sum: sum(orders),
        }
    }

    fn window(from: u64, to: u64, orders: u64) -> WindowSummary {
        WindowSummary {
            window_start: at(from),
            window_end: at(to),
            order_count: orders,
            user_count: 1,
            amounts: amounts(&[("USD", orders * 100)]),
            top_users: Vec::new(),
            revision: 0,
        }
    }

    fn audit(stored: &[StoredMinute], windows: &[WindowSummary], closed_until: u64) -> Audit {
        Audit::of(stored, windows, at(closed_until)).unwrap()
    }

    #[test]
    fn nothing_balances() {
        let audit = audit(&[], &[], 600);
        assert!(audit.balanced && audit.items.is_empty() && audit.open_minutes == 0);
    }

    #[test]
    fn minutes_that_were_counted_whole_balance() {
        let audit = audit(
            &[stored(0, 3), stored(2, 1)],
            &[window(0, 60, 3), window(120, 180, 1)],
            180,
        );
        assert!(audit.balanced);
        assert_eq!((audit.stored, audit.counted), (sum(4), sum(4)));

        assert_eq!(
            audit
                .items
                .iter()
                .map(|line| line.difference)
                .collect::<Vec<_>>(),
            [0, 0]
        );
    }

    #[test]
    fn lost_and_doubled_orders_are_differences_of_their_minutes() {
        let audit = audit(
            &[stored(0, 3), stored(1, 3)],
            &[window(0, 60, 2), window(60, 120, 4)],
            180,
        );
        assert!(!audit.balanced);

        assert_eq!(
            audit
                .items
                .iter()
                .map(|line| line.difference)
                .collect::<Vec<_>>(),
            [1, -1]
        );
    }

    #[test]
    fn a_missing_window_or_missing_orders_do_not_balance() {
        assert!(!audit(&[stored(0, 1)], &[], 60).balanced);
        assert!(!audit(&[], &[window(0, 60, 1)], 60).balanced);
    }

    #[test]
    fn totals_must_agree_as_well() {
        let mut counted = window(0, 60, 3);
        counted.amounts = amounts(&[("USD", 299)]);
        assert!(!audit(&[stored(0, 3)], &[counted], 60).balanced);
    }

    /// Returns whether a minute with three orders and these totals balances.
    fn balances(stored_as: &[(&str, u64)], counted_as: &[(&str, u64)]) -> bool {
        let mut stored = stored(0, 3);
        stored.sum.amounts = amounts(stored_as);
        let mut counted = window(0, 60, 3);
        counted.amounts = amounts(counted_as);
        audit(&[stored], &[counted], 60).balanced
    }

    #[test]
    fn totals_must_agree_in_each_currency() {
        let stored = [("JPY", 150_000), ("USD", 1_999)];
        assert!(balances(&stored, &stored));
        assert!(!balances(&stored, &[("JPY", 150_001), ("USD", 1_998)]));
        assert!(!balances(&stored, &[("USD", 151_999)]));
        assert!(!balances(&stored, &[("EUR", 150_000), ("USD", 1_999)]));
        assert!(!balances(&stored, &[("JPY", 150_000)]));
        assert!(!balances(&[("JPY", 150_000)], &stored));
    }

    #[test]
    fn an_amount_of_unknown_currency_must_be_the_rest_of_its_minute() {
        let stored = [("JPY", 150_000), ("USD", 1_999)];
        assert!(balances(&stored, &[("XXX", 151_999)]));
        assert!(balances(&stored, &[("USD", 999), ("XXX", 151_000)]));
        assert!(!balances(&stored, &[("XXX", 151_998)]));
        assert!(!balances(&stored, &[("USD", 2_000), ("XXX", 149_999)]));
        assert!(!balances(&stored, &[("EUR", 1), ("XXX", 151_998)]));
        assert!(!balances(&[("XXX", 1), ("USD", 1)], &[("USD", 3)]));
        assert!(balances(&[("XXX", 151_999)], &stored));
    }

    #[test]
    fn a_minute_that_is_open_is_not_held_against_anybody() {
        let audit = audit(&[stored(0, 3), stored(1, 5)], &[window(0, 60, 3)], 119);
        assert!(audit.balanced);
        assert_eq!((audit.stored, audit.open_minutes), (sum(3), 1));

        assert_eq!(
            (audit.items[1].is_closed, audit.items[1].difference),
            (false, 5)
        );
    }

    #[test]
    fn windows_add_up_to_their_minute_and_longer_ones_are_refused() {
        let audit = audit(
            &[stored(0, 5)],
            &[window(0, 20, 2), window(20, 40, 2), window(40, 60, 1)],
            60,
        );
        assert!(audit.balanced);

        assert_eq!(
            Audit::of(&[], &[window(0, 120, 1)], at(120)),
            Err(NotByMinute)
        );

        assert_eq!(
            Audit::of(&[], &[window(30, 90, 1)], at(120)),
            Err(NotByMinute)
        );
    }

    #[test]
    fn a_minute_closes_after_a_later_window_or_after_the_wait() {
        assert_eq!(closed_until(Some(at(120)), at(130), 60_000), at(120));
        assert_eq!(closed_until(Some(at(120)), at(600), 60_000), at(540));
        assert_eq!(closed_until(None, at(600), 60_000), at(540));
    }
}
