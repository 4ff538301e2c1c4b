//! What a worker decides about the records of its partitions: on time, late, too late, seen before; and where it cuts.
//!
//! When the least watermark of a worker's partitions passes a boundary `b`, the worker's capability goes to `b`. Noted
//! then, for each partition:
//!
//! - the *cut*: the next offset to be read at that moment. Records of panes before `b` below the cut are counted; those
//!   at or after it are late. This is the whole definition of late, and a restart that reads on from the same cut
//!   decides the same;
//! - what is *open*: for each pane at or after `b` the least offset already read, where a restart must read from.
//!
//! A late record that can still correct its window travels at the worker's current pane. So an entry has two panes:
//! `arrival`, under whose timestamp it travels, and `pane`, the one that it belongs to.
//!
//! ```text
//!                 resume        cut
//!    offsets  ──────┼────────────┼──────────▶ after a restart
//!                   │ re-read:   │ read on
//!                   │ only what is of an open pane counts; the rest is in the checkpoint
//! ```
//!
//! What always holds: a new cut never lies below a restored one, for the capability stays at the restored boundary until
//! every partition has been re-read up to its cut. No clock is read here, and nothing is sent.

use std::collections::BTreeMap;

use record_log::Offset;
use serde::{Deserialize, Serialize};

use crate::pane::{EventTimeMs, Windows};
use crate::watermark::{Claim, Newest, Watermark};

/// The decisions of one worker.
pub struct Intake {
    windows: Windows,
    allowed_lateness_ms: u64,
    restored_boundary: EventTimeMs,
    capability: EventTimeMs,
    partitions: BTreeMap<u32, Partition>,
}

struct Partition {
    next_offset: Offset,
    restored_cut: Offset,
    restored_anchor: Option<Anchor>,
    anchor: Option<Anchor>,
    watermark: Watermark,
    /// For each pane under which records may still travel, the least offset of one.
    open: BTreeMap<EventTimeMs, Offset>,
}

/// Where a partition is taken up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Start {
    /// The first offset to be read.
    pub resume: Offset,
    /// The offset below which everything of older panes has been counted.
    pub cut: Offset,
    /// The newest event when the cut was made.
    pub newest: Option<Newest>,
    /// The last record before the cut, if one is known.
    pub anchor: Option<Anchor>,
}

/// A record by which a partition is known again: of one that was deleted and recreated, it came at another time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Anchor {
    /// Its offset.
    pub offset: Offset,
    /// Its time in the log.
    pub log_time_ms: u64,
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is counted in `pane` and travels at `arrival`.
    Counted {
        /// The pane under whose timestamp it travels.
        arrival: EventTimeMs,
        /// The pane it belongs to.
        pane: EventTimeMs,
    },
    /// It comes too late to correct any window, and travels at `arrival` to the late topic.
    TooLate {
        /// The pane under whose timestamp it travels.
        arrival: EventTimeMs,
    },
    /// The checkpoint holds what came of it.
    SeenBefore,
}

/// A worker's capability went from one boundary to another.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Crossing {
    /// The boundary it was at.
    pub from: EventTimeMs,
    /// The boundary it is at now. The cuts hold for every boundary after `from` up to this one.
    pub to: EventTimeMs,
    /// One for each partition of the worker.
    pub cuts: Vec<Cut>,
}

/// Where a partition stood when its worker's capability passed a boundary.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cut {
    /// The partition.
    pub partition: u32,
    /// The next offset to be read.
    pub next_offset: Offset,
    /// The newest event read.
    pub newest: Option<Newest>,
    /// The last record read.
    pub anchor: Option<Anchor>,
    /// The least offset read of each pane that was still open, by pane.
    pub open: Vec<(EventTimeMs, Offset)>,
}

impl Cut {
    /// Where a restart at `boundary` must read from.
    pub fn resume(&self, boundary: EventTimeMs) -> Offset {
        let open = self
            .open
            .iter()
            .filter(|(pane, _)| *pane >= boundary)
            .map(|(_, offset)| *offset);
        open.min()
            .map_or(self.next_offset, |least| least.min(self.next_offset))
    }
}

impl Intake {
    /// The decisions of a worker that takes its partitions up at `boundary`; 0 for a job's first start.
    pub fn new(
        windows: Windows,
        allowed_lateness_ms: u64,
        disorder_ms: u64,
        boundary: EventTimeMs,
        starts: impl IntoIterator<Item = (u32, Start)>,
    ) -> Self {
        let partition = |start: Start| Partition {
            next_offset: start.resume,
            restored_cut: start.cut,
            restored_anchor: start.anchor,
            anchor: start.anchor,
            watermark: Watermark::new(disorder_ms, start.newest),
            open: BTreeMap::new(),
        };
        Self {
            windows,
            allowed_lateness_ms,
            restored_boundary: boundary,
            capability: boundary,
            partitions: starts
                .into_iter()
                .map(|(id, start)| (id, partition(start)))
                .collect(),
        }
    }

