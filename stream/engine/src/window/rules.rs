//! The rules by which panes become rows, the same for windows and for their summaries.

use crate::aggregate::{Aggregate, IsRow};
use crate::checkpoint::lineage::Lineage;
use crate::flow::Row;
use crate::pane::{EventTimeMs, Windows};
use crate::window::sessions::Extent;

/// The rules by which panes become rows.
#[derive(Clone, Debug)]
pub struct WindowRules<A> {
    /// The job's windows; for sessions, the windows that sessions are cut to.
    pub windows: Windows,
    /// The times of the first and last event in an aggregate, if the job's windows are sessions.
    pub extent: Option<Extent<A>>,
    /// Decides whether a key with an aggregate has a row; none if each key has one.
    pub is_row: Option<IsRow<A>>,
    /// The time after its end for which a window is kept for corrections.
    pub lateness_ms: u64,
    /// The time from which on the checkpoint at the start has all panes.
    pub kept_from: EventTimeMs,
    /// The lines of history, which determine revisions.
    pub lineage: Lineage,
}

impl<A: Aggregate> WindowRules<A> {
    /// Returns whether a key with this aggregate has a row.
    pub fn has_row(&self, aggregate: &A) -> bool {
        self.is_row.is_none_or(|is_row| is_row(aggregate))
    }

    /// Returns the revision of a window's row or totals on the job's line of history, where
    /// `revision` is the one counted by the window itself.
    pub fn revision(&self, window_start: EventTimeMs, revision: u32) -> u32 {
        self.lineage
            .raised(revision, self.windows.first_row(window_start))
    }

    /// Returns the boundary from which on no record changes the rows of a window that starts at
    /// `start`.
    pub fn settled_at(&self, start: EventTimeMs) -> EventTimeMs {
        let reach_ms = self.windows.reach_ms().saturating_add(self.lateness_ms);
        let settled_ms = start.saturating_add(reach_ms);
        let boundary = settled_ms.checked_next_multiple_of(self.windows.pane_ms());
        boundary.unwrap_or(EventTimeMs::MAX)
    }

    /// Raises the row's revision to the job's line of history.
    pub(super) fn raise<K>(&self, row: &mut Row<K, A>) {
        row.revision = self.revision(row.window_start, row.revision);
    }
}
