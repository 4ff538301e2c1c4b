//! Writes counts and totals of orders as the wire contract has them.

use std::cmp::{Ordering, Reverse};

use events::{Timestamp, TopUser, WindowCount, WindowSummary};
use serde::Serialize;

use super::OrderTotals;
use stream::aggregate::{Aggregate, Count, Session, Sum};
use stream::flow::Row;
use stream::job::Output;
use stream::pane::{EventTimeMs, SessionWindows};
use stream::summary::Totals;

/// Most orders first; then the higher total, then the lower id. `orders` finds them in what is kept of a user.
pub fn most<A: Aggregate>(
    orders: impl Fn(&A) -> OrderTotals,
) -> impl Fn((&u64, &A), (&u64, &A)) -> Ordering {
    move |(id, one), (other_id, other)| {
        (Reverse(orders(one)), id).cmp(&(Reverse(orders(other)), other_id))
    }
}

/// A user's orders in a window of `size_ms`.
pub fn count(row: &Row<u64, OrderTotals>, size_ms: u64, output: &mut Output) {
    write_count(
        row.key,
        (row.window_start, row.window_start + size_ms),
        row.aggregate,
        row.revision,
        output,
    );
}

/// A user's orders in a session, or that it has none any more.
pub fn session(
    row: &Row<u64, Session<OrderTotals>>,
    sessions: SessionWindows,
    output: &mut Output,
) {
    let Session {
        first_ms,
        last_ms,
        aggregate,
    } = row.aggregate;

    let orders = if row.is_gone {
        OrderTotals::default()
    } else {
        aggregate
    };

    write_count(
        row.key,
        (first_ms, sessions.end(first_ms, last_ms)),
        orders,
        row.revision,
        output,
    );
}

fn write_count(
    user_id: u64,
    (start, end): (EventTimeMs, EventTimeMs),
    (Count(order_count), Sum(total_cents)): OrderTotals,
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
            total_cents,
            revision,
        },
        output,
    );
}

/// The totals of a window of `size_ms`, or of the sessions in it. `orders` finds them in what is kept of a user.
pub fn summary<A: Aggregate>(
    totals: &Totals<u64, A>,
    orders: impl Fn(&A) -> OrderTotals,
    size_ms: u64,
    output: &mut Output,
) {
    let top = |(user_id, kept): &(u64, A)| {
        let (Count(order_count), Sum(total_cents)) = orders(kept);
        TopUser {
            user_id: *user_id,
            order_count,
            total_cents,
        }
    };

    let (Count(order_count), Sum(total_cents)) = orders(&totals.aggregate);
    let window_start = instant(totals.window_start);
    let summary = WindowSummary {
        window_start,
        window_end: instant(totals.window_start + size_ms),
        order_count,
        user_count: totals.keys,
        total_cents,
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
