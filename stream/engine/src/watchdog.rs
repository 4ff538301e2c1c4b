//! Notices a worker that hangs while its process lives on: a call that never returns, in the job's
//! own code or in a library under it.
//!
//! Each worker counts its steps. A thread that has nothing else to do looks at the counts. A count
//! that does not change for the step limit means that the worker hangs. Such a thread cannot be
//! ended from outside, so the process has to start again.
//!
//! Time is counted in looks. A clock would include the time for which the whole process was
//! suspended, and every worker would seem to hang when it continues.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use record_log::Signal;

/// The interval between two looks at the workers' counts.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The count of a worker that takes no more steps.
const ENDED: u64 = u64::MAX;

/// The steps of the workers of a process.
#[derive(Clone)]
pub struct Steps {
    counts: Arc<[AtomicU64]>,
    ended: Signal,
}

/// One worker's count. Dropping it, in a panic too, means that the worker takes no more steps.
pub struct StepCount {
    steps: Steps,
    worker: usize,
}

impl Steps {
    /// Creates the counts of this many workers. A worker is watched from its first step on, because
    /// loading a checkpoint before it may take any time.
    pub fn of_workers(workers: usize) -> Self {
        Self {
            counts: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            ended: Signal::default(),
        }
    }

    /// Returns the count of the process's worker with that index.
    pub fn of(&self, worker: usize) -> StepCount {
        StepCount {
            steps: self.clone(),
            worker,
        }
    }

    /// Waits until all workers have ended, or until one hangs. Returns the index of the worker that
    /// hangs. `have_ended` covers workers whose threads died before they had a count.
    pub fn watch(&self, limit: Duration, have_ended: impl Fn() -> bool) -> Option<usize> {
        let mut seen = vec![(0, Duration::ZERO); self.counts.len()];
        loop {
            let counts = self.read();
            if counts.iter().all(|count| *count == ENDED) || have_ended() {
                return None;
            }
            if let Some(worker) = look(&mut seen, &counts, limit) {
                return Some(worker);
            }
            self.ended.wait(LOOK_EVERY);
        }
    }

    fn read(&self) -> Vec<u64> {
        self.counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect()
    }
}

impl StepCount {
    /// Counts a step that begins.
    pub fn begin(&self) {
        self.steps.counts[self.worker].fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for StepCount {
    fn drop(&mut self) {
        self.steps.counts[self.worker].store(ENDED, Ordering::Relaxed);
        self.steps.ended.raise();
    }
}

/// Notes for how long each count has been the same. Returns the first worker whose count is the
/// same for longer than the limit.
fn look(seen: &mut [(u64, Duration)], counts: &[u64], limit: Duration) -> Option<usize> {
    for ((last, unchanged), &count) in seen.iter_mut().zip(counts) {
        let is_watched = count != 0 && count != ENDED;
        *unchanged = if is_watched && *last == count {
            *unchanged + LOOK_EVERY
        } else {
            Duration::ZERO
        };
        *last = count;
    }

    seen.iter().position(|(_, unchanged)| *unchanged > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = LOOK_EVERY.saturating_mul(3);

    /// Returns the number of looks after which a worker hangs, and which one it is.
    fn first_hang(counts: impl Fn(u64) -> Vec<u64>) -> Option<(u64, usize)> {
        let mut seen = vec![(0, Duration::ZERO); counts(0).len()];
        (0..100).find_map(|number| {
            let worker = look(&mut seen, &counts(number), LIMIT)?;
            Some((number, worker))
        })
    }

    #[test]
    fn a_worker_whose_count_stands_still_hangs_after_the_limit() {
        assert_eq!(first_hang(|look| vec![look + 1, 7]), Some((4, 1)));
        assert_eq!(first_hang(|look| vec![(look + 1).min(10)]), Some((13, 0)));
    }

    #[test]
    fn a_worker_that_loads_steps_or_has_ended_does_not_hang() {
        assert_eq!(first_hang(|look| vec![0, look + 1, ENDED]), None);
        assert_eq!(
            first_hang(|look| vec![1 + look / 3]),
            None,
            "a step may take three looks"
        );
    }

    #[test]
    fn a_worker_that_hangs_is_found_beside_one_that_has_ended() {
        let steps = Steps::of_workers(2);
        drop(steps.of(0));
        let hanging = steps.of(1);
        hanging.begin();
        assert_eq!(steps.watch(LIMIT, || false), Some(1));
    }

    #[test]
    fn the_watch_ends_with_workers_that_died_before_they_had_a_count() {
        let steps = Steps::of_workers(1);
        let looks = AtomicU64::new(0);
        let have_ended = || looks.fetch_add(1, Ordering::Relaxed) == 3;
        assert_eq!(steps.watch(LIMIT, have_ended), None);
        assert_eq!(looks.into_inner(), 4);
    }

    #[test]
    fn the_watch_ends_with_the_last_worker_even_if_that_one_panics() {
        let steps = Steps::of_workers(2);
        let first = steps.of(0);
        let second = steps.of(1);
        first.begin();
        second.begin();

        let watched = steps.clone();
        let watch = std::thread::spawn(move || watched.watch(Duration::MAX, || false));
        drop(first);
        let panicked = std::thread::spawn(move || {
            let _count = second;
            std::panic::resume_unwind(Box::new(()));
        });

        assert!(panicked.join().is_err());
        assert_eq!(watch.join().unwrap(), None);
    }
}
