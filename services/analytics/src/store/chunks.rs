//! The chunks that this process has written lately. Pure.
//!
//! A chunk has counts of one bucket and label (see `buckets`), and is one item. Only the process that began
//! it writes to it, because its key has the process's own name. So replicas do not wait for each other,
//! a rebalance needs no care, and writing needs no reading. A count may be in several chunks: after a
//! correction, a replay, a change of the replica, or a write whose answer was lost. Readers take the one with the
//! highest revision ([`newest`]).
//!
//! A chunk with room takes further counts and is written again, whole. Its version grows with each change,
//! and the store refuses a lower one, so a write that is delayed on its way never replaces a later one. A
//! chunk that is not saved stays here until it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use events::{Timestamp, WindowCount};

use super::buckets::{Bucket, Shelf, hash, hour_ms, level_for, minute_ms};
use super::packed;

/// The number of counts with which a chunk is full. They take a little less than 1 KB, a write unit.
const FULL: usize = 96;
/// The most bytes that the counts of a chunk may take. An item has at most 400 KB.
const MOST_BYTES: usize = 128 * 1_024;
/// The number of counts in saved chunks that are kept in memory, to be added to.
const KEPT: usize = 65_536;

/// The bucket and label of a chunk.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Place {
    label_ms: u64,
    bucket: Bucket,
}

/// Counts that are written as one item.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    place: Place,
    /// Its number among the chunks of this process.
    number: u64,
    version: u64,
    counts: BTreeMap<(u64, Timestamp), WindowCount>,
    most_bytes: usize,
    is_saved: bool,
}

/// The chunks of this process.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// Those that take further counts.
    open: BTreeMap<Place, Chunk>,
    /// Those that do not, and are not saved yet.
    closed: Vec<Chunk>,
    begun: u64,
}

/// Returns the highest revision of each user and window.
pub(super) fn newest(counts: impl IntoIterator<Item = WindowCount>) -> Vec<WindowCount> {
    let mut newest: HashMap<_, WindowCount> = HashMap::new();
    for count in counts {
        let known = newest
            .entry((count.user_id, count.window_start))
            .or_insert_with(|| count.clone());
        if known.revision < count.revision {
            *known = count;
        }
    }

    newest.into_values().collect()
}

impl Chunks {
    /// Adds counts to chunks, except those that an unsaved chunk already has: a batch that could not be
    /// written is passed again. Counts of windows that start before `closed_ms` are late.
    pub(super) fn add(&mut self, counts: &[WindowCount], closed_ms: u64) {
        let waiting: BTreeSet<_> = self.unsaved().flat_map(Chunk::revisions).collect();
        let mut minutes: BTreeMap<(Shelf, u64), Vec<&WindowCount>> = BTreeMap::new();
        for count in counts {
            let shelf = shelf(count, closed_ms);
            if !waiting.contains(&(shelf, revision(count))) {
                let minute = (shelf, minute_ms(count.window_start));
                minutes.entry(minute).or_default().push(count);
            }
        }

        for ((shelf, _), counts) in minutes {
            self.add_by_place(shelf, level_for(counts.len()), counts);
        }
    }

    /// Adds the counts of a merged hour to chunks of this level. The chunks of the same counts are always the same.
    pub(super) fn add_hour(&mut self, level: u8, mut counts: Vec<WindowCount>) {
        counts.sort_unstable_by_key(|count| (count.user_id, count.window_start));
        self.add_by_place(Shelf::Hours, level, &counts);
    }

