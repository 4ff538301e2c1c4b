//! The state that a reader and its threads share: for each partition its fetched bytes, its leader and its end.
//!
//! A partition is fetched again when the reader has taken all of its fetched bytes. The reader takes a piece before it
//! walks it, so the next one is fetched meanwhile.
//!
//! Each partition can always be fetched up to its share of an answer. The partitions of a request share the room beyond
//! that (`plan`), so a partition that alone lags gets whole answers.
//!
//! Invariants: at most [`Fetching::waiting_bytes`] and one answer of fetched bytes wait. When a partition needs room
//! that others take, the bytes of the fullest partition are dropped, and fetched again when the reader polls it.

mod found;
pub(super) mod plan;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub(super) use self::found::Found;
use super::Fetching;
use super::fetch::{Fetched, Wanted};
use super::follower::Replica;
use super::frames::{Frames, Piece, SharedFrame};
use super::whole::{LEAST_BYTES, whole_batches};
use crate::Wake;
use crate::native::batch::walk::Aborted;
use crate::native::cluster::{Leader, Topic, lock};
use crate::runtime::{Bell, Runtime};

/// The partitions of a reader, and the signals that its threads wait for.
pub(super) struct Shared {
    pub topic: String,
    pub topic_id: [u8; 16],
    pub fetching: Fetching,
    pub frames: Arc<Frames>,
    pub runtime: Arc<dyn Runtime>,
    state: Mutex<State>,
    changed: Arc<dyn Bell>,
    wake: Mutex<Option<Wake>>,
}

/// The state under the lock.
pub(super) struct State {
    /// By partition.
    pub slots: Vec<Slot>,
    pub is_closing: bool,
    runtime: Arc<dyn Runtime>,
    /// The most bytes that wait, and the most in an answer.
    waiting_bytes: usize,
    answer_bytes: usize,
    /// `true` if the settings have a number of bytes to request of each partition.
    is_share_set: bool,
    next_piece: u64,
}

/// A partition of a reader.
pub(super) struct Slot {
    pub partition: u32,
    /// The leader; none while it is being looked up.
    pub leader: Option<Leader>,
    /// The follower that is read from in the leader's place, if there is one.
    pub replica: Replica,
    /// The newest epoch that a leader was seen with.
    pub newest_epoch: i32,
    pub found: Option<Found>,
    /// The sentence about a throttle, if the answer that would have contained its records or its end was throttled.
    throttled: Option<Arc<str>>,
    fetched: Option<Piecewise>,
    next: i64,
    fetched_epoch: i32,
    /// Its share of an answer, or a batch that is larger.
    max_bytes: i32,
    /// The bytes that were requested of the partition and have not come.
    requested_bytes: usize,
    /// The bytes that the reader took, until its next poll.
    taken_bytes: usize,
    /// `true` if there may be committed records at `next`.
    is_behind: bool,
    end: Option<End>,
    /// `true` if the leader has confirmed an end since it leads. Until then the ends in its answers may be too low,
    /// because a new leader learns from its followers which of its records are committed.
    has_confirmed_end: bool,
    /// `true` if the fetched bytes were dropped and the reader has not polled the partition since.
    is_parked: bool,
    /// `true` if there is a batch at `next` that cannot be read; a poll will return its error.
    is_stopped: bool,
}

/// Fetched batches of a partition.
pub(super) struct Piecewise {
    /// A number that no other piece has.
    pub id: u64,
    pub piece: Piece,
    pub aborted: Vec<Aborted>,
    /// The offset that it was fetched from, and the offset behind it.
    pub from: i64,
    pub next: i64,
    from_epoch: i32,
}

/// The end of a partition as of a moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct End {
    /// The offset behind all written records, committed or not.
    pub offset: i64,
    /// The time at which the request for the end was sent, in milliseconds since the Unix epoch.
    pub as_of_ms: u64,
}

/// The result of [`Shared::take`].
pub(super) enum Taken {
    Piece(Piecewise),
    Nothing {
        end: Option<End>,
        found: Option<Found>,
    },
}

