//! The next request to a broker: its partitions, and the number of bytes of each.
//!
//! A request is for the partitions without fetched bytes that wait for the reader. If that is one of many, because the
//! others are read to their ends or full, a fixed share would make its answers small, and the reader would wait for the
//! broker between them.

use super::{Shared, Slot, State};
use crate::native::batch::BATCH_LIMIT;
use crate::native::reader::fetch::Wanted;

/// The next request of a fetcher.
pub(in crate::native::reader) struct Plan {
    pub wanted: Vec<Wanted>,
    /// Partitions that the broker leads and whose end it must state, with its epoch: it has not stated one yet, or a
    /// follower is read, which cannot state it.
    pub unconfirmed: Vec<(i32, i32)>,
    /// The broker may name followers to read from.
    pub may_follow: bool,
    /// Partitions of the same broker that are left out, because the reader has not taken their fetched bytes.
    pub full: usize,
}

impl Shared {
    /// Fetches a partition from another offset, at least so many bytes at a time.
    pub fn fetch_from(&self, slot: usize, offset: i64, least_bytes: usize) {
        let least_bytes = i32::try_from(least_bytes.min(BATCH_LIMIT)).unwrap_or(i32::MAX);
        let mut state = self.state();
        let slot = &mut state.slots[slot];
        slot.fetched = None;
        slot.next = offset;
        slot.fetched_epoch = -1;
        slot.max_bytes = slot.max_bytes.max(least_bytes);
        slot.is_stopped = false;
        slot.is_parked = false;
        slot.is_behind = true;

        drop(state);
        self.notify();
    }
}

impl State {
    /// Returns the next fetch from the broker; none if there is nothing to fetch.
    pub fn plan(&mut self, node: i32) -> Option<Plan> {
        let share = self.share(node);
        let (mut wanted, full): (Vec<&mut Slot>, Vec<&mut Slot>) = self
            .slots
            .iter_mut()
            .filter(|slot| slot.is_fetched_from(node))
            .partition(|slot| slot.fetched.is_none());

        let now = self.runtime.now();
        let may_follow = wanted.iter().all(|slot| slot.replica.may_follow(now));
        let full = full.len();
        let fetch = |slot: &mut &mut Slot| {
            let wanted = slot.wanted(share);
            slot.requested_bytes = usize::try_from(wanted.max_bytes).unwrap_or(0);
            wanted
        };
        let plan = Plan {
            wanted: wanted.iter_mut().map(fetch).collect(),
            unconfirmed: self.unconfirmed(node),
            may_follow,
            full,
        };

        let is_idle = plan.wanted.is_empty() && plan.unconfirmed.is_empty();
        (!is_idle).then_some(plan)
    }

    /// Returns the partitions whose end this broker must state.
    fn unconfirmed(&self, node: i32) -> Vec<(i32, i32)> {
        let unstated = self.slots.iter().filter(|slot| {
            let is_wanted = slot.is_fetched_from(node) && slot.fetched.is_none();
            is_wanted && !slot.has_confirmed_end && slot.replica.follower().is_none()
        });
        let followed = self.slots.iter().filter(|slot| slot.wants_end_of(node));
        let epoch = |slot: &Slot| slot.leader.map_or(-1, |leader| leader.epoch);
        unstated
            .chain(followed)
            .map(|slot| (slot.partition.cast_signed(), epoch(slot)))
            .collect()
    }

    /// Returns the bytes to request of each partition that is behind and fetched from this broker next.
    ///
    /// Bytes of one answer may wait for all partitions together, each up to its share. Beyond that, as many bytes may
    /// wait as fit without dropping others, and as many again may be in pieces that the reader took and has not
    /// finished.
    fn share(&self, node: i32) -> i32 {
        let is_wanted = |slot: &&Slot| slot.is_fetched_from(node) && slot.fetched.is_none();
        let behind = self.slots.iter().filter(is_wanted);
        let behind: Vec<&Slot> = behind.filter(|slot| slot.is_behind).collect();
        let Some(own) = behind.iter().map(|slot| slot.max_bytes).min() else {
            return 0;
        };
        if self.is_share_set {
            return own;
        }

        let waiting = |slot: &Slot| match is_wanted(&slot) {
            true => 0,
            false => slot.beyond_share(slot.waiting_bytes().max(slot.requested_bytes)),
        };
        let waiting: usize = self.slots.iter().map(waiting).sum();
        let taken = self.slots.iter();
        let taken: usize = taken.map(|slot| slot.beyond_share(slot.taken_bytes)).sum();

        let of_waiting = self
            .waiting_bytes
            .saturating_sub(self.answer_bytes + waiting);
        let of_taken = self.waiting_bytes.saturating_sub(waiting + taken);
        let more = i32::try_from(of_waiting.min(of_taken) / behind.len()).unwrap_or(i32::MAX);
        let of_answer = i32::try_from(self.answer_bytes / behind.len()).unwrap_or(i32::MAX);
        own.saturating_add(more).min(of_answer).max(own)
    }
}
