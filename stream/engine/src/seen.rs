//! The ids of counted events, by which duplicates are recognized.
//!
//! A producer that is not idempotent writes a record twice when a reply was lost. Both copies have
//! the same event id, key and event time, so they are in the same partition and pane. Ids are
//! therefore held by partition and pane, from the first record of the pane until no record can
//! change its windows any more.
//!
//! Ids are not part of a checkpoint, because the log contains them. A restart reads each partition
//! from the oldest record whose id is held, and collects the ids again without counting anything
//! twice.
//!
//! Invariants: no more ids are held than the limit allows. When the limit is exceeded, the
//! ids of the oldest pane are dropped, and no more are collected for that pane or any before it. Duplicates of their
//! events are then counted.

mod ids;

use record_log::Offset;

use crate::pane::EventTimeMs;
use ids::IdSet;

/// An event's id: a UUID, or other 128 bits that are as unique.
pub type EventId = u128;

/// The memory that is counted for an id: the most that a set takes for it, and a third more for sets that grow.
const BYTES_OF_AN_ID: u64 = 30;

/// The ids that one worker holds.
pub struct Seen {
    limit: usize,
    held: usize,
    /// By pane and partition.
    panes: Vec<((EventTimeMs, u32), Ids)>,
    /// The place of the set that was used last: most ids are for the same one.
    last: usize,
    /// No ids are held for panes before it.
    from: EventTimeMs,
}

/// The ids of one pane in one partition.
struct Ids {
    /// The offset of the oldest record whose id is in the set.
    oldest: Offset,
    ids: IdSet,
}

impl Seen {
    /// Creates an empty set of ids that takes at most `bytes`.
    pub fn within(bytes: u64) -> Self {
        Self {
            limit: usize::try_from(bytes / BYTES_OF_AN_ID).unwrap_or(usize::MAX),
            held: 0,
            panes: Vec::new(),
            last: 0,
            from: 0,
        }
    }

    /// Adds an id, and returns whether it was held already, so that its event is a duplicate.
    #[inline]
    pub fn is_copy(
        &mut self,
        partition: u32,
        pane: EventTimeMs,
        offset: Offset,
        id: EventId,
    ) -> bool {
        if pane < self.from || self.limit == 0 {
            return false;
        }

        let is_new = match self.find((pane, partition)) {
            Ok(found) => self.panes[found].1.ids.insert(id),
            Err(place) => self.begin(place, (pane, partition), offset, id),
        };
        if !is_new {
            return true;
        }

        self.held += 1;
        while self.held > self.limit {
            self.drop_oldest_pane();
        }

        false
    }

    /// Reads the places of ids into the processor's cache, if their set is the one that was used last.
    #[inline]
    pub fn approach(&self, partition: u32, pane: EventTimeMs, ids: impl Iterator<Item = EventId>) {
        if let Some((known, set)) = self.panes.get(self.last)
            && *known == (pane, partition)
        {
            set.ids.approach(ids);
        }
    }

    /// Returns the place of a set, or the one where it belongs.
    #[inline]
    fn find(&mut self, wanted: (EventTimeMs, u32)) -> Result<usize, usize> {
        let last = self.panes.get(self.last);
        if last.is_none_or(|(known, _)| *known != wanted) {
            self.last = self.search(wanted)?;
        }
        Ok(self.last)
    }

    #[inline(never)]
    fn search(&self, wanted: (EventTimeMs, u32)) -> Result<usize, usize> {
        let panes = &self.panes;
        panes.binary_search_by_key(&wanted, |(known, _)| *known)
    }

    /// Adds the first id of a pane in a partition, at its place. The set has room for as many ids as
    /// the newest one of the partition holds.
    #[cold]
    fn begin(&mut self, place: usize, of: (EventTimeMs, u32), offset: Offset, id: EventId) -> bool {
        let mut own = self.panes.iter().filter(|((_, known), _)| *known == of.1);
        let newest = own.next_back().map_or(0, |(_, known)| known.ids.len());
        let mut ids = IdSet::for_about(newest.min(self.limit - self.held));

        let is_new = ids.insert(id);
        let oldest = offset;
        self.panes.insert(place, (of, Ids { oldest, ids }));
        is_new
    }

    /// Moves the ids of panes before `pane`, in which only late events are still found, into less
    /// memory.
    pub fn seal_before(&mut self, pane: EventTimeMs) {
        let older = self.panes.iter_mut().take_while(|((of, _), _)| *of < pane);
        older.for_each(|(_, known)| known.ids.seal());
    }

