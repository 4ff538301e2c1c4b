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
//! decision that an earlier attempt has published holds, whatever the checkpoint contains: its
//! [progress](SideProgress) is read before any decision. Side outputs below a cut that were not
//! published when it was made are [pending](Pending) in the cut.
//!
//! ```text
//!                 resume        cut
//!    offsets  ──────┼────────────┼──────────▶ after a restart
//!                   │ re-read:   │ read on
//!                   │ only what is of an open pane counts; the rest is in the checkpoint
//! ```
//!
//! What always holds: a new cut never lies below a restored one, because the capability stays at
//! the restored boundary until every partition has been re-read up to its cut. This module reads no
//! clock and sends nothing.
//!
//! If a record's producer set its time in the log (`CreateTime`), its event is accepted up to the
//! reader's clock plus the allowed skew. The clock is later during a replay, so the limit is a
//! *ceiling* that holds from an offset on. A cut contains the ceilings that a restart needs to
//! decide the same.

use std::collections::BTreeMap;

use record_log::Offset;
use serde::{Deserialize, Serialize};

use crate::pane::{EventTimeMs, Windows};
use crate::seen::{EventId, Seen};
use crate::sink::progress::SideProgress;
use crate::sink::sides::Pending;
use crate::watermark::{Claim, Newest, Pace, Watermark};

/// The least step by which a ceiling is raised, so that a stream of events from the future creates
/// few ceilings.
const CEILING_STEP_MS: u64 = 1_000;

/// The decisions of one worker.
pub struct Intake {
    windows: Windows,
    allowed_lateness_ms: u64,
    max_future_skew_ms: u64,
    /// The time that this clock may be ahead of the log's: the least time from an append to its
    /// reading, at most the allowed skew.
    lead_ms: u64,
    restored_boundary: EventTimeMs,
    capability: EventTimeMs,
    partitions: BTreeMap<u32, Partition>,
    /// Windows that begin before it are incomplete and are not corrected.
    complete_from: EventTimeMs,
    /// The first pane of which a record can still change a window.
    horizon: EventTimeMs,
    seen: Seen,
    /// The version of the decoder that decides now.
    decoder: u32,
}

struct Partition {
    next_offset: Offset,
    restored_cut: Offset,
    needed_from: Offset,
    restored_anchor: Option<Anchor>,
    anchor: Option<Anchor>,
    /// Whether a record at the anchor's offset was read. True if there is no anchor.
    is_recognized: bool,
    /// The ceilings, by offset.
    ceilings: Vec<Ceiling>,
    watermark: Watermark,
    /// For each pane under which records may still travel, the least offset of such a record.
    open: BTreeMap<EventTimeMs, Offset>,
    /// The side outputs below the restored cut that were not published when it was made.
    pending: Pending,
    /// How far side outputs were published when the attempt began.
    published: SideProgress,
    /// The version of the decoder that decided about the records below the restored cut.
    restored_decoder: u32,
}

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
    /// When the log appended the record; none if its producer set its time.
    pub appended_ms: Option<u64>,
    /// The reader's clock.
    pub now_ms: u64,
}

