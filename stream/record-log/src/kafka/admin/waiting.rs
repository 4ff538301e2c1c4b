//! The calls that wait for brokers. librdkafka tries again for as long as a call may take, and returns nothing meanwhile.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A call that takes longer than this waits.
const LONG: Duration = Duration::from_secs(1);

/// The calls in progress, each with the time at which it began.
#[derive(Default)]
pub(super) struct Waiting(Mutex<BTreeMap<u64, Instant>>);

/// A call in progress. It ends with this value.
pub(super) struct InProgress<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Waiting {
    /// Notes a call that begins.
    pub(super) fn begin(&self) -> InProgress<'_> {
        let mut calls = self.calls();
        let number = calls.last_key_value().map_or(0, |(last, _)| last + 1);
        calls.insert(number, Instant::now());
        InProgress {
            waiting: self,
            number,
        }
    }

    /// Returns for how long the oldest call has waited; none if none takes long.
    pub(super) fn longest(&self) -> Option<Duration> {
        let waits = self.calls().first_key_value()?.1.elapsed();
        (waits >= LONG).then_some(waits)
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.waiting.calls().remove(&self.number);
    }
}
