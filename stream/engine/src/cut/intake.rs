//! The decisions of a worker about the records of its partitions, and the advance of its capability.

use record_log::Offset;

use super::by_number::ByNumber;
use super::partition::{OpenPanes, Partition};
use super::{Anchor, Crossing, Reading, Rules, Start, Verdict};
use crate::pane::{EventTimeMs, Windows};
use crate::seen::{EventId, Seen};
use crate::sink::sides::Pending;
use crate::watermark::{Claim, Newest, Watermark};

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
    partitions: ByNumber,
    /// The pane of the event that was seen last: most events are of the same one.
    last_pane: EventTimeMs,
    /// Windows that begin before it are incomplete and are not corrected.
    complete_from: EventTimeMs,
    /// The first pane of which a record can still change a window.
    horizon: EventTimeMs,
    seen: Seen,
    /// The version of the decoder that decides now.
    decoder: u32,
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
            watermark: Watermark::new(rules.pace.allowing(start.disorder_ms), start.newest),
            open: OpenPanes::default(),
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
            last_pane: 0,
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

    /// Sets the version of the decoder that decides.
    #[must_use]
    pub fn decoding_by(self, decoder: u32) -> Self {
        Self { decoder, ..self }
    }

    /// Returns the worker's capability: nothing sent from now on travels before this boundary.
    pub fn capability(&self) -> EventTimeMs {
        self.capability
    }

    /// Returns the partitions and the offsets to read next.
    pub fn positions(&self) -> impl Iterator<Item = (u32, Offset)> {
        self.partitions
            .iter()
            .map(|(id, partition)| (id, partition.next_offset))
    }

    /// Returns the offset to read next from `partition`.
    ///
    /// # Panics
    /// If the partition is not this worker's.
    pub fn next_offset(&self, partition: u32) -> Offset {
        let own = self.partitions.get(partition);
        own.expect("the partition is this worker's").next_offset
    }

    /// Returns the newest event of `partition`.
    pub fn newest(&self, partition: u32) -> Option<Newest> {
        self.partitions
            .get(partition)
            .and_then(|partition| partition.watermark.newest())
    }

    /// Notes a record before anything is decided about it. Records below the restored cut do not
    /// affect the watermark.
    #[inline]
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
    #[inline]
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
        let pane = self.pane_of(event_ms);
        // An event that an earlier attempt published as late is not counted. A copy of it may be.
        let published = &self.own(reading.partition).published;
        if published.has_late(reading.offset, pane) {
            self.observe(reading, event_ms);
            return Verdict::SeenBefore;
        }

        let is_known = |id| {
            self.seen
                .is_copy(reading.partition, pane, reading.offset, id)
        };
        if pane >= self.horizon && id.is_some_and(is_known) {
            self.observe(reading, event_ms);
            return Verdict::Copy;
        }

        self.admit_to(pane, reading, event_ms)
    }

    /// Notes an event whose time is accepted, and returns its pane, if the event is on time and was not
    /// read before a restart. Then only its id and the published results decide about it:
    /// [`admit_on_time`](Self::admit_on_time).
    #[inline]
    pub fn on_time(&mut self, reading: &Reading, event_ms: EventTimeMs) -> Option<EventTimeMs> {
        let pane = self.pane_of(event_ms);
        let capability = self.capability;
        let partition = self.own(reading.partition);
        if pane < capability || reading.offset < partition.restored_cut {
            return None;
        }

        let watermark = &mut partition.watermark;
        watermark.observe(event_ms, reading.appended_ms(), reading.now_ms);
        Some(pane)
    }

    /// Reads the places of the ids of events, about which is decided next, into the processor's cache.
    #[inline]
    pub fn approach(&self, partition: u32, pane: EventTimeMs, ids: impl Iterator<Item = EventId>) {
        self.seen.approach(partition, pane, ids);
    }

    /// Decides about an event that is [on time](Self::on_time), as `admit_once` does.
    #[inline]
    pub fn admit_on_time(
        &mut self,
        partition: u32,
        offset: Offset,
        pane: EventTimeMs,
        id: EventId,
    ) -> Verdict {
        let own = self.partitions.own(partition);
        if own.published.has_late(offset, pane) {
            return Verdict::SeenBefore;
        }
        if self.seen.is_copy(partition, pane, offset, id) {
            return Verdict::Copy;
        }

        own.open.note(pane, offset);
        Verdict::Counted {
            arrival: pane,
            pane,
        }
    }

    /// Returns the pane of an event, without a division if it is that of the last one.
    #[inline]
    fn pane_of(&mut self, event_ms: EventTimeMs) -> EventTimeMs {
        if event_ms.wrapping_sub(self.last_pane) >= self.windows.pane_ms() {
            self.last_pane = self.windows.pane_of(event_ms);
        }
        self.last_pane
    }

    /// Notes the time of an event.
    #[inline]
    fn observe(&mut self, reading: &Reading, event_ms: EventTimeMs) {
        let watermark = &mut self.own(reading.partition).watermark;
        watermark.observe(event_ms, reading.appended_ms(), reading.now_ms);
    }

    /// Decides about a record that was decoded and whose event time is accepted.
    #[cfg(test)]
    pub fn admit(&mut self, reading: &Reading, event_ms: EventTimeMs) -> Verdict {
        self.admit_once(reading, event_ms, None)
    }

    fn admit_to(&mut self, pane: EventTimeMs, reading: &Reading, event_ms: EventTimeMs) -> Verdict {
        let capability = self.capability;
        let boundary = self.restored_boundary;
        let horizon = self.horizon;
        self.observe(reading, event_ms);

        let offset = reading.offset;
        let partition = self.own(reading.partition);

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
            partition.open.note(pane, offset);
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

    /// Decides about the record of a job without a window. It travels at once, whatever its event
    /// time is, so all records below a cut have travelled before the boundary.
    pub fn pass(&mut self, reading: &Reading, event_ms: EventTimeMs) -> Verdict {
        let capability = self.capability;
        self.observe(reading, event_ms);
        if reading.offset < self.own(reading.partition).restored_cut {
            return Verdict::SeenBefore;
        }

        Verdict::Counted {
            arrival: capability,
            pane: capability,
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
    #[inline]
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
        self.partitions.get(partition).is_some_and(|partition| {
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
            .get(partition)
            .and_then(|partition| partition.watermark.end_as_of_ms())
    }

    /// Returns the combined claim of the partitions for which `among` returns true.
    pub fn claim(&self, mut among: impl FnMut(u32) -> bool) -> Claim {
        let own = self.partitions.iter().filter(|(id, _)| among(*id));
        own.map(|(_, partition)| partition.watermark.claim())
            .fold(Claim::none(), Claim::and)
    }

    /// Returns the claim of a partition.
    pub fn claim_of(&self, partition: u32) -> Claim {
        let found = self.partitions.get(partition);
        found.map_or(Claim::none(), |partition| partition.watermark.claim())
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
        for (id, partition) in self.partitions.iter_mut() {
            let pending = pending(id, partition.next_offset);
            let mut cut = partition.cut(id, self.seen.oldest(id), pending);
            cut.decoder = self.decoder;
            partition.open.forget_before(to);
            let ids_from = cut.ids_from.unwrap_or(Offset::MAX);
            partition.forget_ceilings(ids_from.min(cut.pending.from));
            cuts.push(cut);
        }

        self.seen.drop_before(self.first_correctable_in_time());
        self.seen.seal_before(to);
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
        self.partitions.iter().any(|(_, own)| own.is_replaying())
    }

    /// Returns whether `partition` has not been re-read up to its restored cut. Until it has been,
    /// the capability cannot advance.
    pub fn is_awaited(&self, partition: u32) -> bool {
        self.partitions
            .get(partition)
            .is_some_and(Partition::is_replaying)
    }

    #[inline]
    fn own(&mut self, partition: u32) -> &mut Partition {
        self.partitions.own(partition)
    }
}

#[cfg(test)]
mod tests;
