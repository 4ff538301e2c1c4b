//! Writes counts and totals of orders in the form of the wire contract.

mod row;

use std::cmp::Ordering;

use events::{Amount, Amounts, Timestamp, TopUser, WindowSummary};
use serde::Serialize;

use self::row::CountRow;
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
    let amounts = row.aggregate.listed();
    let written = CountRow {
        user_id: row.key,
        start: instant(row.window_start),
        end: instant(row.window_start + size_ms),
        order_count: row.aggregate.orders(),
        amounts: &amounts,
        revision: row.revision,
    };
    written.write(output);
}

/// Writes a user's orders in a session, or that the session has no orders any more.
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

    let amounts = aggregate.listed();
    let orders: (u64, &[Amount]) = if row.is_gone {
        (0, &[])
    } else {
        (aggregate.orders(), &amounts)
    };

    let written = CountRow {
        user_id: row.key,
        start: instant(first_ms),
        end: instant(sessions.end(first_ms, last_ms)),
        order_count: orders.0,
        amounts: orders.1,
        revision: row.revision,
    };
    written.write(output);
}

/// The number of orders and the sums of their totals.
fn counted(totals: &OrderTotals) -> (u64, Amounts) {
    (totals.orders(), totals.amounts())
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
