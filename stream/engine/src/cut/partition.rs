//! A worker's memory of one of its partitions: the position, the open panes, and the ceilings
//! of event times from clocks that may be wrong.

use std::collections::BTreeMap;

use record_log::Offset;

use super::{Anchor, Ceiling, Cut};
use crate::pane::EventTimeMs;
use crate::sink::progress::SideProgress;
use crate::sink::sides::Pending;
use crate::watermark::Watermark;

/// The least step by which a ceiling is raised, so that a stream of events from the future creates
/// few ceilings.
const CEILING_STEP_MS: u64 = 1_000;

/// A partition from the view of the worker that reads it.
pub(super) struct Partition {
    pub(super) next_offset: Offset,
    pub(super) restored_cut: Offset,
    pub(super) needed_from: Offset,
    pub(super) restored_anchor: Option<Anchor>,
    pub(super) anchor: Option<Anchor>,
    /// True if a record at the anchor's offset was read, or if there is no anchor.
    pub(super) is_recognized: bool,
    /// The ceilings, by offset.
    pub(super) ceilings: Vec<Ceiling>,
    pub(super) watermark: Watermark,
    /// For each pane under which records may still travel, the least offset of such a record.
    pub(super) open: OpenPanes,
    /// The side outputs below the restored cut that were not published when it was made.
    pub(super) pending: Pending,
    /// The side outputs that were published when the attempt began.
    pub(super) published: SideProgress,
    /// The version of the decoder that decided about the records below the restored cut.
    pub(super) restored_decoder: u32,
}

/// The open panes of a partition, each with the least offset of its records.
#[derive(Default)]
pub(super) struct OpenPanes {
    least: BTreeMap<EventTimeMs, Offset>,
    /// The pane that was noted last: most records are of the same one.
    last: Option<EventTimeMs>,
}

impl OpenPanes {
    /// Notes a record of a pane. Offsets rise, so the first of a pane is the least.
    #[inline]
    pub(super) fn note(&mut self, pane: EventTimeMs, offset: Offset) {
        if self.last != Some(pane) {
            self.least.entry(pane).or_insert(offset);
            self.last = Some(pane);
        }
    }

    pub(super) fn forget_before(&mut self, boundary: EventTimeMs) {
        self.least = self.least.split_off(&boundary);
        self.last = None;
    }
}

impl Partition {
    /// Returns whether another version of the decoder decided about a record that is needed again.
    pub(super) fn is_decided_anew(&self, offset: Offset, decoder: u32) -> bool {
        let is_reread = offset >= self.needed_from && offset < self.restored_cut;
        is_reread && self.restored_decoder != decoder
    }

    /// Returns the cut at the position to be read next.
    pub(super) fn cut(&self, partition: u32, ids_from: Option<Offset>, pending: Pending) -> Cut {
        let open = self
            .open
            .least
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
    pub(super) fn ceiling(
        &mut self,
        offset: Offset,
        event_ms: EventTimeMs,
        latest_ms: u64,
    ) -> EventTimeMs {
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
    pub(super) fn forget_ceilings(&mut self, otherwise: Offset) {
        let least = self
            .open
            .least
            .values()
            .min()
            .copied()
            .unwrap_or(Offset::MAX);
        let least = least.min(otherwise).min(self.next_offset);
        let first = self.ceilings.partition_point(|it| it.from <= least);
        self.ceilings.drain(..first.saturating_sub(1));
    }

    /// Returns whether records below the restored cut are still to be read again.
    pub(super) fn is_replaying(&self) -> bool {
        self.next_offset < self.restored_cut
    }
}