impl Reading {
    /// When the record was appended; the reader's clock if that is unknown.
    fn appended_ms(&self) -> u64 {
        self.appended_ms.unwrap_or(self.now_ms)
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
    /// How far side outputs are published.
    pub published: SideProgress,
    /// The version of the decoder that decided about the records below the cut.
    pub decoder: u32,
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

impl Intake {
    /// Creates the decisions of a worker whose partitions are restored at `boundary`; 0 for a job's
    /// first start.
    pub fn new(
        rules: Rules,
        boundary: EventTimeMs,
        starts: impl IntoIterator<Item = (u32, Start)>,
    ) -> Self {
        let partition = |start: Start| Partition {
            next_offset: start.resume,
            restored_cut: start.cut,
            needed_from: start.needed_from,
            restored_anchor: start.anchor,
            anchor: start.anchor,
            is_recognized: start.anchor.is_none(),
            ceilings: start.ceilings,
            watermark: Watermark::new(rules.pace, start.newest),
            open: BTreeMap::new(),
            pending: start.pending,
            published: start.published,
            restored_decoder: start.decoder,
        };

        let intake = Self {
            windows: rules.windows,
            allowed_lateness_ms: rules.allowed_lateness_ms,
            max_future_skew_ms: rules.max_future_skew_ms,
            lead_ms: rules.pace.max_clock_skew_ms,
            restored_boundary: boundary,
            capability: boundary,
            partitions: starts
                .into_iter()
                .map(|(id, start)| (id, partition(start)))
                .collect(),
            complete_from: 0,
            horizon: 0,
            seen: Seen::within(0),
            decoder: 0,
        };
        intake.remembering_from(0)
    }

    /// Makes late records too late if one of their windows begins before `complete_from`.
    #[must_use]
    pub fn remembering_from(mut self, complete_from: EventTimeMs) -> Self {
        self.complete_from = complete_from;
        self.horizon = self.first_correctable();
        self
    }

    /// Holds event ids, by which duplicates are recognized, in at most `bytes` of memory.
    #[must_use]
    pub fn holding_ids_within(self, bytes: u64) -> Self {
        Self {
            seen: Seen::within(bytes),
            ..self
        }
    }

    /// Decides by this version of the decoder.
    #[must_use]
    pub fn decoding_by(self, decoder: u32) -> Self {
        Self { decoder, ..self }
    }

    /// The worker's capability: nothing sent from now on travels before this boundary.
    pub fn capability(&self) -> EventTimeMs {
        self.capability
    }

    /// Returns the partitions and the offsets to read next.
    pub fn positions(&self) -> impl Iterator<Item = (u32, Offset)> {
        self.partitions
            .iter()
            .map(|(id, partition)| (*id, partition.next_offset))
    }

    /// Returns the offset to read next from `partition`.
    ///
    /// # Panics
    /// If the partition is not this worker's.
    pub fn next_offset(&self, partition: u32) -> Offset {
        self.partitions[&partition].next_offset
    }

    /// Returns the newest event of `partition`.
    pub fn newest(&self, partition: u32) -> Option<Newest> {
        self.partitions
            .get(&partition)
            .and_then(|partition| partition.watermark.newest())
    }

    /// Notes a record before anything is decided about it. Records below the restored cut do not
    /// affect the watermark.
    pub fn read(&mut self, reading: &Reading) {
        if let Some(appended_ms) = reading.appended_ms {
            let took_ms = reading.now_ms.saturating_sub(appended_ms);
            self.lead_ms = self.lead_ms.min(took_ms);
        }

        let partition = self.own(reading.partition);
        partition.next_offset = reading.offset + 1;
        if reading.offset >= partition.restored_cut {
            partition.watermark.record(reading.appended_ms());
        }
    }

    /// Decides whether an event's time is accepted.
    ///
    /// # Errors
    /// The latest event time that is accepted for this record, if the event's time is later.
    pub fn believe(&mut self, reading: &Reading, event_ms: EventTimeMs) -> Result<(), EventTimeMs> {
        let skew_ms = self.max_future_skew_ms;
        let limit_ms = match reading.appended_ms {
            Some(appended_ms) => appended_ms.saturating_add(skew_ms),
            None => {
                let latest_ms = reading.now_ms.saturating_add(skew_ms);
                self.own(reading.partition)
                    .ceiling(reading.offset, event_ms, latest_ms)
            }
        };

        if event_ms > limit_ms {
            return Err(limit_ms);
        }

        Ok(())
    }

    /// Decides about a record that was decoded and whose event time is accepted. If the event has
    /// an id, it is counted once.
    pub fn admit_once(
        &mut self,
        reading: &Reading,
        event_ms: EventTimeMs,
        id: Option<EventId>,
    ) -> Verdict {
        let pane = self.windows.pane_of(event_ms);
        let is_known = |id| {
            self.seen
                .is_copy(reading.partition, pane, reading.offset, id)
        };

        if pane >= self.horizon && id.is_some_and(is_known) {
            self.observe(reading, event_ms);
            return Verdict::Copy;
        }

        self.admit(reading, event_ms)
    }

    /// Notes the time of an event.
    fn observe(&mut self, reading: &Reading, event_ms: EventTimeMs) {
        let watermark = &mut self.own(reading.partition).watermark;
        watermark.observe(event_ms, reading.appended_ms(), reading.now_ms);
    }

    /// Decides about a record that was decoded and whose event time is accepted.
    pub fn admit(&mut self, reading: &Reading, event_ms: EventTimeMs) -> Verdict {
        let capability = self.capability;
        let boundary = self.restored_boundary;
        let horizon = self.horizon;
        let pane = self.windows.pane_of(event_ms);
        self.observe(reading, event_ms);

        let offset = reading.offset;
        let partition = self.own(reading.partition);
        if partition.published.has_late(offset, pane) {
            return Verdict::SeenBefore;
        }

        // Below the restored cut, all records travelled before the boundary, except on-time records
        // of later panes and late records. Records before `needed_from` are read again only for
        // their ids, or to identify the partition.
        let is_settled = pane < boundary || offset < partition.needed_from;
        if offset < partition.restored_cut && is_settled {
            let is_pending = partition.pending.late.binary_search(&offset).is_ok();
            return if is_pending {
                Verdict::TooLate { horizon }
            } else {
                Verdict::SeenBefore
            };
        }

        if pane >= capability {
            partition.open.entry(pane).or_insert(offset);
            return Verdict::Counted {
                arrival: pane,
                pane,
            };
        }

        if pane >= horizon {
            Verdict::Counted {
                arrival: capability,
                pane,
            }
        } else {
            Verdict::TooLate { horizon }
        }
    }

    /// Decides about a record that was rejected. Returns whether it is to be published; false if it
    /// is published already.
    ///
    /// Another version of the decoder may have accepted it below the restored cut, and its pane may
    /// not be in the checkpoint. The record is then published, perhaps again: none vanishes.
    pub fn admit_rejected(&mut self, partition: u32, offset: Offset) -> bool {
        let decoder = self.decoder;
        let partition = self.own(partition);
        if partition.is_decided_anew(offset, decoder) {
            return true;
        }

        let was_pending = offset >= partition.restored_cut.min(partition.pending.from);
        was_pending && !partition.published.has_rejected(offset)
    }

    /// Compares a record with the anchor of its partition. Returns whether the record can belong to
    /// the partition that the checkpoint describes.
    pub fn recognizes(&mut self, partition: u32, found: Anchor) -> bool {
        let partition = self.own(partition);
        match partition.restored_anchor {
            Some(known) if found.offset == known.offset => {
                partition.is_recognized = true;
                found == known
            }
            _ => true,
        }
    }

    /// Returns whether `partition` has been read past its anchor without finding a record there.
    pub fn misses_anchor(&self, partition: u32) -> bool {
        self.partitions.get(&partition).is_some_and(|partition| {
            let anchor = partition.restored_anchor;
            !partition.is_recognized
                && anchor.is_some_and(|anchor| partition.next_offset > anchor.offset)
        })
    }

    /// Notes the last record of a batch as the partition's anchor.
    pub fn anchor(&mut self, partition: u32, anchor: Anchor) {
        self.own(partition).anchor = Some(anchor);
    }

    /// Notes a position that the log reported; offsets may have gaps.
    pub fn skip_to(&mut self, partition: u32, next_offset: Offset) {
        let partition = self.own(partition);
        partition.next_offset = partition.next_offset.max(next_offset);
    }

    /// Notes that the log confirmed the end of `partition` as of `as_of_ms`.
    pub fn at_end(&mut self, partition: u32, as_of_ms: u64) {
        let lead_ms = self.lead_ms;
        self.own(partition).watermark.at_end(as_of_ms, lead_ms);
    }

    /// Returns the time as of which the log last confirmed the end of `partition`.
    pub fn end_as_of_ms(&self, partition: u32) -> Option<u64> {
        self.partitions
            .get(&partition)
            .and_then(|partition| partition.watermark.end_as_of_ms())
    }

    /// Returns the combined claim of the partitions for which `among` returns true.
    pub fn claim(&self, mut among: impl FnMut(u32) -> bool) -> Claim {
        let own = self.partitions.iter().filter(|(id, _)| among(**id));
        own.map(|(_, partition)| partition.watermark.claim())
            .fold(Claim::none(), Claim::and)
    }

    /// Advances the capability to the last boundary at or before `time`, and returns the cuts.
    /// Returns none if that is no advance, or if a partition is still being re-read. `pending`
    /// returns the side outputs of a partition below an offset that are not published.
    pub fn advance(
        &mut self,
        time: EventTimeMs,
        pending: impl Fn(u32, Offset) -> Pending,
    ) -> Option<Crossing> {
        let to = self.windows.pane_of(time);
        if to <= self.capability || self.is_replaying() {
            return None;
        }

        let from = std::mem::replace(&mut self.capability, to);
        self.horizon = self.first_correctable();

        let mut cuts = Vec::new();
        for (id, partition) in &mut self.partitions {
            let pending = pending(*id, partition.next_offset);
            let mut cut = partition.cut(*id, self.seen.oldest(*id), pending);
            cut.decoder = self.decoder;
            partition.open = partition.open.split_off(&to);
            let ids_from = cut.ids_from.unwrap_or(Offset::MAX);
            partition.forget_ceilings(ids_from.min(cut.pending.from));
            cuts.push(cut);
        }

        self.seen.drop_before(self.first_correctable_in_time());
        Some(Crossing { from, to, cuts })
    }

    /// Returns the first pane whose records can still change a window.
    fn first_correctable(&self) -> EventTimeMs {
        // Records that are on time are counted even if their windows are not whole.
        let first_whole = self.first_whole().min(self.capability);
        self.first_correctable_in_time().max(first_whole)
    }

    /// Returns the first pane whose last window may still be corrected in time.
    fn first_correctable_in_time(&self) -> EventTimeMs {
        let reach_ms = self
            .windows
            .size_ms()
            .saturating_add(self.allowed_lateness_ms);
        let last_start = self.capability.checked_sub(reach_ms);

        last_start.map_or(0, |start| self.windows.next_start(start))
    }

    /// Returns the first pane of which all windows are whole.
    fn first_whole(&self) -> EventTimeMs {
        self.windows.first_whole(self.complete_from)
    }

    /// Returns whether some partition has not been re-read up to its restored cut.
    fn is_replaying(&self) -> bool {
        self.partitions.values().any(Partition::is_replaying)
    }

    /// Returns whether `partition` has not been re-read up to its restored cut. Until it has been,
    /// the capability cannot advance.
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
    /// Returns whether another version of the decoder decided about a record that is needed again.
    fn is_decided_anew(&self, offset: Offset, decoder: u32) -> bool {
        let is_reread = offset >= self.needed_from && offset < self.restored_cut;
        is_reread && self.restored_decoder != decoder
    }

    fn cut(&self, partition: u32, ids_from: Option<Offset>, pending: Pending) -> Cut {
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
            ceilings: self.ceilings.clone(),
            ids_from,
            decoder: 0,
            pending,
        }
    }

    /// Returns the latest event time that is accepted at an offset, where `latest_ms` is the clock
    /// plus the skew. The ceiling is raised when an event needs it, but not for offsets that a
    /// restart reads again.
    fn ceiling(&mut self, offset: Offset, event_ms: EventTimeMs, latest_ms: u64) -> EventTimeMs {
        let holds = self.ceilings.iter().rev().find(|it| it.from <= offset);
        let limit_ms = holds.map_or(0, |ceiling| ceiling.limit_ms);
        let is_decided = offset < self.restored_cut && !self.ceilings.is_empty();

        let raised_ms = if holds.is_none() {
            latest_ms
        } else {
            latest_ms.max(limit_ms.saturating_add(CEILING_STEP_MS))
        };

        if event_ms <= limit_ms || is_decided || raised_ms > latest_ms {
            return limit_ms;
        }

        self.ceilings.push(Ceiling {
            from: offset,
            limit_ms: latest_ms,
        });

        latest_ms
    }

    /// Drops the ceilings that end before the least offset that a restart may read again: of an open
    /// pane, or `otherwise`.
    fn forget_ceilings(&mut self, otherwise: Offset) {
        let least = self.open.values().min().copied().unwrap_or(Offset::MAX);
        let least = least.min(otherwise).min(self.next_offset);
        let first = self.ceilings.partition_point(|it| it.from <= least);
        self.ceilings.drain(..first.saturating_sub(1));
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
        let rules = Rules {
            windows,
            allowed_lateness_ms: 40,
            max_future_skew_ms: 1_000,
            pace: Pace {
                disorder_ms: 5,
                max_clock_skew_ms: 0,
                idle_after_ms: 1_000,
            },
        };

        Intake::new(rules, boundary, [(0, start)])
    }

    /// Returns a record of partition 0 that was appended and read at the same moment.
    fn at(offset: Offset, now_ms: u64) -> Reading {
        Reading {
            partition: 0,
            offset,
            appended_ms: Some(now_ms),
            now_ms,
        }
    }

    fn admit(intake: &mut Intake, offset: Offset, event_ms: u64, now_ms: u64) -> Verdict {
        let reading = at(offset, now_ms);
        intake.read(&reading);
        intake.admit(&reading, event_ms)
    }

    fn once(intake: &mut Intake, offset: Offset, event_ms: u64, id: Option<EventId>) -> Verdict {
        let reading = at(offset, 0);
        intake.read(&reading);
        intake.admit_once(&reading, event_ms, id)
    }

    fn rules(windows: Windows, allowed_lateness_ms: u64) -> Rules {
        let pace = Pace {
            disorder_ms: 0,
            max_clock_skew_ms: 0,
            idle_after_ms: 1_000,
        };

        Rules {
            windows,
            allowed_lateness_ms,
            max_future_skew_ms: 0,
            pace,
        }
    }

    fn none_pending(_partition: u32, cut: Offset) -> Pending {
        Pending::none_below(cut)
    }

    fn advance(intake: &mut Intake) -> Option<Crossing> {
        let time = intake.claim(|_| true).reached()?;
        intake.advance(time, none_pending)
    }

    #[test]
    fn a_copy_is_left_out_for_as_long_as_its_window_can_change() {
        let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
        let mut intake =
            Intake::new(rules(windows, 20), 0, [(0, Start::default())]).holding_ids_within(1 << 20);
        let counted = |arrival, pane| Verdict::Counted { arrival, pane };
        assert_eq!(once(&mut intake, 0, 5, Some(7)), counted(0, 0));
        assert_eq!(once(&mut intake, 1, 5, Some(7)), Verdict::Copy);
        assert_eq!(once(&mut intake, 2, 5, None), counted(0, 0));
        assert_eq!(once(&mut intake, 3, 25, Some(8)), counted(20, 20));

        let crossing = intake.advance(20, none_pending).unwrap();
        assert_eq!(crossing.cuts[0].ids_from, Some(0));
        assert_eq!(once(&mut intake, 4, 5, Some(7)), Verdict::Copy);
        assert_eq!(once(&mut intake, 5, 5, Some(9)), counted(20, 0));

        once(&mut intake, 6, 45, Some(10));
        let crossing = intake.advance(40, none_pending).unwrap();
        assert_eq!(
            crossing.cuts[0].ids_from,
            Some(0),
            "the cut holds before 30, too"
        );

        let too_late = Verdict::TooLate { horizon: 20 };
        assert_eq!(once(&mut intake, 7, 5, Some(7)), too_late);
        once(&mut intake, 8, 65, Some(11));

        let crossing = intake.advance(60, none_pending).unwrap();
        assert_eq!(crossing.cuts[0].ids_from, Some(3), "pane 0 is settled");
    }

    #[test]
    fn a_restart_knows_the_ids_of_what_the_checkpoint_has_counted() {
        let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
        let start = Start {
            resume: 0,
            cut: 2,
            ..Start::default()
        };
        let mut intake =
            Intake::new(rules(windows, 20), 10, [(0, start)]).holding_ids_within(1 << 20);
        assert_eq!(once(&mut intake, 0, 5, Some(7)), Verdict::SeenBefore);

        let counted = Verdict::Counted {
            arrival: 10,
            pane: 10,
        };
        assert_eq!(once(&mut intake, 1, 15, Some(8)), counted);
        assert_eq!(once(&mut intake, 2, 5, Some(7)), Verdict::Copy);
        assert_eq!(once(&mut intake, 3, 15, Some(8)), Verdict::Copy);
    }

    #[test]
    fn a_record_is_too_late_whose_windows_begin_before_what_is_remembered() {
        let ms = Duration::from_millis;
        let windows = Windows::sliding(ms(30), ms(10)).unwrap();
        let mut intake =
            Intake::new(rules(windows, 1000), 100, [(0, Start::default())]).remembering_from(41);
        let too_late = Verdict::TooLate { horizon: 70 };

        assert_eq!(
            admit(&mut intake, 0, 65, 0),
            too_late,
            "a window begins at 40"
        );

        let counted = Verdict::Counted {
            arrival: 100,
            pane: 70,
        };
        assert_eq!(admit(&mut intake, 1, 75, 0), counted);

        let on_time = Verdict::Counted {
            arrival: 100,
            pane: 100,
        };
        assert_eq!(admit(&mut intake, 2, 105, 0), on_time);
    }

    /// Returns whether a record of `pane` can still change one of its windows, by the definition.
    fn corrects(intake: &Intake, pane: EventTimeMs) -> bool {
        let last_end = intake.windows.last_end(pane);
        let first_start = intake.windows.containing(pane).next().unwrap();
        last_end + intake.allowed_lateness_ms > intake.capability
            && (pane >= intake.capability || first_start >= intake.complete_from)
    }

    #[test]
    fn the_horizon_is_the_first_pane_that_can_change_a_window() {
        for (size, slide, offset, lateness) in [
            (10, 10, 0, 0),
            (30, 10, 0, 40),
            (25, 10, 0, 7),
            (60, 20, 0, 5),
            (30, 30, 20, 0),
            (30, 10, 5, 40),
        ] {
            let ms = Duration::from_millis;
            let windows = Windows::sliding(ms(size), ms(slide)).unwrap();
            let windows = windows.offset(ms(offset));
            let step = usize::try_from(windows.pane_ms()).unwrap();

            for complete_from in [0, 1, 10, 41, 130, 1_000] {
                for capability in (0..400).step_by(step) {
                    let intake = Intake::new(rules(windows, lateness), capability, [])
                        .remembering_from(complete_from);
                    // Events before the first window are rejected.
                    let panes = (offset..=400).step_by(step);
                    let late: Vec<_> = panes.filter(|pane| *pane < intake.horizon).collect();
                    let expected: Vec<_> = (offset..=400)
                        .step_by(step)
                        .filter(|pane| !corrects(&intake, *pane))
                        .collect();
                    assert_eq!(late, expected, "{windows:?} {lateness} {complete_from}");
                }
            }
        }
    }

    #[test]
    fn a_record_below_the_cut_is_counted_and_one_after_it_is_late() {
        let mut intake = intake(0, Start::default());
        assert_eq!(
            admit(&mut intake, 0, 12, 2_000),
            Verdict::Counted {
                arrival: 10,
                pane: 10
            }
        );

        admit(&mut intake, 1, 26, 2_000);
        let crossing = advance(&mut intake).unwrap();
        assert_eq!((crossing.from, crossing.to), (0, 20));
        assert_eq!(crossing.cuts[0].next_offset, 2);

        assert_eq!(
            admit(&mut intake, 2, 13, 2_000),
            Verdict::Counted {
                arrival: 20,
                pane: 10
            }
        );

        admit(&mut intake, 3, 95, 2_000);
        advance(&mut intake);
        assert_eq!(
            admit(&mut intake, 4, 13, 2_000),
            Verdict::TooLate { horizon: 50 }
        );
    }

    #[test]
    fn a_restart_reads_from_the_least_record_of_an_open_pane() {
        let mut intake = intake(0, Start::default());
        for (offset, time) in [12, 27, 14, 33, 21].into_iter().enumerate() {
            admit(&mut intake, offset as u64, time, 2_000);
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
                pending: Pending::none_below(5),
                ..Start::default()
            },
        );

        assert_eq!(
            admit(&mut intake, 1, 27, 2_000),
            Verdict::Counted {
                arrival: 20,
                pane: 20
            }
        );

        assert_eq!(admit(&mut intake, 2, 14, 2_000), Verdict::SeenBefore);
        assert!(!intake.admit_rejected(0, 3));
        assert_eq!(advance(&mut intake), None, "no cut below the restored one");

        assert_eq!(
            admit(&mut intake, 4, 48, 2_000),
            Verdict::Counted {
                arrival: 40,
                pane: 40
            }
        );

        assert_eq!(advance(&mut intake).unwrap().to, 40);
        assert!(intake.admit_rejected(0, 5));
    }

