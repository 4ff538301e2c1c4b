//! Watches what no worker sees: that somebody asks to stop, how far reading is behind, and that partitions were added.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use record_log::{RecordLog, Signal};

use crate::attempt::{Attempt, Stop};

/// How often it is looked whether the attempt is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often the log is asked for its offsets.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The watch over one attempt.
pub struct Watch {
    over: Signal,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<bool>,
}

/// Begins to watch.
///
/// # Panics
/// When the system cannot start a thread.
pub fn watch(log: Arc<dyn RecordLog>, topic: String, partitions: u32, attempt: Arc<Attempt>, stop: Stop) -> Watch {
    let (over, is_over) = (Signal::default(), Arc::new(AtomicBool::new(false)));
    let (signal, ended) = (over.clone(), Arc::clone(&is_over));
    let look = move || {
        let _guard = attempt.guard("the monitor");
        let mut asked = Instant::now();
        while !ended.load(Ordering::Acquire) {
            signal.wait(LOOK_EVERY);
            if stop.is_requested() {
                attempt.end();
            }
            if asked.elapsed() >= ASK_EVERY {
                asked = Instant::now();
                // A log that does not answer now is noticed by those who read and publish.
                let Ok(ranges) = log.offsets(&topic) else { continue };
                attempt.metrics.ends(&ranges);
                if ranges.len() > partitions as usize {
                    attempt.end();
                    return true;
                }
            }
        }
        false
    };
    let thread = thread::Builder::new().name("monitor".to_owned()).spawn(look).expect("the system can start a thread");
    Watch { over, is_over, thread }
}

impl Watch {
    /// Ends the watch, and says whether partitions were added.
    ///
    /// # Panics
    /// When the watch itself panicked.
    pub fn end(self) -> bool {
        self.is_over.store(true, Ordering::Release);
        self.over.raise();
        self.thread.join().expect("the monitor does not panic")
    }
}