    /// The boundary that nothing sent from now on may travel before.
    pub fn capability(&self) -> EventTimeMs {
        self.capability
    }

    /// The partitions and the offsets to be read next.
    pub fn positions(&self) -> impl Iterator<Item = (u32, Offset)> {
        self.partitions
            .iter()
            .map(|(id, partition)| (*id, partition.next_offset))
    }

    /// The offset of `partition` to be read next.
    ///
    /// # Panics
    /// When the partition is not this worker's.
    pub fn next_offset(&self, partition: u32) -> Offset {
        self.partitions[&partition].next_offset
    }

    /// The newest event of `partition`.
    pub fn newest(&self, partition: u32) -> Option<Newest> {
        self.partitions
            .get(&partition)
            .and_then(|partition| partition.watermark.newest())
    }

    /// Decides about a record that was understood.
    pub fn admit(
        &mut self,
        partition: u32,
        offset: Offset,
        event_ms: EventTimeMs,
        now_ms: u64,
    ) -> Verdict {
        let (capability, boundary) = (self.capability, self.restored_boundary);
        let pane = self.windows.pane_of(event_ms);
        let corrects = self
            .windows
            .last_end(pane)
            .saturating_add(self.allowed_lateness_ms)
            > capability;
        let partition = self.own(partition);
        partition.next_offset = offset + 1;
        partition.watermark.observe(event_ms, now_ms);
        // Below the restored cut, all but the on-time records of later panes had travelled before the boundary.
        if offset < partition.restored_cut && pane < boundary {
            return Verdict::SeenBefore;
        }
        if pane >= capability {
            partition.open.entry(pane).or_insert(offset);
            return Verdict::Counted {
                arrival: pane,
                pane,
            };
        }
        if corrects {
            Verdict::Counted {
                arrival: capability,
                pane,
            }
        } else {
            Verdict::TooLate {
                arrival: capability,
            }
        }
    }

    /// Decides about a record that was rejected: the pane at which it travels, or none if it was seen before.
    pub fn admit_rejected(&mut self, partition: u32, offset: Offset) -> Option<EventTimeMs> {
        let capability = self.capability;
        let partition = self.own(partition);
        partition.next_offset = offset + 1;
        (offset >= partition.restored_cut).then_some(capability)
    }

    /// The record by which `partition` is to be known again.
    pub fn restored_anchor(&self, partition: u32) -> Option<Anchor> {
        self.partitions
            .get(&partition)
            .and_then(|partition| partition.restored_anchor)
    }

    /// Takes note of the last record that was read for now.
    pub fn anchor(&mut self, partition: u32, anchor: Anchor) {
        self.own(partition).anchor = Some(anchor);
    }

    /// Takes note of a position that the log reported; offsets may skip.
    pub fn skip_to(&mut self, partition: u32, next_offset: Offset) {
        let partition = self.own(partition);
        partition.next_offset = partition.next_offset.max(next_offset);
    }

    /// Takes note that `partition` held nothing more at `now_ms`.
    pub fn at_end(&mut self, partition: u32, now_ms: u64) {
        self.own(partition).watermark.at_end(now_ms);
    }

    /// What `partitions` claim together.
    pub fn claim(&self, mut among: impl FnMut(u32) -> bool) -> Claim {
        let own = self.partitions.iter().filter(|(id, _)| among(**id));
        own.map(|(_, partition)| partition.watermark.claim())
            .fold(Claim::Empty, Claim::and)
    }

    /// Takes the capability to the last boundary at or before `time`, and says where it cut.
    pub fn advance(&mut self, time: EventTimeMs) -> Option<Crossing> {
        let to = self.windows.pane_of(time);
        if to <= self.capability || self.is_replaying() {
            return None;
        }
        let from = std::mem::replace(&mut self.capability, to);
        let cuts = self
            .partitions
            .iter()
            .map(|(id, partition)| partition.cut(*id))
            .collect();
        for partition in self.partitions.values_mut() {
            partition.open = partition.open.split_off(&to);
        }
        Some(Crossing { from, to, cuts })
    }

    /// Some partition has not been re-read up to its restored cut.
    fn is_replaying(&self) -> bool {
        self.partitions.values().any(Partition::is_replaying)
    }

