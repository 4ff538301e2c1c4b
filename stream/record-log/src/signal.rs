//! A signal that one thread waits for and any thread raises. It is the simple way to be woken by a
//! [`Reader`](crate::Reader).

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::Wake;

/// A signal that a log raises and a consumer waits for. If no thread waits when it is raised, the
/// next wait returns at once.
#[derive(Clone, Default)]
pub struct Signal(Arc<(Mutex<bool>, Condvar)>);

impl Signal {
    /// Returns the function for [`Reader::on_readable`](crate::Reader::on_readable).
    pub fn wake(&self) -> Wake {
        let signal = self.clone();
        Arc::new(move || signal.raise())
    }

    /// Wakes the waiting thread.
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