    fn add_by_place<'a>(
        &mut self,
        shelf: Shelf,
        level: u8,
        counts: impl IntoIterator<Item = &'a WindowCount>,
    ) {
        let mut places: BTreeMap<Place, Vec<&WindowCount>> = BTreeMap::new();
        for count in counts {
            let bucket = Bucket::of(shelf, level, hash(count.user_id));
            let place = Place {
                label_ms: bucket.label_ms(count.window_start),
                bucket,
            };
            places.entry(place).or_default().push(count);
        }

        for (place, counts) in places {
            self.add_at(place, &counts);
        }
    }

    /// Returns the timely counts that are to be written, of windows that start before `closed_ms`.
    pub(super) fn overtaken(&self, closed_ms: u64) -> Vec<WindowCount> {
        let timely = self
            .unsaved()
            .filter(|chunk| chunk.place.bucket.shelf == Shelf::Timely);
        let counts = timely.flat_map(Chunk::counts);
        counts
            .filter(|count| shelf(count, closed_ms) == Shelf::Late)
            .cloned()
            .collect()
    }

    /// Returns the chunks that are to be written.
    pub(super) fn unsaved(&self) -> impl Iterator<Item = &Chunk> {
        let all = self.closed.iter().chain(self.open.values());
        all.filter(|chunk| !chunk.is_saved)
    }

    /// Notes that all chunks are written. Full chunks are forgotten, and the oldest if there are too many.
    pub(super) fn note_saved(&mut self) {
        self.closed.clear();
        self.open.retain(|_, chunk| chunk.counts.len() < FULL);

        let mut kept = 0;
        for chunk in self.open.values_mut() {
            chunk.is_saved = true;
            kept += chunk.counts.len();
        }
        while kept > KEPT {
            let oldest = self.open.pop_first();
            kept -= oldest.map_or(kept, |(_, chunk)| chunk.counts.len());
        }
    }

    fn add_at(&mut self, place: Place, counts: &[&WindowCount]) {
        let open = self.open.remove(&place);
        let mut chunk = match open {
            Some(open) if open.counts.len() + counts.len() <= FULL => open,
            other => {
                self.closed.extend(other.filter(|full| !full.is_saved));
                self.begin(place)
            }
        };

        for count in counts {
            if !chunk.has_room_for(count) {
                let next = self.begin(place);
                self.closed.push(std::mem::replace(&mut chunk, next));
            }
            chunk.merge(count);
        }
        self.open.insert(place, chunk);
    }

    fn begin(&mut self, place: Place) -> Chunk {
        self.begun += 1;
        Chunk {
            place,
            number: self.begun,
            version: 0,
            counts: BTreeMap::new(),
            most_bytes: 0,
            is_saved: true,
        }
    }
}

impl Chunk {
    /// Returns the bucket.
    pub(super) fn bucket(&self) -> Bucket {
        self.place.bucket
    }

    /// Returns the label.
    pub(super) fn label_ms(&self) -> u64 {
        self.place.label_ms
    }

    /// Returns its number among the chunks of this process.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the version, which grows with each change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Returns the counts.
    pub(super) fn counts(&self) -> impl Iterator<Item = &WindowCount> {
        self.counts.values()
    }

    /// Returns the counts as bytes.
    pub(super) fn packed(&self) -> Vec<u8> {
        packed::pack(self.place.label_ms, &self.counts().collect::<Vec<_>>())
    }

    fn revisions(&self) -> impl Iterator<Item = (Shelf, (u64, Timestamp, u32))> {
        let shelf = self.place.bucket.shelf;
        self.counts().map(move |count| (shelf, revision(count)))
    }

    fn has_room_for(&self, count: &WindowCount) -> bool {
        self.counts.is_empty() || self.most_bytes + packed::most_bytes(count) <= MOST_BYTES
    }

    /// Adds a count, unless the same or a higher revision is there.
    fn merge(&mut self, count: &WindowCount) {
        let key = (count.user_id, count.window_start);
        let known = self.counts.get(&key);
        if known.is_some_and(|known| known.revision >= count.revision) {
            return;
        }

        self.counts.insert(key, count.clone());
        self.most_bytes += packed::most_bytes(count);
        self.version += 1;
        self.is_saved = false;
    }
}

fn shelf(count: &WindowCount, closed_ms: u64) -> Shelf {
    if hour_ms(count.window_start) < closed_ms {
        Shelf::Late
    } else {
        Shelf::Timely
    }
}

fn revision(count: &WindowCount) -> (u64, Timestamp, u32) {
    (count.user_id, count.window_start, count.revision)
}

#[cfg(test)]
mod tests {
    use events::{Amount, Amounts};

    use super::*;

    const EPOCH_MS: u64 = 1_795_341_600_000;

    fn count(user_id: u64, minute: u64, revision: u32) -> WindowCount {
        let instant = |minute| Timestamp::from_ms(EPOCH_MS + minute * 60_000).unwrap();
        WindowCount {
            user_id,
            window_start: instant(minute),
            window_end: instant(minute + 1),
            order_count: 1,
            amounts: Amounts::default(),
            revision,
        }
    }

    fn counts(users: std::ops::Range<u64>, minute: u64) -> Vec<WindowCount> {
        users.map(|user| count(user, minute, 0)).collect()
    }

    /// Writes the unsaved chunks to a table, whose keys are bucket, label and number.
    fn write(chunks: &Chunks, table: &mut BTreeMap<(String, u64, u64), Vec<u8>>) -> usize {
        let mut written = 0;
        for chunk in chunks.unsaved() {
            let key = (chunk.bucket().key(), chunk.label_ms(), chunk.number());
            table.insert(key, chunk.packed());
            written += 1;
        }
        written
    }

    fn read(table: &BTreeMap<(String, u64, u64), Vec<u8>>) -> Vec<WindowCount> {
        let unpacked = table
            .iter()
            .flat_map(|((_, label_ms, _), bytes)| packed::unpack(*label_ms, bytes).unwrap());
        let mut all = newest(unpacked);
        all.sort_by_key(|count| (count.window_start, count.user_id));
        all
    }