impl Slot {
    /// Returns the broker that is fetched from: the leader or a follower.
    pub fn source(&self) -> Option<i32> {
        let leader = self.leader?;
        Some(self.replica.follower().unwrap_or(leader.node))
    }

    fn is_fetched_from(&self, node: i32) -> bool {
        let is_over = self.found.as_ref().is_some_and(Found::stays);
        self.source() == Some(node) && !is_over && !self.is_stopped && !self.is_parked
    }

    /// Returns `true` if this broker leads the partition and must state its end.
    fn wants_end_of(&self, node: i32) -> bool {
        let is_led = self.leader.is_some_and(|leader| leader.node == node);
        is_led && self.replica.wants_end()
    }

    /// Returns to the leader after a follower could not be read from. If the follower was not the cause, the leader
    /// gives the same error.
    pub fn leave_follower(&mut self, now: Instant) {
        self.replica.avoid(now);
    }

    /// Returns the partition's part of a request in which partitions that are behind have this share. A partition that
    /// is not behind keeps its own share, so that the session need not name it again.
    fn wanted(&self, share: i32) -> Wanted {
        let max_bytes = match self.is_behind {
            true => self.max_bytes.max(share),
            false => self.max_bytes,
        };
        Wanted {
            partition: self.partition.cast_signed(),
            offset: self.next,
            leader_epoch: self.leader.map_or(-1, |leader| leader.epoch),
            fetched_epoch: self.fetched_epoch,
            max_bytes,
        }
    }

    /// Returns the number of bytes beyond the partition's share of an answer.
    fn beyond_share(&self, bytes: usize) -> usize {
        bytes.saturating_sub(usize::try_from(self.max_bytes).unwrap_or(0))
    }

    fn waiting_bytes(&self) -> usize {
        self.fetched
            .as_ref()
            .map_or(0, |fetched| fetched.piece.bytes().len())
    }

    /// Drops fetched bytes; they are fetched again when the reader polls the partition.
    fn park(&mut self) {
        if let Some(dropped) = self.fetched.take() {
            self.next = dropped.from;
            self.fetched_epoch = dropped.from_epoch;
            self.is_stopped = false;
            self.is_parked = true;
            self.is_behind = true;
        }
    }

    /// Drops the leader and the end, which must be looked up again.
    pub fn lose_leader(&mut self, found: Option<Found>) {
        self.leader = None;
        self.replica.leave();
        self.has_confirmed_end = false;
        self.throttled = None;
        if found.is_some() {
            self.found = found;
        }
    }
}