    #[test]
    fn side_outputs_below_the_cut_are_published_if_they_were_pending_and_are_not_yet() {
        let mut published = SideProgress {
            published: 3,
            ..SideProgress::default()
        };
        published.horizons.raise(2, 10);
        let start = Start {
            resume: 1,
            cut: 8,
            pending: Pending {
                from: 2,
                late: vec![2, 5],
            },
            published,
            ..Start::default()
        };
        let mut intake = intake(70, start);
        assert!(!intake.admit_rejected(0, 1), "not pending");
        assert_eq!(
            admit(&mut intake, 2, 3, 2_000),
            Verdict::SeenBefore,
            "published"
        );
        assert!(intake.admit_rejected(0, 4));
        assert_eq!(
            admit(&mut intake, 5, 3, 2_000),
            Verdict::TooLate { horizon: 30 }
        );
        assert_eq!(
            admit(&mut intake, 6, 3, 2_000),
            Verdict::SeenBefore,
            "counted"
        );
        assert_eq!(
            admit(&mut intake, 9, 3, 2_000),
            Verdict::TooLate { horizon: 30 }
        );
    }

    #[test]
    fn what_an_earlier_attempt_published_as_late_is_never_counted() {
        let mut published = SideProgress {
            published: 4,
            ..SideProgress::default()
        };
        published.horizons.raise(1, 60);
        let start = Start {
            published,
            ..Start::default()
        };
        // The earlier attempt had reached 100; this one begins at 0.
        let mut intake = intake(0, start);
        let counted = |pane| Verdict::Counted {
            arrival: pane,
            pane,
        };
        assert_eq!(admit(&mut intake, 0, 45, 2_000), counted(40));
        assert_eq!(admit(&mut intake, 1, 45, 2_000), Verdict::SeenBefore);
        assert_eq!(
            admit(&mut intake, 2, 65, 2_000),
            counted(60),
            "it was counted then"
        );
        assert_eq!(
            admit(&mut intake, 4, 45, 2_000),
            counted(40),
            "it was not read then"
        );
    }

