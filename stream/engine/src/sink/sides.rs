//! The queue of side outputs between a worker's source, which hands them over, and its committer,
//! which publishes them.
//!
//! ```text
//! source ──push──▶ waiting ──take──▶ in flight ──published──▶ forgotten
//!    ▲                    uncommitted offsets, by partition      │
//!    └── may read on: room_bytes ◀──────────────────────────────┘
//! ```
//!
//! **Invariant:** side outputs of a partition are published in the order of their offsets.
//!
//! A source that finds no room reads no further. The queue waits neither for event time nor for a
//! checkpoint, so it has room again as soon as the log takes records.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use record_log::{Offset, Wake};
use serde::{Deserialize, Serialize};

use crate::flow::{Reason, SideOutput};
use crate::pane::EventTimeMs;
use crate::sink::progress::{Horizons, SideProgress};

/// The size after which a transaction takes no further side output.
const TRANSACTION_BYTES: usize = 4 << 20;
/// The number of late records that may wait. It is limited because checkpoints list them.
const LATE_MAX: usize = 20_000;

/// The queue. Clones share it.
#[derive(Clone)]
pub struct SideQueue(Arc<Mutex<Queue>>);

struct Queue {
    limit_bytes: usize,
    size_bytes: usize,
    waiting: VecDeque<Side>,
    when_full: Option<Wake>,
    when_free: Option<Wake>,
    partitions: BTreeMap<u32, Partition>,
}

/// A side output with the horizon by which it was late; 0 if it was rejected.
pub struct Side {
    /// The record.
    pub output: SideOutput,
    /// The pane before which records were late when this one was read.
    pub horizon: EventTimeMs,
}

/// The state of a partition's side outputs.
#[derive(Default)]
struct Partition {
    /// The progress when the attempt began.
    restored: SideProgress,
    /// The offset after the last record that this attempt has published.
    published: Offset,
    horizons: Horizons,
    settled: Offset,
    /// The offsets that are handed over and not published, in order, and whether each was late.
    uncommitted: VecDeque<(Offset, bool)>,
    late: usize,
}

/// The side outputs below a cut that were not published when it was made. It travels between
/// workers by bincode, so no field may be left out.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pending {
    /// The offset from which on rejected records are to be published.
    pub from: Offset,
    /// The offsets of late records. A restart cannot decide anew which records below the cut were
    /// late.
    pub late: Vec<Offset>,
}

impl Pending {
    /// Returns the value for a cut below which everything is published.
    pub fn none_below(cut: Offset) -> Self {
        Self {
            from: cut,
            late: Vec::new(),
        }
    }
}

impl SideQueue {
    /// Creates a queue of `limit_bytes` for partitions with the progress `restored`.
    pub fn new(limit_bytes: usize, restored: BTreeMap<u32, SideProgress>) -> Self {
        let partition = |restored: SideProgress| Partition {
            settled: restored.settled,
            restored,
            ..Partition::default()
        };
        let partitions = restored
            .into_iter()
            .map(|(id, restored)| (id, partition(restored)))
            .collect();
        Self(Arc::new(Mutex::new(Queue {
            limit_bytes,
            size_bytes: 0,
            waiting: VecDeque::new(),
            when_full: None,
            when_free: None,
            partitions,
        })))
    }

    /// Returns the number of bytes that may still be handed over.
    pub fn room_bytes(&self) -> usize {
        self.lock().room_bytes()
    }

    /// Sets the function that is called when there is no more room.
    pub fn when_full(&self, wake: Wake) {
        self.lock().when_full = Some(wake);
    }

    /// Sets the function that is called when there is room again.
    pub fn when_free(&self, wake: Wake) {
        self.lock().when_free = Some(wake);
    }

    /// Returns the number of bytes that are handed over and not published.
    pub fn size_bytes(&self) -> usize {
        self.lock().size_bytes
    }

    /// Hands over a side output. Those of a partition must come in the order of their offsets.
    pub fn push(&self, output: SideOutput, horizon: EventTimeMs) {
        let mut queue = self.lock();
        let had_room = queue.room_bytes() > 0;
        queue.size_bytes += output.size_bytes();
        let is_late = output.reason == Reason::Late;
        let partition = queue.partitions.entry(output.partition).or_default();
        partition.uncommitted.push_back((output.offset, is_late));
        partition.late += usize::from(is_late);
        queue.waiting.push_back(Side { output, horizon });
        if had_room && queue.room_bytes() == 0 {
            queue.when_full.iter().for_each(|wake| wake());
        }
    }

