//! The clock that stamps records in the logs inside this process.

use std::time::{SystemTime, UNIX_EPOCH};

/// A clock that returns milliseconds since the Unix epoch.
pub(crate) type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// Returns the system clock's time, in milliseconds since the Unix epoch.
pub(crate) fn system_now_ms() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