impl Shared {
    pub fn new(
        runtime: &Arc<dyn Runtime>,
        name: &str,
        topic: &Topic,
        fetching: &Fetching,
        from: &[(u32, i64)],
    ) -> Self {
        let partitions = i32::try_from(from.len().max(1)).unwrap_or(i32::MAX);
        let share = (fetching.answer_bytes / partitions).max(LEAST_BYTES);
        let max_bytes = fetching.partition_bytes.unwrap_or(share);
        let slot = |(partition, next): &(u32, i64)| {
            let leader = topic.leaders.get(*partition as usize).copied();
            Slot {
                partition: *partition,
                leader: None,
                replica: Replica::default(),
                newest_epoch: leader.map_or(-1, |leader| leader.epoch),
                found: None,
                throttled: None,
                fetched: None,
                next: *next,
                fetched_epoch: -1,
                max_bytes,
                requested_bytes: 0,
                taken_bytes: 0,
                is_behind: true,
                end: None,
                has_confirmed_end: false,
                is_parked: false,
                is_stopped: false,
            }
        };

        Self {
            topic: name.to_owned(),
            topic_id: topic.id,
            fetching: fetching.clone(),
            frames: Arc::new(Frames::new(kept_bytes(fetching))),
            state: Mutex::new(State {
                slots: from.iter().map(slot).collect(),
                is_closing: false,
                runtime: Arc::clone(runtime),
                waiting_bytes: fetching.waiting_bytes,
                answer_bytes: usize::try_from(fetching.answer_bytes).unwrap_or(0),
                is_share_set: fetching.partition_bytes.is_some(),
                next_piece: 0,
            }),
            changed: runtime.bell(),
            runtime: Arc::clone(runtime),
            wake: Mutex::new(None),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Lets the threads look for work again.
    pub fn notify(&self) {
        self.changed.ring();
    }

    pub fn set_wake(&self, wake: Wake) {
        *lock(&self.wake) = Some(wake);
    }

    /// Calls the reader's wake, outside all locks.
    pub fn wake(&self) {
        let wake = lock(&self.wake).clone();
        if let Some(wake) = wake {
            wake();
        }
    }

    pub fn close(&self) {
        self.state().is_closing = true;
        *lock(&self.wake) = None;
        self.notify();
    }

    /// Waits for a moment, or until the reader closes.
    pub fn pause(&self, pause: Duration) {
        let until = self.runtime.now() + pause;
        loop {
            let heard = self.changed.rings();
            let left = until.saturating_duration_since(self.runtime.now());
            if left.is_zero() || self.state().is_closing {
                return;
            }
            self.changed.wait(heard, Some(left));
        }
    }

    /// Waits until `look` finds something to do. Returns none when the reader closes.
    pub fn wait_for<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        loop {
            let heard = self.changed.rings();
            let mut state = self.state();
            if state.is_closing {
                return None;
            }
            if let Some(found) = look(&mut state) {
                return Some(found);
            }

            drop(state);
            self.changed.wait(heard, None);
        }
    }

    /// Hands the fetched bytes of a partition to the reader.
    pub fn take(&self, slot: usize) -> Taken {
        let mut state = self.state();
        let slot = &mut state.slots[slot];
        slot.taken_bytes = slot.waiting_bytes();
        if let Some(piece) = slot.fetched.take() {
            drop(state);
            // There is room for the next bytes of the partition.
            self.notify();
            return Taken::Piece(piece);
        }

        let found = slot.found.clone();
        if found.as_ref().is_some_and(|found| !found.stays()) {
            slot.found = None;
        }

        let end = slot.end;
        if std::mem::take(&mut slot.is_parked) {
            drop(state);
            self.notify();
        }

        Taken::Nothing { end, found }
    }

    /// Returns the sentence about the quota that holds the partition back, if one does.
    pub fn throttled(&self, slot: usize) -> Option<Arc<str>> {
        self.state().slots[slot].throttled.clone()
    }
}

impl State {
    pub fn slot_of(&mut self, partition: i32) -> Option<&mut Slot> {
        let by_partition = |slot: &Slot| slot.partition.cast_signed();
        let found = self.slots.binary_search_by_key(&partition, by_partition);
        self.slots.get_mut(found.ok()?)
    }

    /// Stores the fetched records and the end of a partition. Returns `true` if they are new for the reader; a newer
    /// date of the same end is not.
    pub fn store(
        &mut self,
        asked: &Wanted,
        fetched: Fetched,
        frame: &SharedFrame,
        as_of_ms: u64,
    ) -> bool {
        let id = self.next_piece;
        let now = self.runtime.now();
        self.next_piece += 1;
        let Some(slot) = self.slot_of(asked.partition) else {
            return false;
        };

        slot.found = None;
        slot.throttled = None;
        slot.requested_bytes = 0;
        if asked.offset != slot.next {
            // The reader has moved on since the request.
            return false;
        }

        slot.replica.note_answer(!fetched.records.is_empty(), now);
        let end = End {
            offset: fetched.high_watermark,
            as_of_ms,
        };
        // The end of a follower may lag.
        let is_end_news = slot.has_confirmed_end
            && slot.replica.follower().is_none()
            && (slot.end.replace(end)).is_none_or(|earlier| earlier.offset != end.offset);
        let bytes = &frame.bytes()[fetched.records.clone()];
        let batches = whole_batches(bytes, asked);
        slot.is_stopped = batches.is_bad;
        slot.is_behind = fetched.stable_end > batches.next;

        if batches.length == 0 {
            // The answer has no whole batch, so the next request is for more bytes.
            slot.max_bytes = slot.max_bytes.max(batches.needed);
            return is_end_news;
        }

        let start = fetched.records.start;
        slot.fetched = Some(Piecewise {
            id,
            piece: frame.piece(start..start + batches.length),
            aborted: fetched.aborted,
            from: asked.offset,
            next: batches.next,
            from_epoch: asked.fetched_epoch,
        });

        slot.next = batches.next;
        slot.fetched_epoch = batches.epoch;
        self.make_room(asked.partition);

        true
    }

