//! Lines of history: how a job continues when it has lost the checkpoint that its newest results
//! were made from.
//!
//! ```text
//! line 0   ──────┬───────────────── × newest checkpoint lost
//!                │                  │
//! line 1         └── cut anew ──────┼───────────────▶
//!              from               until
//! ```
//!
//! Records that are read again from an older checkpoint are cut anew. A record that was on time may
//! now be late, or the other way round, so a window may get other revisions than those that were
//! committed. After any other start, results that the committed progress covers are left out; here
//! that would lose corrections. Hence:
//!
//! - Every later manifest contains the *branch*: `from` is the boundary at which history diverges,
//!   and `until` is the boundary by which the results of earlier lines end.
//! - Progress contains the number of its line. Of progress on an earlier line, only the
//!   part before the branch counts; everything after it is committed again.
//! - Rows of windows that end by `until` have [`REVISIONS`] times the line added to their revision.
//!   They replace every row that earlier lines committed for their window, and no revision is ever
//!   committed twice.
//!
//! Rows of sessions are committed before the end of the window that bounds them. Therefore the
//! revision is raised for sessions whose first pane ends by `until`.
//!
//! Invariants: a row's revision is greater than that of every row that any earlier line
//! committed for its key and window.
//!
//! Limits:
//!
//! - Records of the late and dead-letter topics have no revision. Those that earlier lines
//!   committed after the branch are there twice, with the same `source_partition` and
//!   `source_offset`.
//! - A record that came just when its allowed lateness ended may have been counted on one line and
//!   be too late on the other. It is then on the late topic, and a row that includes it stays if no
//!   other record of its key and window comes.
//! - A session that an earlier line emitted by itself may be part of a longer session on the new
//!   line from the start. The new line then emits no retraction of it. If two sessions of a key
//!   overlap, the one with the higher line in its revision is valid.

use serde::{Deserialize, Serialize};

use crate::pane::EventTimeMs;

/// The number of revisions that a line has for each row: more than panes can arrive while a window
/// may be corrected.
pub const REVISIONS: u32 = 1_000_000;

/// The branches of a job's history, in order; empty for a job that has never lost a checkpoint.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Lineage(Vec<Branch>);

/// The start of a line.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Branch {
    /// The number of the line, greater than those of all earlier lines.
    pub line: u32,
    /// The boundary up to which the line shares the history of the line before it.
    pub from: EventTimeMs,
    /// The boundary by which all results of earlier lines end.
    pub until: EventTimeMs,
}

/// The progress of a key group's committed results: their line, and the time before which they are committed. Progress
/// is ordered by line, then by time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Progress {
    /// The line on which the key group has committed.
    pub line: u32,
    /// The time before which everything that arrived is committed.
    pub before: EventTimeMs,
}

/// The number of low bits of a progress's number that hold the time: enough until the year 10889.
/// The line takes the bits above, except the sign bit of Kafka's offsets.
const TIME_BITS: u32 = 48;

impl Progress {
    /// Decodes the result of [`Progress::number`].
    pub fn of(number: u64) -> Self {
        let line = u32::try_from(number >> TIME_BITS).expect("16 bits fit");
        Self {
            line,
            before: number & ((1 << TIME_BITS) - 1),
        }
    }

    /// Encodes line and time in one number, which has the same order.
    pub fn number(self) -> u64 {
        u64::from(self.line) << TIME_BITS | self.before
    }
}

impl Lineage {
    /// Returns whether the job has never lost a checkpoint.
    pub fn is_straight(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the current line.
    pub fn line(&self) -> u32 {
        self.0.last().map_or(0, |branch| branch.line)
    }

    /// Returns the branches, in order.
    pub fn branches(&self) -> &[Branch] {
        &self.0
    }

    /// Returns the boundary by which all results of earlier lines end.
    pub fn until(&self) -> EventTimeMs {
        self.0.iter().map(|branch| branch.until).max().unwrap_or(0)
    }

    /// Adds a branch at `from`, with a line number greater than `line`, when results up to `until`
    /// were committed.
    #[must_use]
    pub fn branched(mut self, line: u32, from: EventTimeMs, until: EventTimeMs) -> Self {
        let line = line.max(self.line()) + 1;
        self.0.push(Branch {
            line,
            from,
            until: until.max(self.until()),
        });

        self
    }

    /// Raises the end of the earlier lines' results to `until`, if it is later than the known end.
    #[must_use]
    pub fn known_until(mut self, until: EventTimeMs) -> Self {
        if let Some(branch) = self.0.last_mut() {
            branch.until = branch.until.max(until);
        }
        self
    }

    /// Returns the progress of a key group that has committed everything up to and including the
    /// pane `last`.
    pub fn progress(&self, last: EventTimeMs) -> Progress {
        Progress {
            line: self.line(),
            before: last + 1,
        }
    }

    /// Returns the time before which a key group with that progress has committed everything on this
    /// line.
    pub fn committed_before(&self, progress: Progress) -> EventTimeMs {
        let branches = self.0.iter().filter(|branch| branch.line > progress.line);
        branches
            .map(|branch| branch.from)
            .fold(progress.before, EventTimeMs::min)
    }

    /// Returns the revision on this line for a row that has `revision` within the line and can
    /// first be emitted at the boundary `first_row` (for a window, its end).
    pub fn raised(&self, revision: u32, first_row: EventTimeMs) -> u32 {
        if self.is_straight() || first_row > self.until() {
            return revision;
        }
        self.line()
            .saturating_mul(REVISIONS)
            .saturating_add(revision.min(REVISIONS - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_number_in_the_order_of_lines_and_times() {
        let early = Progress {
            line: 0,
            before: 1_795_341_600_001,
        };

        assert_eq!(
            early.number(),
            1_795_341_600_001,
            "a job that lost nothing goes by time alone"
        );

        let later = Progress { line: 3, before: 1 };
        assert_eq!(Progress::of(later.number()), later);
        assert!(later > early && later.number() > early.number());
        assert!(
            i64::try_from(
                Progress {
                    line: 32_767,
                    before: 1 << 47
                }
                .number()
            )
            .is_ok()
        );
    }

    #[test]
    fn a_group_owes_on_a_new_line_what_came_after_the_branch() {
        let line = |line, before| Progress { line, before };
        let straight = Lineage::default();
        assert_eq!(straight.committed_before(line(0, 81)), 81);

        let first = straight.branched(0, 50, 90);
        assert_eq!(
            first.committed_before(line(0, 81)),
            50,
            "what came later on the old line does not count"
        );

        assert_eq!(
            first.committed_before(line(0, 41)),
            41,
            "the slot was behind"
        );

        assert_eq!(first.committed_before(line(1, 61)), 61);
        let second = first.branched(1, 70, 80);
        assert_eq!(second.committed_before(line(0, 81)), 50);
        assert_eq!(second.committed_before(line(1, 75)), 70);
        assert_eq!((second.line(), second.until()), (2, 90));
    }

    #[test]
    fn revisions_rise_above_those_of_earlier_lines() {
        let lineage = Lineage::default();
        assert_eq!(lineage.raised(3, 60), 3);
        let lineage = lineage.branched(0, 30, 90);

        assert_eq!(
            (lineage.raised(3, 90), lineage.raised(3, 100)),
            (1_000_003, 3)
        );

        let lineage = lineage.branched(4, 30, 60);
        assert_eq!(
            lineage.raised(0, 90),
            5_000_000,
            "also of windows that only the first line committed"
        );
    }
}
