//! Decides which parts are merged into one, so that a checkpoint names few parts, however long they
//! are kept.
//!
//! Each closed pane becomes a part of each worker, and a job with sessions keeps the parts of a
//! day. So parts are merged in the background, by size, as the components of a tiered
//! log-structured merge tree are (O'Neil et al., "The log-structured merge-tree", Acta Informatica
//! 33, 1996):
//!
//! ```text
//! event time  ┃ era that is over ┃ era that is over ┃ current era      boundary
//! parts       ┃ [              ] ┃ [              ] ┃ [    ][    ] [ ][ ][ ] · ·
//! ```
//!
//! - Time is divided into eras: eighths of the time for which panes matter. A part belongs to the
//!   era of its last pane, and only parts of one era are merged.
//! - In the current era, parts between two powers of four in size form a class. When a class has
//!   four parts, they are merged with all smaller ones; the result is of a higher class.
//! - The parts of an era that is over are merged into one.
//! - A part that is full is not merged again. A part is full at a 32nd of all parts, but not below 2
//!   MiB, and at 16 MiB in any case. So a merge takes little memory beside the state that is merged.
//!
//! Invariants: a byte is written once by its worker. Merges write it at most once for each class,
//! from that of its first part up to the full size, and once when its era is over. A checkpoint
//! names at most three parts of each class of the current era, one of each other era, the full
//! ones, and those that were written since the last merge. There are at most 32 full parts, or one
//! for each 16 MiB of all parts if that is more. A merged part is dropped at most an era later than
//! each part in it would have been.

use std::collections::BTreeMap;

use crate::checkpoint::manifest::PartInfo;
use crate::checkpoint::part;
use crate::pane::EventTimeMs;

/// A part of this size is full, however large all parts are. A merge holds less than three times the
/// size of a full part in memory.
const FULL_BYTES: u64 = 16 << 20;
/// A smaller part is not full, however small all parts are.
const LEAST_FULL_BYTES: u64 = 2 << 20;
/// The number of full parts that all parts are divided into between these sizes.
const FULL_PARTS: u64 = 32;
/// The size of small parts that are read at the same time. A larger part is read alone.
const BATCH_BYTES: u64 = 1 << 20;
/// The number of parts that are read at the same time.
const BATCH_PARTS: usize = 32;
/// The number of eras in the time for which panes matter.
const ERAS: u64 = 8;
/// The number of parts that is never worth a merge.
const FEW: usize = 8;
/// The least number of parts of a class that are merged. The panes of this many parts are at least
/// as large as the next class.
const LEAST: usize = 4;

/// Chooses the parts of a checkpoint at `boundary` to merge next, if there are too many. Panes
/// matter for `memory_ms`.
pub fn choose(parts: &[PartInfo], boundary: EventTimeMs, memory_ms: u64) -> Option<Vec<PartInfo>> {
    if parts.len() <= FEW {
        return None;
    }

    let full_bytes = full_bytes(parts);
    let era_ms = (memory_ms / ERAS).max(1);
    let mut eras: BTreeMap<u64, Vec<&PartInfo>> = BTreeMap::new();
    for part in parts.iter().filter(|part| panes_bytes(part) < full_bytes) {
        eras.entry(part.last / era_ms).or_default().push(part);
    }

    let current = boundary / era_ms;
    let candidates = eras.into_iter().filter_map(|(era, mut parts)| {
        parts.sort_by_key(|part| (part.size_bytes, &part.name));
        let count = if era < current {
            parts.len()
        } else {
            up_to_a_crowded_class(&parts)
        };
        parts.truncate(count);
        (count > 1).then_some(parts)
    });

    let chosen = candidates.max_by_key(Vec::len)?;
    Some(up_to(full_bytes, chosen))
}

