//! Summaries of a range of time, computed from the summaries of its windows. Pure.
//!
//! Orders and revenue add up exactly. Users do not, because a window names only its ten busiest
//! users. The number of distinct users over several windows is exact if every window names all its
//! users; otherwise it is a lower bound. The same holds for the busiest users of the range. The
//! summary contains a flag for this.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use events::{Timestamp, TopUser, WindowSummary};
use serde::Serialize;

/// Number of busiest users that are named.
const TOP: usize = 10;
const HOUR_MS: u64 = 3_600_000;
/// The longest range of a summary.
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// The newest window, the last hour and the last day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The newest window of the last day; `None` if it has no window.
    pub now: Option<Newest>,
    /// Windows that ended within the last hour.
    pub last_hour: Span,
    /// Windows that ended within the last day.
    pub last_day: Span,
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
    /// Sum of the orders' totals.
    pub revenue_cents: u64,
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
        }
    }
}

impl Span {
    fn of<'a>(windows: impl Iterator<Item = &'a WindowSummary>) -> Self {
        let mut users: BTreeMap<u64, TopUser> = BTreeMap::new();
        let mut span = Self {
            users_is_exact: true,
            ..Self::default()
        };

        for window in windows {
            span.orders += window.order_count;
            span.revenue_cents += window.total_cents;
            span.users = span.users.max(window.user_count);
            span.users_is_exact &= window.top_users.len() as u64 == window.user_count;

            for top in &window.top_users {
                let sum = users.entry(top.user_id).or_insert(TopUser {
                    order_count: 0,
                    total_cents: 0,
                    ..*top
                });
                sum.order_count += top.order_count;
                sum.total_cents += top.total_cents;
            }
        }

        span.users = span.users.max(users.len() as u64);
        span.top_users = users.into_values().collect();
        span.top_users.sort_by_key(|user| {
            (
                Reverse(user.order_count),
                Reverse(user.total_cents),
                user.user_id,
            )
        });

        span.top_users.truncate(TOP);
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_795_341_600_000;

    /// A window that ended `minutes_ago`, with pairs of user and orders at one dollar an order, and
    /// a number of users that it does not name.
    fn window(minutes_ago: u64, users: &[(u64, u64)], unnamed: u64) -> WindowSummary {
        let end = NOW_MS - minutes_ago * 60_000;
        let top = |(user_id, orders): &(u64, u64)| TopUser {
            user_id: *user_id,
            order_count: *orders,
            total_cents: orders * 100,
        };

        let orders = users.iter().map(|(_, orders)| orders).sum::<u64>() + unnamed;
        WindowSummary {
            window_start: Timestamp::from_ms(end - 60_000).unwrap(),
            window_end: Timestamp::from_ms(end).unwrap(),
            order_count: orders,
            user_count: users.len() as u64 + unnamed,
            total_cents: orders * 100,
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
                ..Span::default()
            }
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
            (3, 300)
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
