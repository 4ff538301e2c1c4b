//! A signal that one thread waits for and any thread raises: the plain way to be woken by a [`Reader`](crate::Reader).

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::Wake;

/// Raised by a log, waited for by a consumer. A raise that finds nobody waiting is kept for the next wait.
#[derive(Clone, Default)]
pub struct Signal(Arc<(Mutex<bool>, Condvar)>);

impl Signal {
    /// The function to hand to [`Reader::on_readable`](crate::Reader::on_readable).
    pub fn wake(&self) -> Wake {
        let signal = self.clone();
        Arc::new(move || signal.raise())
    }

    /// Lets the waiting thread go on.
    pub fn raise(&self) {
        let (raised, condition) = &*self.0;
        *raised.lock().unwrap_or_else(PoisonError::into_inner) = true;
        condition.notify_one();
    }

    /// Waits until the signal is raised, or for `timeout`; then lowers it.
    pub fn wait(&self, timeout: Duration) {
        let (raised, condition) = &*self.0;
        let raised = raised.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut raised, _) = condition
            .wait_timeout_while(raised, timeout, |raised| !*raised)
            .unwrap_or_else(PoisonError::into_inner);
        *raised = false;
    }
}