    /// `partition` has not been re-read up to its restored cut: until it has, nothing can be sent.
    pub fn is_awaited(&self, partition: u32) -> bool {
        self.partitions
            .get(&partition)
            .is_some_and(Partition::is_replaying)
    }

    fn own(&mut self, partition: u32) -> &mut Partition {
        self.partitions
            .get_mut(&partition)
            .expect("readers hand over the partitions they were opened with")
    }
}

impl Partition {
    fn cut(&self, partition: u32) -> Cut {
        let open = self
            .open
            .iter()
            .map(|(pane, offset)| (*pane, *offset))
            .collect();
        Cut {
            partition,
            next_offset: self.next_offset,
            newest: self.watermark.newest(),
            anchor: self.anchor,
            open,
        }
    }

    fn is_replaying(&self) -> bool {
        self.next_offset < self.restored_cut
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn intake(boundary: u64, start: Start) -> Intake {
        let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
        Intake::new(windows, 40, 5, boundary, [(0, start)])
    }

    fn advance(intake: &mut Intake) -> Option<Crossing> {
        match intake.claim(|_| true) {
            Claim::Reached(time) => intake.advance(time),
            Claim::Unread | Claim::Empty => None,
        }
    }

    #[test]
    fn a_record_below_the_cut_is_counted_and_one_after_it_is_late() {
        let mut intake = intake(0, Start::default());
        assert_eq!(
            intake.admit(0, 0, 12, 0),
            Verdict::Counted {
                arrival: 10,
                pane: 10
            }
        );
        intake.admit(0, 1, 26, 0);
        let crossing = advance(&mut intake).unwrap();
        assert_eq!((crossing.from, crossing.to), (0, 20));
        assert_eq!(crossing.cuts[0].next_offset, 2);
        assert_eq!(
            intake.admit(0, 2, 13, 0),
            Verdict::Counted {
                arrival: 20,
                pane: 10
            }
        );
        intake.admit(0, 3, 95, 0);
        advance(&mut intake);
        assert_eq!(intake.admit(0, 4, 13, 0), Verdict::TooLate { arrival: 90 });
    }

    #[test]
    fn a_restart_reads_from_the_least_record_of_an_open_pane() {
        let mut intake = intake(0, Start::default());
        for (offset, time) in [12, 27, 14, 33, 21].into_iter().enumerate() {
            intake.admit(0, offset as u64, time, 0);
        }
        let crossing = advance(&mut intake).unwrap();
        assert_eq!(crossing.to, 20);
        let cut = &crossing.cuts[0];
        assert_eq!((cut.resume(20), cut.next_offset), (1, 5));
        assert_eq!(cut.resume(40), 5, "no record of a later pane was read");
    }

    #[test]
    fn what_the_checkpoint_holds_is_not_counted_again() {
        let mut intake = intake(
            20,
            Start {
                resume: 1,
                cut: 5,
                ..Start::default()
            },
        );
        assert_eq!(
            intake.admit(0, 1, 27, 0),
            Verdict::Counted {
                arrival: 20,
                pane: 20
            }
        );
        assert_eq!(intake.admit(0, 2, 14, 0), Verdict::SeenBefore);
        assert_eq!(intake.admit_rejected(0, 3), None);
        assert_eq!(advance(&mut intake), None, "no cut below the restored one");
        assert_eq!(
            intake.admit(0, 4, 48, 0),
            Verdict::Counted {
                arrival: 40,
                pane: 40
            }
        );
        assert_eq!(advance(&mut intake).unwrap().to, 40);
        assert_eq!(intake.admit_rejected(0, 5), Some(40));
    }

    #[test]
    fn what_is_read_again_does_not_hold_event_time_back() {
        let newest = Some(Newest {
            event_ms: 17,
            read_at_ms: 1_000,
        });
        let mut intake = intake(
            20,
            Start {
                resume: 4,
                cut: 5,
                newest,
                ..Start::default()
            },
        );
        assert_eq!(intake.admit(0, 4, 17, 61_000), Verdict::SeenBefore);
        intake.at_end(0, 61_000);
        assert_eq!(
            intake.claim(|_| true),
            Claim::Reached(60_012),
            "it was read a minute ago"
        );
    }

    #[test]
    fn a_worker_whose_partitions_are_empty_claims_nothing() {
        let mut intake = intake(0, Start::default());
        assert_eq!(intake.claim(|_| true), Claim::Unread);
        intake.at_end(0, 1);
        assert_eq!(intake.claim(|_| true), Claim::Empty);
    }
}