/// Returns the size of a full part beside these.
fn full_bytes(parts: &[PartInfo]) -> u64 {
    let all_bytes: u64 = parts.iter().map(panes_bytes).sum();
    (all_bytes / FULL_PARTS).clamp(LEAST_FULL_BYTES, FULL_BYTES)
}

/// Returns the number of parts up to the highest class of which there are enough for a merge; 0 if
/// there is no such class. `parts` are sorted by size.
fn up_to_a_crowded_class(parts: &[&PartInfo]) -> usize {
    let mut count = 0;
    let mut end = 0;
    for class in parts.chunk_by(|one, next| class_of(one) == class_of(next)) {
        end += class.len();
        if class.len() >= LEAST {
            count = end;
        }
    }

    count
}

/// Returns the size class of a part.
fn class_of(part: &PartInfo) -> u32 {
    panes_bytes(part).max(1).ilog2() / 2
}

/// Returns the first parts that are a full part together; all of them if they are less.
fn up_to(full_bytes: u64, parts: Vec<&PartInfo>) -> Vec<PartInfo> {
    let mut bytes = 0;
    let mut chosen = Vec::new();
    for part in parts {
        if bytes >= full_bytes {
            break;
        }
        bytes += panes_bytes(part);
        chosen.push(part.clone());
    }

    chosen
}

/// Divides the parts of a merge into those that are read at the same time, in their order.
pub fn batches(parts: Vec<PartInfo>) -> Vec<Vec<PartInfo>> {
    let mut batches: Vec<Vec<PartInfo>> = Vec::new();
    let mut bytes = 0;
    for part in parts {
        bytes += part.size_bytes;
        match batches.last_mut() {
            Some(batch) if bytes <= BATCH_BYTES && batch.len() < BATCH_PARTS => batch.push(part),
            _ => {
                bytes = part.size_bytes;
                batches.push(vec![part]);
            }
        }
    }

    batches
}

/// Returns the size of a part's panes, without the overhead of a part.
fn panes_bytes(part: &PartInfo) -> u64 {
    part.size_bytes.saturating_sub(part::OVERHEAD_BYTES)
}