    #[test]
    fn what_is_read_again_does_not_hold_event_time_back() {
        let newest = Some(Newest {
            event_ms: 17,
            read_at_ms: 1_000,
            lag_ms: Some(900),
        });

        let start = Start {
            resume: 4,
            cut: 5,
            newest,
            ..Start::default()
        };
        let mut intake = intake(20, start);

        let again = Reading {
            appended_ms: None,
            ..at(4, 61_000)
        };
        intake.read(&again);

        assert_eq!(intake.admit(&again, 17), Verdict::SeenBefore);
        intake.at_end(0, 61_000);
        assert_eq!(
            intake.claim(|_| true).reached(),
            Some(60_095),
            "it was read a minute ago"
        );
        assert!(!intake.claim(|_| true).is_active(), "and nothing since");
    }

    #[test]
    fn a_worker_whose_partitions_are_empty_claims_nothing() {
        let mut intake = intake(0, Start::default());
        assert_eq!(intake.claim(|_| true), Claim::Unread);
        intake.at_end(0, 1);
        assert_ne!(intake.claim(|_| true), Claim::Unread);
        assert_eq!(intake.claim(|_| true).reached(), None);
    }

    /// Returns a record whose producer set its time, read at `now_ms`.
    fn created(offset: Offset, now_ms: u64) -> Reading {
        Reading {
            appended_ms: None,
            ..at(offset, now_ms)
        }
    }

