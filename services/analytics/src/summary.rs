//! Summaries of a range of time, computed from the summaries of its windows. Pure logic, without input or output.
//!
//! Orders add up exactly, and so does revenue in each currency. Users do not, because a window names only its ten
//! busiest users. The number of distinct users over several windows is exact if every window names all its users;
//! otherwise it is a lower bound. The busiest users of the range are exact under the same condition. The flag
//! `users_is_exact` states whether it holds.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use events::{Amount, Amounts, Timestamp, TopUser, WindowCount, WindowSummary};
use serde::Serialize;

/// Maximum number of busiest users in a summary.
pub const TOP: usize = 10;
/// An hour.
pub const HOUR_MS: u64 = 3_600_000;
/// The longest range of a summary.
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// The newest window, the last hour and the last day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The newest window of the last day; `None` if there is none.
    pub now: Option<Newest>,
    /// Windows that ended within the last hour.
    pub last_hour: Span,
    /// Windows that ended within the last day.
    pub last_day: Span,
    /// Windows that start in the requested range; `None` if none was requested.
    pub range: Option<Range>,
}

/// The windows that start at or after `from` and before `to`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Range {
    /// The first instant of the range.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
    /// Its orders and users.
    #[serde(flatten)]
    pub span: Span,
}

/// The newest window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Newest {
    /// Its start.
    pub window_start: Timestamp,
    /// Its end, exclusive.
    pub window_end: Timestamp,
    /// Its orders and users.
    #[serde(flatten)]
    pub span: Span,
}

/// Orders and users in a range of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Span {
    /// Number of orders.
    pub orders: u64,
    /// Number of distinct users who ordered, or a lower bound.
    pub users: u64,
    /// Whether `users` and `top_users` are exact.
    pub users_is_exact: bool,
    /// Sum of the orders' totals if they have one currency; null if they have several.
    pub revenue_cents: Option<u64>,
    /// Sums of the orders' totals, by currency.
    pub revenue: Vec<Amount>,
    /// The users with the most orders, busiest first.
    pub top_users: Vec<TopUser>,
}

impl Summary {
    /// Computes the summary of these windows, which are sorted newest first.
    pub fn of(windows: &[WindowSummary], now: Timestamp) -> Self {
        let since = |ms: u64| {
            Span::of(
                windows
                    .iter()
                    .filter(move |window| window.window_end.as_ms() + ms > now.as_ms()),
            )
        };

        let newest = windows.first().map(|window| Newest {
            window_start: window.window_start,
            window_end: window.window_end,
            span: Span {
                users: window.user_count,
                users_is_exact: true,
                ..Span::of([window].into_iter())
            },
        });

        Self {
            now: newest,
            last_hour: since(HOUR_MS),
            last_day: since(DAY_MS),
            range: None,
        }
    }

    /// Names at most `limit` busiest users.
    pub fn name_at_most(&mut self, limit: usize) {
        let newest = self.now.as_mut().map(|now| &mut now.span);
        let range = self.range.as_mut().map(|range| &mut range.span);
        let spans = [&mut self.last_hour, &mut self.last_day].into_iter();
        spans
            .chain(newest)
            .chain(range)
            .for_each(|span| span.top_users.truncate(limit));
    }
}

impl Range {
    /// Computes the summary of the windows that start in the range.
    pub fn of(windows: &[WindowSummary], from: Timestamp, to: Timestamp) -> Self {
        let within = |window: &&WindowSummary| (from..to).contains(&window.window_start);
        Self {
            from,
            to,
            span: Span::of(windows.iter().filter(within)),
        }
    }
}

/// Returns one user's count of a window as a summary of the window.
pub fn of_one(count: WindowCount) -> WindowSummary {
    WindowSummary {
        window_start: count.window_start,
        window_end: count.window_end,
        order_count: count.order_count,
        user_count: 1,
        amounts: count.amounts.clone(),
        top_users: vec![TopUser {
            user_id: count.user_id,
            order_count: count.order_count,
            amounts: count.amounts,
        }],
        revision: count.revision,
    }
}

impl Span {
    fn of<'a>(windows: impl Iterator<Item = &'a WindowSummary>) -> Self {
        let mut users: BTreeMap<u64, TopUser> = BTreeMap::new();
        let mut revenue = Amounts::default();
        let mut span = Self {
            users_is_exact: true,
            ..Self::default()
        };

        for window in windows {
            span.orders += window.order_count;
            revenue.extend(window.amounts.as_slice().iter().copied());
            span.users = span.users.max(window.user_count);
            span.users_is_exact &= window.top_users.len() as u64 == window.user_count;

            for top in &window.top_users {
                let sum = users.entry(top.user_id).or_insert(TopUser {
                    user_id: top.user_id,
                    order_count: 0,
                    amounts: Amounts::default(),
                });
                sum.order_count += top.order_count;
                sum.amounts.extend(top.amounts.as_slice().iter().copied());
            }
        }

        span.users = span.users.max(users.len() as u64);
        span.top_users = users.into_values().collect();
        span.top_users.sort_by(busiest_first);
        span.top_users.truncate(TOP);
        span.revenue_cents = revenue.total_cents();
        span.revenue = revenue.as_slice().to_vec();

        span
    }
}

