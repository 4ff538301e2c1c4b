//! Ctrl-C and SIGTERM: the first asks the process to drain and stop, the second ends it at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code of a process that was interrupted before it had drained: 128 + SIGINT, as shells report it.
const INTERRUPTED: i32 = 130;

/// The signals that stop a process, caught from the moment this is made.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Starts to catch them.
    ///
    /// # Errors
    /// The system's, when it refuses.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Returns with the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// From here on the next one ends the process.
    pub fn end_process_on_next(mut self) {
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(INTERRUPTED);
        });
    }
}
