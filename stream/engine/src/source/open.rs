//! The records that a worker has read and not sent: aggregated by key and pane, until their panes close.

use crate::aggregate::{Aggregate, Key};
use crate::cut::{Intake, Verdict};
use crate::metrics::counts::BatchCounts;
use crate::pane::EventTimeMs;
use crate::source::fold::{Fold, Group};
use crate::source::limits::Limits;
use crate::source::on_time::OnTimeRun;

/// The records of one worker that have been read and not sent.
pub struct Open<K, A> {
    pub fold: Fold<K, A>,
    /// The boundary by which all windows that contain something end.
    pub windows_end: EventTimeMs,
    /// The panes of arrival and of the record that was counted last.
    last: Option<(EventTimeMs, EventTimeMs)>,
    /// The bytes of the records that a job without a window has read and not sent.
    pub passed_bytes: usize,
}

impl<K: Key, A: Aggregate> Open<K, A> {
    /// Creates the value without records, for a source that begins at `boundary`.
    pub fn from(boundary: EventTimeMs) -> Self {
        Self {
            fold: Fold::default(),
            windows_end: boundary,
            last: None,
            passed_bytes: 0,
        }
    }

    /// Decides about events that are on time, and merges those that are counted.
    pub fn settle(
        &mut self,
        partition: u32,
        events: &mut OnTimeRun<K, A>,
        intake: &mut Intake,
        limits: &Limits,
        batch: &mut BatchCounts,
    ) {
        events.settle(partition, intake, |verdict, events, values| match verdict {
            Verdict::Counted { arrival, pane } => {
                self.expect(arrival, pane, limits);
                self.fold.add_all(arrival, pane, values);
            }
            Verdict::Copy => batch.copies += events as u64,
            Verdict::SeenBefore | Verdict::TooLate { .. } => {}
        });
    }

    /// Notes the end of the windows of a counted record. Most records have the panes of the one before.
    #[inline]
    pub fn expect(&mut self, arrival: EventTimeMs, pane: EventTimeMs, limits: &Limits) {
        if self.last.replace((arrival, pane)) == Some((arrival, pane)) {
            return;
        }

        let windows = &limits.windows;
        let end = windows.last_end(pane).max(arrival + windows.pane_ms());
        let end = end.saturating_add(limits.reach_ms);
        self.windows_end = self.windows_end.max(end);
    }

    /// Takes out everything that travels before `boundary`, in order.
    pub fn take_before(&mut self, boundary: EventTimeMs) -> Vec<Group<K, A>> {
        self.passed_bytes = 0;
        self.fold.take_before(boundary)
    }
}
