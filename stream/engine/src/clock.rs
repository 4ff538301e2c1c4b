//! The clock of a job, which tests replace by one of their own.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock that returns milliseconds since the epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Returns the system clock.
pub fn system_clock() -> Clock {
    Arc::new(now_ms)
}

/// Returns the system clock's time, in milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
