//! Writes librdkafka's log to the process's log. Unreachable brokers are logged at intervals, not
//! at every attempt.

use std::ffi::{CStr, c_char, c_int};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka_sys as sys;

/// The shortest time between two warnings about failing connections, over all clients of the
/// process.
const WARNING_INTERVAL: Duration = Duration::from_secs(30);

/// librdkafka's syslog levels.
const LOG_CRITICAL: c_int = 2;
const LOG_WARNING: c_int = 4;

/// Writes a line to tracing.
pub(super) unsafe extern "C" fn on_log(
    _: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    // SAFETY: both are texts that end with a zero byte and live during the call.
    let (facility, line) = unsafe { (CStr::from_ptr(facility), CStr::from_ptr(line)) };
    let facility = facility.to_string_lossy();
    let line = line.to_string_lossy();

    if level <= LOG_CRITICAL {
        tracing::error!(target: "librdkafka", %facility, "{line}");
    } else if level <= LOG_WARNING && !is_secondary(&facility, &line) && is_warning_due() {
        tracing::warn!(target: "librdkafka", %facility, "{line}");
    } else {
        tracing::debug!(target: "librdkafka", %facility, "{line}");
    }
}

/// Returns `true` if a user can do nothing about a warning. If one partition cannot be added to a
/// transaction, the brokers refuse the others without a reason, and librdkafka also warns of these.
fn is_secondary(facility: &str, line: &str) -> bool {
    facility == "CONFWARN" || facility == "ADDPARTS" && line.contains("Operation not attempted")
}

fn is_warning_due() -> bool {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);

    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let is_due = last.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL);
    if is_due {
        *last = Some(Instant::now());
    }

    is_due
}
