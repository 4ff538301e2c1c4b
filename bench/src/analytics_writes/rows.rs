//! The rows that are written.

use events::{Amount, Timestamp, WindowCount};

pub(super) const MINUTE_MS: u64 = 60_000;
pub(super) const HOUR_MS: u64 = 60 * MINUTE_MS;

/// Returns the count of a user in the minute that begins at `start_ms`.
pub(super) fn count(user_id: u64, start_ms: u64) -> WindowCount {
    let instant = |ms| Timestamp::from_ms(ms).expect("a window of our time");
    let amount = Amount {
        currency: "EUR".parse().expect("a currency"),
        minor_units: 1_000 + user_id % 9_000,
    };

    WindowCount {
        user_id,
        window_start: instant(start_ms),
        window_end: instant(start_ms + MINUTE_MS),
        order_count: 1 + user_id % 3,
        amounts: [amount].into_iter().collect(),
        revision: 0,
    }
}