    /// Confirms the end of a partition that has not changed.
    pub fn confirm_end(&mut self, partition: i32, as_of_ms: u64) {
        let now = self.runtime.now();
        if let Some(slot) = self.slot_of(partition) {
            slot.found = None;
            slot.throttled = None;
            slot.requested_bytes = 0;
            slot.is_behind = false;
            slot.replica.note_answer(false, now);
            if let Some(end) = &mut slot.end
                && slot.has_confirmed_end
                && slot.replica.follower().is_none()
            {
                end.as_of_ms = as_of_ms;
            }
        }
    }

    /// Notes that the broker's answer has neither records nor an end of a partition because the broker throttles this
    /// client.
    pub fn throttle(&mut self, partition: i32, reason: &Arc<str>) {
        if let Some(slot) = self.slot_of(partition) {
            slot.found = None;
            slot.throttled = Some(Arc::clone(reason));
            slot.requested_bytes = 0;
        }
    }

    /// Stores an end that the leader has confirmed: the first since it leads, or any while a follower is read. An end
    /// below the position is not stored, because the position is out of range then, which the answer to Fetch states.
    /// Returns `true` if the end is new for the reader.
    pub fn take_end(&mut self, partition: i32, leader: Leader, end: End) -> bool {
        let now = self.runtime.now();
        let Some(slot) = self.slot_of(partition) else {
            return false;
        };

        if slot.leader != Some(leader) || end.offset < slot.next {
            return false;
        }

        slot.replica.note_end(end.offset > slot.next, now);
        let is_first = !std::mem::replace(&mut slot.has_confirmed_end, true);
        let earlier = slot.end.replace(end);
        is_first || earlier.is_none_or(|earlier| earlier.offset != end.offset)
    }

    /// Returns `true` if the partition is fetched from this broker.
    pub fn is_read_from(&mut self, partition: i32, node: i32) -> bool {
        self.slot_of(partition).and_then(|slot| slot.source()) == Some(node)
    }

    /// Reads from the follower that the leader has named, if any.
    pub fn follow(&mut self, partition: i32, follower: Option<i32>) {
        let now = self.runtime.now();
        if let (Some(slot), Some(node)) = (self.slot_of(partition), follower) {
            slot.replica.follow(node, now);
        }
    }

    fn make_room(&mut self, for_partition: i32) {
        let mut waiting: usize = self.slots.iter().map(Slot::waiting_bytes).sum();
        while waiting > self.waiting_bytes {
            let fullest = self
                .slots
                .iter_mut()
                .filter(|slot| slot.partition.cast_signed() != for_partition)
                .max_by_key(|slot| slot.waiting_bytes());
            match fullest {
                Some(slot) if slot.fetched.is_some() => {
                    waiting -= slot.waiting_bytes();
                    slot.park();
                }
                _ => return,
            }
        }
    }
}

/// Returns the size of the largest frame that is kept. An answer exceeds its limit if a single batch does; such a frame
/// is not kept.
fn kept_bytes(fetching: &Fetching) -> usize {
    let answer = usize::try_from(fetching.answer_bytes).unwrap_or(0);
    answer + answer / 2
}

#[cfg(test)]
mod followed;
#[cfg(test)]
mod tests;
