//! The interface to the machine: time, threads, and signals between them.
//!
//! The native client takes them from this trait alone, as it takes its streams of bytes from
//! `native::network`. A test with a runtime and a network of its own decides which thread goes on,
//! and when, so the same seed gives the same run.
//!
//! The trait is called a few times for each request, and never for a record.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::system_now_ms;

/// Time and threads.
pub(crate) trait Runtime: Send + Sync {
    /// Returns the time of a clock that never goes back.
    fn now(&self) -> Instant;

    /// Returns the time of day, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    fn sleep(&self, pause: Duration);

    /// Runs `task` on a thread with this name.
    ///
    /// # Errors
    /// If there are too many threads.
    fn spawn(&self, name: String, task: Box<dyn FnOnce() + Send>) -> io::Result<()>;

    fn bell(&self) -> Arc<dyn Bell>;

    /// Returns the time that has passed since `earlier`.
    fn since(&self, earlier: Instant) -> Duration {
        self.now().saturating_duration_since(earlier)
    }
}

/// Wakes threads that wait for a change. If each change is followed by a ring, a thread misses
/// none: it reads the number of rings, looks for a change, and then waits for a further ring.
pub(crate) trait Bell: Send + Sync {
    fn ring(&self);

    /// Returns the number of rings so far.
    fn rings(&self) -> u64;

    /// Waits until there are more rings than `heard`, or for `limit` if there is one.
    fn wait(&self, heard: u64, limit: Option<Duration>);
}

/// The system's clocks and threads.
pub(crate) struct System;

impl Runtime for System {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn now_ms(&self) -> u64 {
        system_now_ms()
    }

    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }

    fn spawn(&self, name: String, task: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        std::thread::Builder::new().name(name).spawn(task)?;
        Ok(())
    }

    fn bell(&self) -> Arc<dyn Bell> {
        Arc::new(Counted::default())
    }
}

/// Rings, counted under a lock.
#[derive(Default)]
struct Counted {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell for Counted {
    fn ring(&self) {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.rung.notify_all();
    }

    fn rings(&self) -> u64 {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, heard: u64, limit: Option<Duration>) {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |rings: &mut u64| *rings == heard;
        match limit {
            Some(limit) => drop(self.rung.wait_timeout_while(rings, limit, is_same)),
            None => drop(self.rung.wait_while(rings, is_same)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Runtime, System};

    #[test]
    fn a_ring_before_the_wait_is_not_missed() {
        let bell = System.bell();
        let heard = bell.rings();
        bell.ring();
        bell.wait(heard, None);

        let heard = bell.rings();
        bell.wait(heard, Some(Duration::from_millis(1)));
        assert_eq!(bell.rings(), heard);
    }

    #[test]
    fn a_ring_wakes_one_that_waits() {
        let bell = System.bell();
        let heard = bell.rings();
        let ringing = std::sync::Arc::clone(&bell);
        System
            .spawn("ringing".to_owned(), Box::new(move || ringing.ring()))
            .unwrap();
        bell.wait(heard, None);
        assert_eq!(bell.rings(), heard + 1);
    }
}
