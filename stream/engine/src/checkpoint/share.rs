//! The shares in which workers read a checkpoint: each part is read by one worker.
//!
//! A part may contain any keys, because the numbers of workers and of slots may have changed since
//! it was written, and a merged part has those of all workers. So a worker does not look for parts
//! with keys of its own. It reads its share and sends the panes to the workers that own the keys, as
//! it does with records.
//!
//! Invariants: the shares of all workers together are the checkpoint, and no two of them
//! overlap. All processes compute the same shares from the same manifest. A share is larger than the
//! mean by at most one part.

use std::cmp::Reverse;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::checkpoint::part_info::PartInfo;

/// The workers for which a process reads, among all workers of the job.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Share {
    workers: Range<usize>,
    peers: usize,
}

/// The result of a process's read of its share of a checkpoint.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Finding {
    /// All parts of the share are whole.
    Whole,
    /// A part is damaged or missing; with the reason. An older checkpoint may be whole.
    Damaged(String),
    /// The process cannot read the checkpoint; with the reason. This is no reason to fall back.
    Impossible(String),
}

impl Share {
    /// Returns the share of some of the workers, which are `peers` in all.
    pub fn new(workers: Range<usize>, peers: usize) -> Self {
        Self { workers, peers }
    }

    /// Returns the share of a process that reads everything.
    pub fn everything() -> Self {
        Self::new(0..1, 1)
    }

    /// Returns the parts of the share, in the manifest's order.
    pub fn of<'a>(&self, parts: &'a [PartInfo]) -> impl Iterator<Item = &'a PartInfo> {
        let readers = readers(parts, self.peers);
        let own = parts.iter().zip(readers);
        own.filter(|(_, reader)| self.workers.contains(reader))
            .map(|(part, _)| part)
    }
}

/// Returns the worker that reads each part: in the order of their sizes, each part goes to the
/// worker with the fewest bytes (Graham, "Bounds on multiprocessing timing anomalies", SIAM Journal
/// on Applied Mathematics 17, 1969).
fn readers(parts: &[PartInfo], peers: usize) -> Vec<usize> {
    let mut by_size: Vec<usize> = (0..parts.len()).collect();
    by_size.sort_by_key(|place| Reverse(parts[*place].size_bytes));

    let mut bytes = vec![0; peers];
    let mut readers = vec![0; parts.len()];
    for place in by_size {
        let least = (0..peers).min_by_key(|worker| bytes[*worker]);
        let reader = least.expect("a job has workers");
        bytes[reader] += parts[place].size_bytes;
        readers[place] = reader;
    }

    readers
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn parts(random: &mut SmallRng) -> Vec<PartInfo> {
        let part = |number: u64, size_bytes| PartInfo {
            name: number.to_string(),
            first: number,
            last: number,
            entries: 1,
            size_bytes,
        };
        let count = random.random_range(0..40);
        (0..count)
            .map(|number| part(number, 1 << random.random_range(4..24)))
            .collect()
    }

    #[test]
    fn the_shares_of_any_workers_are_all_parts_each_once() {
        for seed in 1..=200 {
            let mut random = SmallRng::seed_from_u64(seed);
            let parts = parts(&mut random);
            let workers = random.random_range(1..=4);
            let peers = workers * random.random_range(1..=4);

            let mut all: Vec<&PartInfo> = Vec::new();
            for first in (0..peers).step_by(workers) {
                let share = Share::new(first..first + workers, peers);
                let of_process: Vec<_> = share.of(&parts).collect();
                let of_workers = (first..first + workers).flat_map(|worker| {
                    Share::new(worker..worker + 1, peers)
                        .of(&parts)
                        .collect::<Vec<_>>()
                });
                let mut of_workers: Vec<_> = of_workers.collect();
                of_workers.sort_by_key(|part| part.first);
                assert_eq!(of_process, of_workers, "seed {seed}");
                all.extend(of_process);
            }

            all.sort_by_key(|part| part.first);
            assert_eq!(all, parts.iter().collect::<Vec<_>>(), "seed {seed}");
            assert_eq!(Share::everything().of(&parts).count(), parts.len());
        }
    }

    #[test]
    fn a_share_exceeds_the_mean_by_at_most_a_part() {
        for seed in 1..=200 {
            let mut random = SmallRng::seed_from_u64(seed);
            let parts = parts(&mut random);
            let peers = random.random_range(1..=8);
            let size = |part: &PartInfo| part.size_bytes;
            let mean = parts.iter().map(size).sum::<u64>() / peers as u64;
            let largest = parts.iter().map(size).max().unwrap_or(0);

            for worker in 0..peers {
                let share = Share::new(worker..worker + 1, peers);
                let bytes: u64 = share.of(&parts).map(size).sum();
                assert!(bytes <= mean + largest, "seed {seed}: {bytes} of {mean}");
            }
        }
    }
}