/// Returns the name of the part that merge `number` of an attempt makes of `parts`.
pub fn name(attempt: u64, number: u64, parts: &[PartInfo]) -> String {
    let first = parts.iter().map(|part| part.first).min().unwrap_or(0);
    let last = parts.iter().map(|part| part.last).max().unwrap_or(0);
    format!("{attempt:010}-m{number:06}-{first:015}-{last:015}")
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const PANE_MS: u64 = 10;

    fn part(name: String, first: u64, last: u64, panes_bytes: u64) -> PartInfo {
        PartInfo {
            name,
            first,
            last,
            entries: 1,
            size_bytes: panes_bytes + part::OVERHEAD_BYTES,
        }
    }

    #[test]
    fn small_parts_are_read_together_and_large_ones_alone() {
        let sizes = |sizes: &[u64]| {
            let parts = (0..).zip(sizes);
            let parts =
                parts.map(|(n, size)| part(format!("{n}"), n, n, size - part::OVERHEAD_BYTES));
            let batches = batches(parts.collect()).into_iter();
            let of = |batch: Vec<PartInfo>| batch.iter().map(|part| part.size_bytes).collect();
            batches.map(of).collect::<Vec<Vec<u64>>>()
        };
        let half = BATCH_BYTES / 2;
        let large = 3 * BATCH_BYTES;

        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&[half, half]), [[half, half]]);
        assert_eq!(
            sizes(&[half, half + 1, large, half]),
            [[half], [half + 1], [large], [half]]
        );
        let many = sizes(&vec![1_000; BATCH_PARTS + 1]);
        assert_eq!(
            many.iter().map(Vec::len).collect::<Vec<_>>(),
            [BATCH_PARTS, 1]
        );
    }

    /// A store whose parts are written, merged and dropped.
    struct Shelf {
        memory_ms: u64,
        parts: Vec<PartInfo>,
        merges: u64,
        /// The pane of each part that a worker wrote, and how often its bytes were written.
        workers_parts: Vec<(EventTimeMs, u64)>,
        /// The workers' parts in each part.
        contents: BTreeMap<String, Vec<usize>>,
        most: usize,
    }

    impl Shelf {
        fn new(memory_ms: u64) -> Self {
            Self {
                memory_ms,
                parts: Vec::new(),
                merges: 0,
                workers_parts: Vec::new(),
                contents: BTreeMap::new(),
                most: 0,
            }
        }

        /// Writes the parts of a pane, one of each size, and merges once.
        fn close(&mut self, pane: u64, sizes: &[u64]) {
            for (worker, size) in sizes.iter().enumerate() {
                let name = format!("{pane}-{worker}");
                self.contents
                    .insert(name.clone(), vec![self.workers_parts.len()]);
                self.workers_parts.push((pane, 1));
                self.parts.push(part(name, pane, pane, *size));
            }

            let boundary = pane + PANE_MS;
            let memory_ms = self.memory_ms;
            self.parts.retain(|part| part.last + memory_ms > boundary);
            if let Some(chosen) = choose(&self.parts, boundary, memory_ms) {
                self.merge(&chosen);
            }
            self.most = self.most.max(self.parts.len());
        }

        /// Returns the greatest number of times that a byte was written, and the mean.
        fn written(&self) -> (u64, u64) {
            let written = || self.workers_parts.iter().map(|(_, written)| *written);
            let mean = written().sum::<u64>() / self.workers_parts.len() as u64;
            (written().max().unwrap(), mean)
        }

        fn merge(&mut self, chosen: &[PartInfo]) {
            assert!(chosen.len() > 1, "a part is not merged alone");
            let bytes: u64 = chosen.iter().map(panes_bytes).sum();
            assert!(bytes < 2 * full_bytes(&self.parts), "{bytes} bytes");
            let name = name(1, self.merges, chosen);
            self.merges += 1;
            self.parts.retain(|part| !chosen.contains(part));

            let first = chosen.iter().map(|part| part.first).min().unwrap();
            let last = chosen.iter().map(|part| part.last).max().unwrap();
            let bytes = chosen.iter().map(panes_bytes).sum();
            let contents: Vec<usize> = chosen
                .iter()
                .flat_map(|part| self.contents.remove(&part.name).unwrap())
                .collect();

            for one in &contents {
                let (pane, written) = &mut self.workers_parts[*one];
                *written += 1;
                let late_ms = last - *pane;
                assert!(late_ms < self.memory_ms / ERAS, "dropped {late_ms} ms late");
            }
            self.contents.insert(name.clone(), contents);
            self.parts.push(part(name, first, last, bytes));
        }
    }

    /// Returns the greatest number of times that a byte of a part of that size is written.
    fn times(bytes: u64) -> u64 {
        let classes = FULL_BYTES.ilog2() / 2 - bytes.ilog2() / 2 + 1;
        1 + u64::from(classes) + 1
    }

    #[test]
    fn parts_stay_few_and_each_byte_is_written_a_few_times() {
        for (workers, memory_ms) in [(1, 1_000), (1, 100_000), (4, 100_000)] {
            let mut shelf = Shelf::new(memory_ms);
            let sizes = vec![1000; workers];
            (0..25_000).for_each(|pane| shelf.close(pane * PANE_MS, &sizes));

            let (most, mean) = shelf.written();
            println!(
                "{workers} workers, {memory_ms} ms: at most {} parts, written {most} times, {mean} in the mean",
                shelf.most
            );
            let state_bytes = 1000 * workers as u64 * memory_ms / PANE_MS;
            let full = (state_bytes / LEAST_FULL_BYTES) as usize;
            let bound = full + 3 * 7 + 9 + workers;
            assert!(shelf.most <= bound, "{} parts", shelf.most);
            assert!(most <= 8, "written {most} times");
            assert!(mean <= 7, "written {mean} times in the mean");
        }
    }

    #[test]
    fn a_state_of_any_size_has_few_full_parts() {
        for (panes, bytes) in [(100, 1 << 20), (1_000, 300_000), (1_000, 3_000_000)] {
            let mut shelf = Shelf::new(panes * PANE_MS);
            (0..4 * panes).for_each(|pane| shelf.close(pane * PANE_MS, &[bytes]));

            let state_bytes = panes * bytes;
            let full = state_bytes.div_ceil(FULL_BYTES).max(FULL_PARTS);
            let others = 3 * 7 + ERAS + FEW as u64;
            let most = shelf.most as u64;
            assert!(most <= full + others, "{most} parts of {state_bytes} bytes");
        }
    }

    #[test]
    fn sizes_of_any_kind_keep_the_bounds() {
        for seed in 1..=12 {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut shelf = Shelf::new(random.random_range(500..50_000));
            let mut smallest = u64::MAX;
            for pane in 0..6_000 {
                let busy = [4, 10, 16, 21][(pane / 700) as usize % 4];
                let workers = random.random_range(1..=4);
                let size = |_| random.random_range(1..=1 << busy);
                let sizes: Vec<u64> = (0..workers).map(size).collect();
                smallest = smallest.min(sizes.iter().copied().min().unwrap());
                shelf.close(pane * PANE_MS, &sizes);
            }

            let full_bytes = full_bytes(&shelf.parts);
            let full = shelf
                .parts
                .iter()
                .filter(|part| panes_bytes(part) >= full_bytes);
            let (most, _) = shelf.written();
            let kept = shelf.parts.len() - full.count();
            assert!(
                kept <= 3 * 13 + 9 + 8,
                "seed {seed}: {kept} parts that are not full"
            );
            assert!(most <= times(smallest), "seed {seed}: written {most} times");
        }
    }

    #[test]
    fn more_parts_at_a_time_than_a_merge_takes_away_do_not_pile_up() {
        let mut shelf = Shelf::new(1_000_000);
        (0..2_000).for_each(|pane| shelf.close(pane * PANE_MS, &[500; 64]));
        assert!(shelf.most <= 3 * 7 + 9 + 2 * 64, "{} parts", shelf.most);
    }

    #[test]
    fn parts_of_one_era_and_size_or_of_a_past_era_are_merged() {
        let of = |count: u64, bytes, last: u64| -> Vec<PartInfo> {
            let part = |number: u64| part(format!("{last}-{number}"), last, last, bytes);
            (0..count).map(part).collect()
        };
        let chosen = |parts: &[PartInfo]| choose(parts, 950, 1600).map(|chosen| chosen.len());

        assert_eq!(chosen(&of(FEW as u64, 1000, 900)), None, "few");
        assert_eq!(chosen(&of(9, 1000, 900)), Some(9));
        assert_eq!(chosen(&of(9, FULL_BYTES, 900)), None, "full");

        let half = of(9, LEAST_FULL_BYTES / 2 - 1, 900);
        assert_eq!(chosen(&half), Some(3), "until it is full");
        let half = [of(9, FULL_BYTES / 2 - 1, 900), of(40, FULL_BYTES, 10)].concat();
        assert_eq!(chosen(&half), Some(3), "until it is full in a large state");
        let large = of(9, LEAST_FULL_BYTES, 900);
        assert_eq!(chosen(&large), None, "full in a small state");

        let two_classes = [of(3, 1000, 900), of(3, 10_000, 900), of(3, 100_000, 900)].concat();
        assert_eq!(
            chosen(&two_classes),
            None,
            "three of a class are left alone"
        );

        let over = [of(1, 10, 700), of(1, 1000, 700), of(3, 10, 900)].concat();
        let over = [over, of(4, FULL_BYTES, 10)].concat();
        assert_eq!(chosen(&over), Some(2), "the era until 800 is over");
    }
}
