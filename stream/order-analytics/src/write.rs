//! Writes counts and totals of orders in the form of the wire contract.

use std::cmp::Ordering;

use events::{Amounts, Timestamp, TopUser, WindowCount, WindowSummary};
use serde::Serialize;

use super::OrderTotals;
use stream::{Aggregate, EventTimeMs, Output, Row, Session, SessionWindows, Totals};

/// Orders users by most orders, then by currency and higher total, then by lower id. `orders` returns
/// the totals from the aggregate of a user.
pub fn most<A: Aggregate>(
    orders: impl Fn(&A) -> &OrderTotals,
) -> impl Fn((&u64, &A), (&u64, &A)) -> Ordering {
    move |(id, one), (other_id, other)| {
        let one = orders(one);
        let other = orders(other);

        let most_orders = other.orders().cmp(&one.orders());
        most_orders
            .then_with(|| one.amounts().higher_first(&other.amounts()))
            .then_with(|| id.cmp(other_id))
    }
}

/// Writes a user's orders in a window of `size_ms`.
pub fn count(row: &Row<u64, OrderTotals>, size_ms: u64, output: &mut Output) {
    write_count(
        row.key,
        (row.window_start, row.window_start + size_ms),
        counted(&row.aggregate),
        row.revision,
        output,
    );
}

/// Writes a user's orders in a session, or that the session has none any more.
pub fn session(
    row: &Row<u64, Session<OrderTotals>>,
    sessions: SessionWindows,
    output: &mut Output,
) {
    let Session {
        first_ms,
        last_ms,
        ref aggregate,
    } = row.aggregate;

    let orders = if row.is_gone {
        (0, Amounts::default())
    } else {
        counted(aggregate)
    };

    write_count(
        row.key,
        (first_ms, sessions.end(first_ms, last_ms)),
        orders,
        row.revision,
        output,
    );
}

/// The number of orders and the sums of their totals.
fn counted(totals: &OrderTotals) -> (u64, Amounts) {
    (totals.orders(), totals.amounts())
}

fn write_count(
    user_id: u64,
    (start, end): (EventTimeMs, EventTimeMs),
    (order_count, amounts): (u64, Amounts),
    revision: u32,
    output: &mut Output,
) {
    let window_start = instant(start);
    let window_end = instant(end);
    output.key.extend(user_id.to_string().bytes());

    write_json(
        &WindowCount {
            user_id,
            window_start,
            window_end,
            order_count,
            amounts,
            revision,
        },
        output,
    );
}

/// Writes the totals of a window of `size_ms`, or of the sessions in it. `orders` returns the
/// totals from the aggregate of a user.
pub fn summary<A: Aggregate>(
    totals: &Totals<u64, A>,
    orders: impl Fn(&A) -> &OrderTotals,
    size_ms: u64,
    output: &mut Output,
) {
    let top = |(user_id, kept): &(u64, A)| {
        let (order_count, amounts) = counted(orders(kept));
        TopUser {
            user_id: *user_id,
            order_count,
            amounts,
        }
    };

    let (order_count, amounts) = counted(orders(&totals.aggregate));
    let window_start = instant(totals.window_start);
    let summary = WindowSummary {
        window_start,
        window_end: instant(totals.window_start + size_ms),
        order_count,
        user_count: totals.keys,
        amounts,
        top_users: totals.top.iter().map(top).collect(),
        revision: totals.revision(),
    };

    output.key.extend(window_start.to_string().bytes());
    write_json(&summary, output);
}

fn instant(ms: EventTimeMs) -> Timestamp {
    Timestamp::from_ms(ms).expect("orders are dated within the range of timestamps")
}

fn write_json(value: &impl Serialize, output: &mut Output) {
    serde_json::to_writer(&mut output.value, value).expect("numbers and timestamps are JSON");
}
