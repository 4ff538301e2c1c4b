//! The input of the stages: the same on every machine.

use std::time::Duration;

use events::{Amount, OrderCreated, Timestamp};
use order_analytics::{OrderTotals, write};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use stream::{Aggregate, Output, Row};

use crate::orders::{OrderSettings, Spread};

/// The event time of the first order: the beginning of 2025.
pub const START_MS: u64 = 1_735_689_600_000;
/// The length of windows.
pub const WINDOW_MS: u64 = 60_000;

/// Returns orders of 100,000 users in five minutes of event time.
pub fn orders(count: u64) -> impl Iterator<Item = OrderCreated> {
    let settings = OrderSettings {
        orders: count,
        users: 100_000,
        spread: Spread::Uniform,
        start: Timestamp::from_ms(START_MS).expect("2025 is within the range of timestamps"),
        span: Duration::from_secs(300),
        disorder: Duration::from_secs(5),
        late: 0.0,
        malformed: 0.0,
        seed: 1,
    };
    settings.good()
}

/// Returns an order as the orders service publishes it.
pub fn published(order: &OrderCreated) -> Vec<u8> {
    serde_json::to_vec(order).expect("an order is plain data")
}

/// Returns the rows of users with one or two orders in a window.
pub fn rows(count: u64) -> Vec<Row<u64, OrderTotals>> {
    let row = |(place, order): (u64, OrderCreated)| {
        let total = Amount {
            currency: order.currency.parse().expect("orders have a currency"),
            minor_units: order.total_cents,
        };

        let mut aggregate = OrderTotals::of(total);
        if place % 3 == 0 {
            aggregate.merge(&OrderTotals::of(total));
        }

        Row {
            window_start: START_MS,
            key: order.user_id,
            aggregate,
            revision: 0,
            is_gone: false,
        }
    };
    (0..).zip(orders(count)).map(row).collect()
}

/// Returns the records of these rows.
pub fn written(rows: &[Row<u64, OrderTotals>]) -> Vec<Output> {
    let written = |row: &Row<u64, OrderTotals>| {
        let mut output = Output::default();
        write::count(row, WINDOW_MS, &mut output);
        output
    };
    rows.iter().map(written).collect()
}

/// Returns texts of random bytes, which compression does not make smaller.
pub fn noise(count: u64, bytes: usize) -> Vec<Vec<u8>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let text = |_| {
        let mut text = vec![0; bytes];
        random.fill_bytes(&mut text);
        text
    };
    (0..count).map(text).collect()
}