    /// Drops the ids of panes before `pane`.
    pub fn drop_before(&mut self, pane: EventTimeMs) {
        let first_kept = self.panes.partition_point(|((of, _), _)| *of < pane);
        let dropped = self.panes.drain(..first_kept);
        self.held -= dropped.map(|(_, known)| known.ids.len()).sum::<usize>();
        self.from = self.from.max(pane);
    }

    /// Returns the offset of the oldest record of a partition whose id is held.
    pub fn oldest(&self, partition: u32) -> Option<Offset> {
        let own = self.panes.iter().filter(|((_, of), _)| *of == partition);
        own.map(|(_, known)| known.oldest).min()
    }

    #[cold]
    fn drop_oldest_pane(&mut self) {
        if let Some(((pane, _), _)) = self.panes.first() {
            self.drop_before(pane + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_known_in_its_partition_and_pane() {
        let mut seen = Seen::within(1 << 20);
        assert!(!seen.is_copy(0, 10, 5, 7));
        assert!(seen.is_copy(0, 10, 6, 7));
        assert!(!seen.is_copy(1, 10, 5, 7), "another partition");
        assert!(!seen.is_copy(0, 20, 7, 7), "another time");
        assert!(!seen.is_copy(0, 10, 4, 8));
        assert_eq!((seen.oldest(0), seen.oldest(2)), (Some(5), None));
    }

    #[test]
    fn copies_are_known_in_whatever_order_panes_and_partitions_come() {
        let mut seen = Seen::within(1 << 20);
        let sets = [
            (2, 30),
            (0, 20),
            (1, 10),
            (0, 30),
            (0, 10),
            (1, 20),
            (2, 10),
        ];
        for id in 0..5 {
            for (partition, pane) in sets {
                assert!(!seen.is_copy(partition, pane, id as Offset, id));
            }
        }
        for (partition, pane) in sets {
            assert!(seen.is_copy(partition, pane, 9, 4), "{partition} {pane}");
        }

        seen.drop_before(20);
        assert_eq!(seen.held, 4 * 5);
        assert_eq!(seen.oldest(1), Some(0));
        assert!(seen.is_copy(1, 20, 9, 4));
    }

    #[test]
    fn a_copy_is_known_in_an_older_pane_and_the_count_of_ids_stays() {
        let mut seen = Seen::within(1 << 30);
        let ids = 0..20_000_u64;
        for id in ids.clone() {
            seen.is_copy(0, 10, id, id.into());
            seen.is_copy(1, 20, id, id.into());
        }

        seen.seal_before(20);
        assert_eq!(seen.held, 40_000);
        for id in ids {
            assert!(seen.is_copy(0, 10, 0, id.into()) && seen.is_copy(1, 20, 0, id.into()));
        }
        assert!(!seen.is_copy(0, 10, 0, 20_000) && seen.is_copy(0, 10, 0, 20_000));
        assert_eq!(seen.held, 40_001);

        seen.drop_before(20);
        assert_eq!(seen.held, 20_000);
    }

    #[test]
    fn a_pane_that_nothing_can_change_is_forgotten() {
        let mut seen = Seen::within(1 << 20);
        seen.is_copy(0, 10, 5, 7);
        seen.is_copy(0, 20, 6, 8);
        seen.drop_before(20);

        assert_eq!((seen.held, seen.oldest(0)), (1, Some(6)));
        assert!(!seen.is_copy(0, 10, 7, 7));
        assert_eq!(seen.held, 1, "nothing is held of it again");
    }

    #[test]
    fn never_more_is_held_than_the_limit_and_the_newest_panes_stay() {
        let mut seen = Seen::within(10 * BYTES_OF_AN_ID);
        for number in 0..100_u64 {
            let pane = number / 4 * 10;
            assert!(!seen.is_copy(0, pane, number, number.into()));
            assert!(seen.is_copy(0, pane, number, number.into()), "{number}");
            assert!(seen.held <= 10);
        }

        let mut one_pane = Seen::within(10 * BYTES_OF_AN_ID);
        (0..100).for_each(|id| assert!(!one_pane.is_copy(0, 10, 0, id)));
        assert!(one_pane.held <= 10);

        let mut off = Seen::within(0);
        assert!(!off.is_copy(0, 10, 0, 7) && !off.is_copy(0, 10, 0, 7));
        assert_eq!(off.oldest(0), None, "a restart reads no further back");
    }
}
