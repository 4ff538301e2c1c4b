//! Reports why an attempt waits for the log before its first answer, while the attempt itself can only wait.
//!
//! A log is tried again for a while before a call of it fails, so without this a job whose brokers are away is silent at
//! first.

use std::sync::Arc;
use std::time::Duration;

use record_log::RecordLog;
use tokio::task::JoinHandle;

use crate::metrics::Metrics;

/// The time after which a log that has not answered is reported.
const FIRST: Duration = Duration::from_millis(1_500);
/// The interval of reports after that.
const EVERY: Duration = Duration::from_secs(5);

/// The reports, which end with this value.
pub struct Waiting(JoinHandle<()>);

impl Waiting {
    /// Begins to report, on a thread of the runtime.
    pub fn report(log: &Arc<dyn RecordLog>, metrics: &Metrics) -> Self {
        let log = Arc::clone(log);
        let metrics = metrics.clone();
        Self(tokio::spawn(async move {
            let mut pause = FIRST;
            loop {
                tokio::time::sleep(pause).await;
                if let Some(reason) = log.obstacle() {
                    tracing::warn!("waiting for the log, and trying again: {reason}");
                    metrics.trouble(reason);
                    pause = EVERY;
                }
            }
        }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abort();
    }
}