fn busiest_first(one: &TopUser, other: &TopUser) -> Ordering {
    let most_orders = other.order_count.cmp(&one.order_count);
    most_orders
        .then_with(|| one.amounts.higher_first(&other.amounts))
        .then_with(|| one.user_id.cmp(&other.user_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(currency: &str, minor_units: u64) -> Amount {
        Amount {
            currency: currency.parse().unwrap(),
            minor_units,
        }
    }

    fn dollars(orders: u64) -> Amounts {
        [amount("USD", orders * 100)].into_iter().collect()
    }

    const NOW_MS: u64 = 1_795_341_600_000;

    /// Returns a window that ended `minutes_ago`, with pairs of user and number of orders at one dollar each, and
    /// `unnamed` further users with an order each.
    fn window(minutes_ago: u64, users: &[(u64, u64)], unnamed: u64) -> WindowSummary {
        let end = NOW_MS - minutes_ago * 60_000;
        let top = |(user_id, orders): &(u64, u64)| TopUser {
            user_id: *user_id,
            order_count: *orders,
            amounts: dollars(*orders),
        };

        let orders = users.iter().map(|(_, orders)| orders).sum::<u64>() + unnamed;
        WindowSummary {
            window_start: Timestamp::from_ms(end - 60_000).unwrap(),
            window_end: Timestamp::from_ms(end).unwrap(),
            order_count: orders,
            user_count: users.len() as u64 + unnamed,
            amounts: dollars(orders),
            top_users: users.iter().map(top).collect(),
            revision: 0,
        }
    }

    fn summary(windows: &[WindowSummary]) -> Summary {
        Summary::of(windows, Timestamp::from_ms(NOW_MS).unwrap())
    }

    #[test]
    fn nothing_at_all_is_zero_and_exact() {
        let empty = summary(&[]);
        assert_eq!(empty.now, None);
        assert_eq!(
            empty.last_day,
            Span {
                users_is_exact: true,
                revenue_cents: Some(0),
                ..Span::default()
            }
        );
    }

    #[test]
    fn revenue_in_several_currencies_is_no_single_number() {
        let mut yen = window(2, &[(1, 1), (2, 1)], 0);
        yen.amounts = [amount("JPY", 1_500), amount("KWD", 7)]
            .into_iter()
            .collect();
        for (top, code) in yen.top_users.iter_mut().zip(["JPY", "KWD"]) {
            top.amounts = [amount(code, 1_500)].into_iter().collect();
        }

        let span = summary(&[window(1, &[(1, 2)], 0), yen]).last_hour;
        assert_eq!((span.orders, span.revenue_cents), (4, None));
        assert_eq!(
            span.revenue,
            [amount("JPY", 1_500), amount("KWD", 7), amount("USD", 200)]
        );

        let user = &span.top_users[0];
        assert_eq!((user.user_id, user.amounts.total_cents()), (1, None));
        assert_eq!(
            user.amounts.as_slice(),
            [amount("JPY", 1_500), amount("USD", 200)]
        );
    }

    #[test]
    fn users_with_equal_counts_rank_by_currency_and_then_by_total() {
        let mut one = window(1, &[(1, 1), (2, 1), (3, 1)], 0);
        for (top, total) in one
            .top_users
            .iter_mut()
            .zip([("USD", 9), ("EUR", 5), ("EUR", 6)])
        {
            top.amounts = [amount(total.0, total.1)].into_iter().collect();
        }

        let ranked = summary(&[one]).last_hour.top_users;
        assert_eq!(
            ranked.iter().map(|user| user.user_id).collect::<Vec<_>>(),
            [3, 2, 1]
        );
    }

    #[test]
    fn each_stretch_takes_the_windows_that_ended_in_it() {
        let summary = summary(&[
            window(1, &[(1, 2)], 0),
            window(59, &[(2, 1)], 0),
            window(61, &[(3, 4)], 0),
        ]);
        assert_eq!(summary.now.unwrap().span.orders, 2);

        assert_eq!(
            (summary.last_hour.orders, summary.last_hour.revenue_cents),
            (3, Some(300))
        );
        assert_eq!(summary.last_day.orders, 7);
    }

    #[test]
    fn a_user_of_two_windows_counts_once_and_adds_up() {
        let summary = summary(&[window(1, &[(1, 2), (2, 1)], 0), window(2, &[(2, 2)], 0)]);
        assert_eq!(
            (summary.last_hour.users, summary.last_hour.users_is_exact),
            (2, true)
        );

        let busiest: Vec<_> = summary
            .last_hour
            .top_users
            .iter()
            .map(|user| (user.user_id, user.order_count))
            .collect();
        assert_eq!(busiest, [(2, 3), (1, 2)]);
    }

    #[test]
    fn users_that_a_window_does_not_name_make_the_number_a_least() {
        let summary = summary(&[window(1, &[(1, 2)], 40), window(2, &[(2, 2)], 0)]);
        assert_eq!(
            (summary.last_hour.users, summary.last_hour.users_is_exact),
            (41, false)
        );
        assert!(summary.now.unwrap().span.users_is_exact);
    }
}