    fn believes(intake: &mut Intake, offset: Offset, now_ms: u64, event_ms: u64) -> bool {
        let reading = created(offset, now_ms);
        intake.read(&reading);
        let is_believed = intake.believe(&reading, event_ms).is_ok();

        if is_believed {
            intake.admit(&reading, event_ms);
        } else {
            intake.admit_rejected(0, offset);
        }

        is_believed
    }

    #[test]
    fn an_event_is_believed_up_to_its_append_or_the_clock_and_the_skew() {
        let mut intake = intake(0, Start::default());
        let appended = at(0, 10_000);
        assert_eq!(intake.believe(&appended, 11_000), Ok(()));
        assert_eq!(intake.believe(&appended, 11_001), Err(11_000));
        assert!(believes(&mut intake, 1, 10_000, 11_000));
        assert!(!believes(&mut intake, 2, 10_100, 12_000));

        assert!(
            believes(&mut intake, 3, 11_001, 12_001),
            "the clock went on"
        );
    }

    #[test]
    fn no_event_of_a_wrong_clock_moves_event_time() {
        let mut intake = intake(0, Start::default());
        assert!(!believes(&mut intake, 0, 10_000, 86_400_000));
        assert!(believes(&mut intake, 1, 10_000, 10_900));
        let reached = intake.claim(|_| true).reached();
        assert_eq!(reached, Some(9_995), "not beyond the reader's clock");
    }

