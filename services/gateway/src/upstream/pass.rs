//! A permission from the circuit breaker for one call; it reports the call's end to the breaker
//! even if the caller is cancelled.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::breaker::Breaker;

/// The permission. If it is dropped without a report, because the client disconnected, it reports
/// an abandoned call.
pub(super) struct Pass<'a> {
    breaker: Option<&'a Mutex<Breaker>>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(breaker: &'a Mutex<Breaker>) -> Self {
        Self {
            breaker: Some(breaker),
        }
    }

    pub(super) fn succeeded(mut self) {
        self.report(Breaker::succeeded);
    }

    pub(super) fn failed(mut self) {
        self.report(|breaker| breaker.failed(Instant::now()));
    }

    fn report(&mut self, verdict: impl FnOnce(&mut Breaker)) {
        if let Some(breaker) = self.breaker.take() {
            verdict(&mut breaker.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.report(|breaker| breaker.abandoned(Instant::now()));
    }
}
