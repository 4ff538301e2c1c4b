//! The decisions of a worker about the records of its partitions: whether a record is on time,
//! late, too late or a duplicate, and where the worker cuts.
//!
//! When the least watermark of a worker's partitions passes a boundary `b`, the worker's capability
//! advances to `b`. At that moment, two things are recorded for each partition:
//!
//! - the *cut*: the next offset to be read. Records of panes before `b` are counted if they lie
//!   below the cut, and are late if they lie at or after it. This is the whole definition of late.
//!   A restart that continues from the same cut decides the same;
//! - the *open* panes: for each pane at or after `b`, the least offset already read. A restart must
//!   read from there.
//!
//! A late record that can still correct its window travels at the worker's current pane. So an
//! entry has two panes: `arrival`, under whose timestamp it travels, and `pane`, to which it
//! belongs.
//!
//! A record that is not counted does not travel: it is a *side output*, and is published at once. A
//! decision that an earlier attempt has published always holds, also against the checkpoint: its
//! [progress](SideProgress) is read before any decision. Side outputs below a cut that were not
//! published when it was made are [pending](Pending) in the cut.
//!
//! ```text
//!                 resume        cut
//!    offsets  ──────┼────────────┼──────────▶ after a restart
//!                   │ re-read:   │ read on
//!                   │ only records of an open pane count; the rest is in the checkpoint
//! ```
//!
//! Invariants: a new cut never lies below a restored one, because the capability stays at
//! the restored boundary until every partition has been re-read up to its cut. This module reads no
//! clock and sends nothing.
//!
//! If a record's producer set its time in the log (`CreateTime`), its event is accepted up to the
//! reader's clock plus the allowed skew. The clock is later during a replay, so the limit is a
//! *ceiling* that holds from an offset on. A cut contains the ceilings that a restart needs to
//! decide the same.

mod by_number;
mod intake;
mod partition;

use record_log::Offset;
use serde::{Deserialize, Serialize};

use crate::pane::{EventTimeMs, Windows};
use crate::sink::progress::SideProgress;
use crate::sink::sides::Pending;
use crate::watermark::{Newest, Pace};

pub use intake::Intake;

/// The rules by which a worker decides.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The job's windows.
    pub windows: Windows,
    /// The time after its end for which a window is corrected.
    pub allowed_lateness_ms: u64,
    /// The time by which an accepted event may lie after its time in the log, or after the reader's
    /// clock if the producer set the time in the log.
    pub max_future_skew_ms: u64,
    /// The limits on how fast event time advances.
    pub pace: Pace,
}

/// The reading of a record.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The record's partition.
    pub partition: u32,
    /// The record's offset.
    pub offset: Offset,
    /// The time at which the log appended the record; none if its producer set its time.
    pub appended_ms: Option<u64>,
    /// The reader's clock.
    pub now_ms: u64,
}

impl Reading {
    /// Returns the time at which the record was appended; the reader's clock if that is unknown, or if the log's clock
    /// is ahead of it: a record that is read was appended before.
    #[inline]
    fn appended_ms(&self) -> u64 {
        self.appended_ms
            .map_or(self.now_ms, |appended_ms| appended_ms.min(self.now_ms))
    }
}

/// The latest accepted event time from an offset on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ceiling {
    /// The first offset for which the ceiling holds.
    pub from: Offset,
    /// The latest event time that is accepted.
    pub limit_ms: EventTimeMs,
}

/// The state in which a partition is restored.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Start {
    /// The first offset to read.
    pub resume: Offset,
    /// The offset below which all records of older panes have been counted.
    pub cut: Offset,
    /// The offset below which all records have been counted or sent to a side output.
    pub needed_from: Offset,
    /// The newest event when the cut was made.
    pub newest: Option<Newest>,
    /// The last record before the cut, if it is known.
    pub anchor: Option<Anchor>,
    /// The ceilings by which records before the cut were accepted.
    pub ceilings: Vec<Ceiling>,
    /// The side outputs below the cut that were not published when it was made.
    pub pending: Pending,
    /// The progress of published side outputs.
    pub published: SideProgress,
    /// The version of the decoder that decided about the records below the cut.
    pub decoder: u32,
    /// The disorder of the partition's events, if it is not the one of the rules.
    pub disorder_ms: Option<u64>,
}

/// A record that identifies a partition. In a partition that was deleted and recreated, the record
/// at this offset has another time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Anchor {
    /// The record's offset.
    pub offset: Offset,
    /// The record's time in the log.
    pub log_time_ms: u64,
}

/// The decision about a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The record is counted in `pane` and travels at `arrival`.
    Counted {
        /// The pane under whose timestamp the record travels.
        arrival: EventTimeMs,
        /// The pane to which the record belongs.
        pane: EventTimeMs,
    },
    /// The record is too late to correct any window, and goes to the late topic.
    TooLate {
        /// Records of panes before it are too late.
        horizon: EventTimeMs,
    },
    /// The checkpoint contains the record's effect, or the record is published as a side output.
    SeenBefore,
    /// An event with the same id was counted.
    Copy,
}

/// An advance of a worker's capability from one boundary to another.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Crossing {
    /// The boundary before the advance.
    pub from: EventTimeMs,
    /// The boundary after the advance. The cuts hold for every boundary after `from` up to this
    /// one.
    pub to: EventTimeMs,
    /// The cuts, one for each partition of the worker.
    pub cuts: Vec<Cut>,
}

/// The position of a partition when its worker's capability passed a boundary.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cut {
    /// The partition.
    pub partition: u32,
    /// The offset to read next.
    pub next_offset: Offset,
    /// The newest event read.
    pub newest: Option<Newest>,
    /// The last record read.
    pub anchor: Option<Anchor>,
    /// For each pane that was still open, the least offset read.
    pub open: Vec<(EventTimeMs, Offset)>,
    /// The ceilings for the offsets that a restart reads again.
    pub ceilings: Vec<Ceiling>,
    /// The offset of the oldest record whose id is held.
    pub ids_from: Option<Offset>,
    /// The version of the decoder that decided about the records below the cut.
    pub decoder: u32,
    /// The side outputs that were not published.
    pub pending: Pending,
}

impl Cut {
    /// Returns the offset from which a restart at `boundary` must read.
    pub fn resume(&self, boundary: EventTimeMs) -> Offset {
        let open = self
            .open
            .iter()
            .filter(|(pane, _)| *pane >= boundary)
            .map(|(_, offset)| *offset);
        open.chain([self.next_offset, self.pending.from])
            .min()
            .expect("there are two at least")
    }
}