    #[test]
    fn a_restart_believes_what_was_believed_whatever_its_clock_says() {
        let mut first = intake(0, Start::default());
        let events = [
            (9_000, true),
            (11_500, false),
            (10_900, true),
            (12_001, true),
        ];

        let clocks = [10_000, 10_100, 10_500, 11_500];
        for (offset, ((event_ms, expected), now_ms)) in (0..).zip(events.into_iter().zip(clocks)) {
            assert_eq!(believes(&mut first, offset, now_ms, event_ms), expected);
        }

        let cut = first.partitions[&0].cut(0, None, Pending::none_below(4));
        for clock_ms in [1, 10_000, 99_000] {
            let start = Start {
                resume: 0,
                cut: 4,
                ceilings: cut.ceilings.clone(),
                ..Start::default()
            };
            let mut again = intake(0, start);

            for (offset, (event_ms, expected)) in (0..).zip(events) {
                let is_believed = believes(&mut again, offset, clock_ms, event_ms);
                assert_eq!(is_believed, expected, "offset {offset} at {clock_ms}");
            }
        }
    }

    #[test]
    fn ceilings_are_few_and_forgotten_with_the_panes_that_need_them() {
        let mut intake = intake(0, Start::default());
        for offset in 0..5_000 {
            let now_ms = 10_000 + offset;
            let event_ms = if offset % 2 == 0 {
                now_ms
            } else {
                u64::MAX / 2
            };
            believes(&mut intake, offset, now_ms, event_ms);
        }

        assert!(intake.partitions[&0].ceilings.len() <= 6);
        advance(&mut intake);
        assert!(intake.partitions[&0].ceilings.len() <= 2);
    }