    /// Removes and returns the side outputs for the next transaction.
    pub fn take(&self) -> Vec<Side> {
        let mut queue = self.lock();
        let mut taken = Vec::new();
        let mut size_bytes = 0;
        while size_bytes < TRANSACTION_BYTES
            && let Some(side) = queue.waiting.pop_front()
        {
            size_bytes += side.output.size_bytes();
            taken.push(side);
        }
        taken
    }

    /// Returns the progress of the partitions of `taken` for the transaction that publishes it.
    pub fn progress_with(
        &self,
        taken: &[Side],
        attempt: u64,
        line: u32,
    ) -> Vec<(u32, SideProgress)> {
        let mut own: BTreeMap<u32, (Offset, Horizons)> = BTreeMap::new();
        let queue = self.lock();

        for side in taken {
            let (published, horizons) = own.entry(side.output.partition).or_insert_with(|| {
                let partition = queue.partitions.get(&side.output.partition);
                let own = partition.map(|own| (own.published, own.horizons.clone()));
                own.unwrap_or_default()
            });
            *published = side.output.offset + 1;
            horizons.raise(side.output.offset, side.horizon);
        }

        let progress = |(id, (published, horizons)): (u32, (Offset, Horizons))| {
            let default = Partition::default();
            let Partition {
                restored, settled, ..
            } = queue.partitions.get(&id).unwrap_or(&default);
            let side = SideProgress {
                attempt,
                line,
                published: published.max(restored.published),
                settled: *settled,
                horizons: horizons.with(
                    published,
                    (&restored.horizons, restored.published),
                    *settled,
                ),
            };
            (id, side)
        };

        own.into_iter().map(progress).collect()
    }

    /// Forgets side outputs that were published.
    pub fn published(&self, taken: &[Side]) {
        let mut queue = self.lock();
        let had_room = queue.room_bytes() > 0;

        for Side { output, horizon } in taken {
            queue.size_bytes -= output.size_bytes();
            let partition = queue.partitions.entry(output.partition).or_default();
            partition.published = output.offset + 1;
            partition.horizons.raise(output.offset, *horizon);
            partition.uncommitted.pop_front();
            partition.late -= usize::from(output.reason == Reason::Late);
        }

        if !had_room && queue.room_bytes() > 0 {
            queue.when_free.iter().for_each(|wake| wake());
        }
    }

    /// Returns the number of horizons that this attempt has to remember.
    pub fn horizons(&self) -> usize {
        let queue = self.lock();
        let partitions = queue.partitions.values();
        partitions.map(|partition| partition.horizons.count()).sum()
    }

    /// Returns the side outputs of a partition that are not published when it is cut at `cut`.
    pub fn pending(&self, partition: u32, cut: Offset) -> Pending {
        let queue = self.lock();
        let Some(Partition { uncommitted, .. }) = queue.partitions.get(&partition) else {
            return Pending::none_below(cut);
        };
        let late = uncommitted.iter().filter(|(_, is_late)| *is_late);
        Pending {
            from: uncommitted.front().map_or(cut, |(offset, _)| *offset),
            late: late.map(|(offset, _)| *offset).collect(),
        }
    }

