//! The time of the commit that is being written. Ends that are read meanwhile are dated before it.
//!
//! Records are stamped before they are synced to disk, and become readable after. A reader that
//! reads the end in between would otherwise date it later than records that it has not seen.

use std::sync::atomic::{AtomicU64, Ordering};

/// The value while no commit is being written.
const IDLE: u64 = u64::MAX;

/// The time at which the current commit began. There is at most one, because the store has one
/// writer.
pub(super) struct CommitClock(AtomicU64);

/// A commit that is being written, until this is dropped.
pub(super) struct Committing<'a>(&'a CommitClock);

impl Default for CommitClock {
    fn default() -> Self {
        Self(AtomicU64::new(IDLE))
    }
}

impl CommitClock {
    /// Begins a commit. Its records are stamped after this, and its ends are moved before the
    /// result is dropped.
    pub(super) fn begin(&self, now_ms: u64) -> Committing<'_> {
        self.0.store(now_ms, Ordering::SeqCst);
        Committing(self)
    }

    /// Returns the date of an end that is read after this call, if the clock returned `now_ms`
    /// before it.
    pub(super) fn date_ms(&self, now_ms: u64) -> u64 {
        now_ms.min(self.0.load(Ordering::SeqCst))
    }
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        self.0.0.store(IDLE, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::CommitClock;

    #[test]
    fn an_end_is_dated_no_later_than_a_commit_in_progress() {
        let clock = CommitClock::default();
        assert_eq!(clock.date_ms(500), 500);
        let committing = clock.begin(400);
        assert_eq!(clock.date_ms(500), 400);
        drop(committing);
        assert_eq!(clock.date_ms(500), 500);
    }
}