    /// Reads one event a second; every third event is of the next day.
    fn read_seconds(intake: &mut Intake, offsets: std::ops::Range<Offset>) -> Vec<bool> {
        let believed = offsets.map(|offset| {
            let now_ms = 10_000 + 1_000 * offset;
            let ahead_ms = if offset % 3 == 0 { 86_400_000 } else { 900 };
            believes(intake, offset, now_ms, now_ms + ahead_ms)
        });
        believed.collect()
    }

    #[test]
    fn ceilings_are_kept_for_all_that_a_restart_reads_again() {
        for pending_from in [0, 7, 13, 29] {
            let mut first = intake(0, Start::default());
            let pending = |_, _| Pending::none_below(pending_from);
            let mut believed = Vec::new();
            let mut crossing = None;
            for batch in 0..3 {
                believed.extend(read_seconds(&mut first, batch * 10..batch * 10 + 10));
                let time = first.claim(|_| true).reached().unwrap();
                crossing = first.advance(time, pending);
            }

            let Crossing { to, cuts, .. } = crossing.unwrap();
            assert_eq!(cuts[0].resume(to), pending_from);
            let start = Start {
                resume: pending_from,
                cut: 30,
                ceilings: cuts[0].ceilings.clone(),
                pending: cuts[0].pending.clone(),
                ..Start::default()
            };
            let mut again = intake(to, start);
            for (offset, expected) in (0..30).zip(believed).skip(pending_from as usize) {
                let now_ms = 10_000 + 1_000 * offset;
                let ahead_ms = if offset % 3 == 0 { 86_400_000 } else { 900 };
                let is_believed = believes(&mut again, offset, 1, now_ms + ahead_ms);
                assert_eq!(is_believed, expected, "offset {offset} of {pending_from}");
            }
        }
    }

    #[test]
    fn a_partition_without_a_record_at_its_anchor_is_another_one() {
        let anchor = Anchor {
            offset: 4,
            log_time_ms: 1_000,
        };

        let start = || Start {
            resume: 4,
            cut: 5,
            anchor: Some(anchor),
            ..Start::default()
        };
        let mut same = intake(20, start());
        assert!(same.recognizes(0, anchor));
        same.skip_to(0, 5);

        assert!(!same.misses_anchor(0));

        let mut other = intake(20, start());
        let later = Anchor {
            log_time_ms: 2_000,
            ..anchor
        };
        assert!(!other.recognizes(0, later));

        let mut marker = intake(20, start());
        assert!(!marker.misses_anchor(0), "it was not read yet");
        marker.skip_to(0, 5);

        assert!(marker.misses_anchor(0));
    }
}