    /// Records that no restart reads a partition below `offset`.
    pub fn settle(&self, partition: u32, offset: Offset) {
        let mut queue = self.lock();
        let partition = queue.partitions.entry(partition).or_default();
        partition.settled = partition.settled.max(offset);
        partition.horizons.settle(partition.settled);
        partition.restored.horizons.settle(partition.settled);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn room_bytes(&self) -> usize {
        let partitions = self.partitions.values();
        let late: usize = partitions.map(|partition| partition.late).sum();
        if late >= LATE_MAX {
            return 0;
        }
        self.limit_bytes.saturating_sub(self.size_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(partition: u32, offset: Offset, reason: Reason) -> SideOutput {
        SideOutput {
            partition,
            offset,
            reason,
            key: None,
            value: Some(vec![b'?'; 100]),
            headers: Vec::new(),
        }
    }

    fn rejected(partition: u32, offset: Offset) -> SideOutput {
        output(partition, offset, Reason::Rejected("no JSON".to_owned()))
    }

    fn too_late(partition: u32, offset: Offset) -> SideOutput {
        output(partition, offset, Reason::Late)
    }

    #[test]
    fn room_comes_back_when_side_outputs_are_published_and_not_before() {
        let sides = SideQueue::new(150, BTreeMap::new());
        assert_eq!(sides.room_bytes(), 150);
        sides.push(rejected(0, 7), 0);
        assert!(sides.room_bytes() == 0);
        let taken = sides.take();
        assert!(sides.room_bytes() == 0 && sides.take().is_empty());
        sides.published(&taken);
        assert_eq!((sides.room_bytes(), sides.size_bytes()), (150, 0));
    }

    #[test]
    fn a_transaction_takes_a_few_mebibytes() {
        let sides = SideQueue::new(usize::MAX, BTreeMap::new());
        let size = rejected(0, 0).size_bytes();
        let count = 3 * TRANSACTION_BYTES / size;
        (0..count).for_each(|offset| sides.push(rejected(0, offset as u64), 0));
        let taken: Vec<usize> = (0..5).map(|_| sides.take().len()).collect();
        assert_eq!(taken.iter().sum::<usize>(), count);
        assert!(
            taken[0] * size < TRANSACTION_BYTES + size && taken[3] == 0,
            "{taken:?}"
        );
    }

    #[test]
    fn late_records_that_wait_are_limited_in_number() {
        let sides = SideQueue::new(usize::MAX, BTreeMap::new());
        (0..LATE_MAX as u64).for_each(|offset| sides.push(too_late(0, offset), 5));
        assert!(sides.room_bytes() == 0);
        let taken = sides.take();
        sides.published(&taken);
        assert!(sides.room_bytes() > 0);
    }

    #[test]
    fn what_was_handed_over_is_pending_until_it_is_published() {
        let sides = SideQueue::new(1_000, BTreeMap::new());
        let of = |from, late: &[Offset]| Pending {
            from,
            late: late.to_vec(),
        };

        assert_eq!(sides.pending(0, 9), of(9, &[]));
        sides.push(rejected(0, 3), 0);
        sides.push(too_late(0, 5), 10);
        sides.push(too_late(1, 6), 10);

        let taken = sides.take();
        sides.push(too_late(0, 7), 10);

        assert_eq!(sides.pending(0, 9), of(3, &[5, 7]));
        sides.published(&taken);

        assert_eq!(sides.pending(0, 9), of(7, &[7]));
        assert_eq!(sides.pending(1, 9), of(9, &[]));
    }

    #[test]
    fn horizons_are_forgotten_when_no_restart_reads_their_records() {
        let sides = SideQueue::new(1 << 20, BTreeMap::new());
        (1..=50).for_each(|offset| sides.push(too_late(0, offset), 10 * offset));
        let taken = sides.take();
        sides.published(&taken);
        assert_eq!(sides.horizons(), 50);
        sides.settle(0, 40);
        assert_eq!(sides.horizons(), 11);
    }

    #[test]
    fn progress_goes_on_from_what_the_attempt_found() {
        let mut found = SideProgress {
            attempt: 1,
            published: 20,
            settled: 2,
            ..SideProgress::default()
        };
        found.horizons.raise(4, 100);
        let sides = SideQueue::new(10_000, BTreeMap::from([(0, found)]));
        // This attempt has reached a later time when it reads offset 6, and publishes a record that
        // the first attempt had counted.
        sides.push(too_late(0, 6), 300);
        sides.push(rejected(0, 8), 0);
        let taken = sides.take();
        let progress = |taken: &[Side]| sides.progress_with(taken, 2, 0).remove(0).1;
        let first = progress(&taken[..1]);
        assert_eq!((first.attempt, first.published, first.settled), (2, 20, 2));
        assert!(first.has_late(6, 299) && !first.has_late(7, 299) && first.has_late(7, 99));
        sides.published(&taken[..1]);

        assert_eq!(sides.horizons(), 1);
        sides.settle(0, 5);
        let second = progress(&taken[1..]);
        assert!(second.has_late(7, 299) && !second.has_late(9, 299) && second.has_late(9, 99));
        assert!(second.has_rejected(19) && !second.has_rejected(20));
        assert_eq!(second.settled, 5);
    }
}