    #[test]
    fn many_counts_are_few_items_and_a_few_are_one() {
        for (users, most) in [(1, 1), (47, 1), (100, 4), (3_072, 256), (100_000, 4_096)] {
            let mut chunks = Chunks::default();
            chunks.add(&counts(0..users, 0), 0);
            let items = chunks.unsaved().count();
            assert!(items <= most, "{users} users: {items}");

            let all = chunks
                .unsaved()
                .map(|chunk| chunk.counts.len())
                .sum::<usize>();
            assert_eq!(all as u64, users);
            let most_bytes = chunks.unsaved().map(|chunk| chunk.packed().len()).max();
            assert!(most_bytes <= Some(900), "{most_bytes:?}");
        }
    }

    #[test]
    fn a_quiet_hour_is_one_chunk_until_it_is_full() {
        let mut chunks = Chunks::default();
        let mut table = BTreeMap::new();
        let mut all = Vec::new();
        for minute in 0..60 {
            let two = counts(2 * minute..2 * minute + 2, minute);
            chunks.add(&two, 0);
            all.extend(two);
            assert_eq!(write(&chunks, &mut table), 1);
            chunks.note_saved();
        }
        assert_eq!(table.len(), 2, "96 and 24 counts");
        assert_eq!(read(&table), all);
    }

    #[test]
    fn what_was_not_saved_is_written_again_and_no_count_twice() {
        let mut chunks = Chunks::default();
        let batch = counts(0..760, 0);
        chunks.add(&batch, 0);
        let first: Vec<_> = chunks.unsaved().map(Chunk::number).collect();
        chunks.add(&batch, 0);
        let again: Vec<_> = chunks.unsaved().map(Chunk::number).collect();
        assert_eq!(first, again);

        chunks.note_saved();
        chunks.add(&batch[..1], 0);
        assert_eq!(
            chunks.unsaved().count(),
            1,
            "one alone is of another level, and its revision is the same"
        );
    }

    #[test]
    fn a_correction_replaces_and_an_older_revision_does_not() {
        let mut chunks = Chunks::default();
        let mut table = BTreeMap::new();
        for revision in [1, 3, 2, 0] {
            chunks.add(&[count(7, 0, revision)], 0);
            write(&chunks, &mut table);
            chunks.note_saved();
        }
        assert_eq!(read(&table), [count(7, 0, 3)]);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_changed_chunk_has_a_higher_version_and_an_unchanged_one_is_not_written() {
        let mut chunks = Chunks::default();
        chunks.add(&[count(7, 0, 0)], 0);
        let version = chunks.unsaved().next().unwrap().version();
        chunks.note_saved();
        chunks.add(&[count(7, 0, 0)], 0);
        assert_eq!(chunks.unsaved().count(), 0);
        chunks.add(&[count(7, 0, 1)], 0);
        assert!(chunks.unsaved().next().unwrap().version() > version);
    }

    #[test]
    fn no_chunk_outgrows_an_item() {
        let letters = |number: u64| {
            let letter = |power: u32| b'A' + u8::try_from(number / 26_u64.pow(power) % 26).unwrap();
            [letter(2), letter(1), letter(0)]
        };
        let amount = |number| Amount {
            currency: events::Currency::of_code(&letters(number)).unwrap(),
            minor_units: u64::MAX,
        };
        let rich = |user| WindowCount {
            amounts: (0..2_000).map(amount).collect(),
            ..count(user, 0, 0)
        };

        let mut chunks = Chunks::default();
        let batch: Vec<_> = (0..40).map(rich).collect();
        chunks.add(&batch, 0);
        let mut table = BTreeMap::new();
        assert!(write(&chunks, &mut table) > 1);
        assert!(table.values().all(|bytes| bytes.len() < 400_000));
        assert_eq!(read(&table), batch);
    }

    #[test]
    fn memory_is_bounded_and_what_was_forgotten_is_not_lost() {
        let mut chunks = Chunks::default();
        let mut table = BTreeMap::new();
        let mut all = Vec::new();
        for minute in 0..30 {
            let many = counts(0..10_000, minute);
            chunks.add(&many, 0);
            all.extend(many);
            write(&chunks, &mut table);
            chunks.note_saved();
            let kept: usize = chunks.open.values().map(|chunk| chunk.counts.len()).sum();
            assert!(kept <= KEPT, "{kept}");
        }
        chunks.add(&[count(3, 0, 1)], 0);
        write(&chunks, &mut table);
        all[3].revision = 1;
        assert_eq!(read(&table), all);
    }
}
