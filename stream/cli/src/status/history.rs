//! The history of a job's figures, for the charts of its page: a sample every 15 seconds of the last hour.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use stream::{Metrics, Status, system_clock};

/// The interval of the samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(15);
/// The time after which a sample is dropped.
const KEPT_MS: u64 = 3_600_000;

/// The figures at a moment; none where they are not known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Moment {
    pub at_ms: u64,
    pub records_per_second: Option<u64>,
    pub lag_records: Option<u64>,
    pub watermark_delay_ms: Option<u64>,
    pub checkpoint_bytes: Option<u64>,
    pub checkpoint_took_ms: Option<u64>,
}

/// The samples, the oldest first.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Moment>,
}

/// A history that a thread adds samples to for as long as it is held.
#[derive(Clone, Debug, Default)]
pub struct SharedHistory(Arc<Mutex<History>>);

impl Moment {
    fn of(status: &Status) -> Self {
        let checkpoint = status.checkpoint.as_ref();
        let took = checkpoint.and_then(|checkpoint| u64::try_from(checkpoint.took_ms).ok());
        Self {
            at_ms: status.now_ms,
            records_per_second: status.records_per_second,
            lag_records: status.lag_records,
            watermark_delay_ms: status.watermark_delay_ms,
            checkpoint_bytes: checkpoint.map(|checkpoint| checkpoint.size_bytes),
            checkpoint_took_ms: took,
        }
    }
}

impl History {
    /// Adds the figures of a status, and drops those that are more than an hour older.
    pub fn add(&mut self, status: &Status) {
        let begin = status.now_ms.saturating_sub(KEPT_MS);
        while self.samples.front().is_some_and(|old| old.at_ms < begin) {
            self.samples.pop_front();
        }
        self.samples.push_back(Moment::of(status));
    }

    pub fn samples(&self) -> impl Iterator<Item = &Moment> {
        self.samples.iter()
    }
}

impl SharedHistory {
    /// Starts to sample a job. Without a thread to spare, the history stays empty: the job does not depend on it.
    pub fn of(metrics: Metrics) -> Self {
        let history = Self::default();
        let shared = Arc::downgrade(&history.0);
        let started = thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || sample(&metrics, &shared));
        if let Err(error) = started {
            tracing::warn!(%error, "the status page has no history");
        }
        history
    }

    /// Calls `with` with the samples so far.
    pub fn read<T>(&self, with: impl FnOnce(&History) -> T) -> T {
        with(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Adds samples while the history is held.
fn sample(metrics: &Metrics, shared: &Weak<Mutex<History>>) {
    while let Some(history) = shared.upgrade() {
        let status = metrics.status(system_clock()());
        history
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(&status);
        drop(history);
        thread::sleep(SAMPLE_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_the_last_hour_are_kept() {
        let mut history = History::default();
        for minute in 0..=90 {
            let status = Status {
                now_ms: minute * 60_000,
                lag_records: Some(minute),
                ..Status::of("counts")
            };
            history.add(&status);
        }

        let kept: Vec<_> = history.samples().map(|sample| sample.lag_records).collect();
        let expected: Vec<_> = (30..=90).map(Some).collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn a_job_is_sampled_while_its_history_is_held() {
        let history = SharedHistory::of(Metrics::new("counts"));
        while history.read(|history| history.samples().count()) == 0 {
            thread::yield_now();
        }
        let first = history.read(|history| history.samples().next().copied());
        assert!(first.is_some_and(|sample| sample.at_ms > 0));
    }
}
