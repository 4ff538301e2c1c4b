//! How far the sink of a job has come: the progress that its publishers commit together with their records.
//!
//! Every worker has one publisher, `{job}-sink-{worker}`. Its progress describes the whole sink as the attempt found it,
//! with the worker's own part brought up to date. So no progress is lost when a worker's publisher is used by another
//! number of workers, and what all publishers carry [merges](SinkProgress::merge) into the state of the sink.
//!
//! - Results are committed by *key group*: each group has committed everything that came at panes before its progress.
//!   That holds for any number of workers, and a batch may be committed in any number of transactions.
//! - Side outputs are committed by partition. Their progress *is* the decision about them: a record that was late in an
//!   earlier attempt is never counted by a later one, although no checkpoint knows of it ([`SideProgress`]).
//! - Publisher 0 carries how many publishers the job ever had. It is opened first, and the number is committed before
//!   any other publisher is opened. So a start fences all earlier holders, however many workers there were.
//!
//! `stream/engine/model/side_outputs.py` is an executable model of these rules.

use std::collections::BTreeMap;

use record_log::Offset;
use serde::{Deserialize, Serialize};

use crate::checkpoint::lineage::{Lineage, Progress};
use crate::flow::KEY_GROUPS;
use crate::pane::EventTimeMs;

/// The format of the bytes, which is their first.
const FORMAT: u8 = 2;
/// The format of a progress that is one slot's and a number only.
const FORMAT_OF_ONE_SLOT: u8 = 1;

/// What all publishers of a job carry together.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SinkProgress {
    /// How many publishers the job ever had.
    pub publishers: u32,
    /// The publisher has taken in what all others carried. Not so of one that was registered only.
    pub is_kept: bool,
    /// The progress of results, by key group.
    pub groups: GroupProgress,
    /// The progress of side outputs, by partition.
    pub sides: BTreeMap<u32, SideProgress>,
    /// The progress of the fixed slots that earlier versions of the program had.
    pub former_slots: Vec<FormerSlot>,
    /// How many side outputs are published of the parts that earlier versions wrote, by the name of the part.
    pub former_parts: BTreeMap<String, u64>,
}

/// The progress of each key group, as the number of a [`Progress`]; 0 for none.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "Vec<(u16, u64)>", into = "Vec<(u16, u64)>")]
pub struct GroupProgress(Vec<u64>);

/// What a fixed slot of an earlier version carries.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct FormerSlot {
    /// The number of a [`Progress`]; 0 for none.
    pub number: u64,
    /// It lies where nothing expires.
    pub is_kept: bool,
}

/// What the publishers of some processes carry when they are opened.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Carried {
    /// Their progress.
    pub progress: SinkProgress,
    /// Those that carry none that would have been kept.
    pub without: Vec<u32>,
}

/// What is known of a job's publishers before they are opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KnownPublishers {
    /// There are so many at least.
    pub publishers: u32,
    /// The number of slots, if an earlier version of the program wrote the newest checkpoint.
    pub former_slots: Option<u32>,
}

/// How far side outputs of a partition are published.
///
/// A record below `settled` is never read again by a restart. Of the others, a rejected record is published if it lies
/// below `published`; a late record if it does and its pane lies before the horizon of its offset. Everything else
/// is decided anew.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SideProgress {
    /// The attempt that wrote it: the latest one knows all that earlier ones knew.
    pub attempt: u64,
    /// The [line](crate::checkpoint::lineage) of history.
    pub line: u32,
    /// The offset after the last record that was published.
    pub published: Offset,
    /// The offset below which no restart reads.
    pub settled: Offset,
    /// By which horizon records were late.
    pub horizons: Horizons,
}

/// A step function of the offset: a record is late if its pane lies before the horizon. It grows with the offset within an
/// attempt, but not over several.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Horizons(Vec<(Offset, EventTimeMs)>);

/// A publisher of the job carries a progress that this program cannot read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "publisher {id:?} carries a progress of format {format:?} and {size_bytes} bytes, this program reads formats up to {FORMAT}: \
     use the program that wrote it, or a newer one"
)]
pub struct UnknownProgress {
    /// The publisher.
    id: String,
    format: Option<u8>,
    size_bytes: usize,
}

/// What one publisher carries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PublisherProgress {
    /// The state of the sink.
    Sink(Box<SinkProgress>),
    /// That of one slot: an earlier version of the program wrote it.
    Slot(FormerSlot),
}

impl PublisherProgress {
    /// Reads what publisher `id` carries.
    ///
    /// # Errors
    /// [`UnknownProgress`].
    pub fn from_bytes(id: &str, bytes: &[u8]) -> Result<Self, UnknownProgress> {
        let unknown = || UnknownProgress {
            id: id.to_owned(),
            format: bytes.first().copied(),
            size_bytes: bytes.len(),
        };
        let slot = |number: &[u8], is_kept| {
            let number = number.try_into().map(u64::from_be_bytes).ok()?;
            Some(Self::Slot(FormerSlot { number, is_kept }))
        };

        let found = match bytes {
            [FORMAT, state @ ..] if bytes.len() != 8 => postcard::from_bytes(state)
                .map(|state| Self::Sink(Box::new(state)))
                .ok(),
            [FORMAT_OF_ONE_SLOT, number @ ..] if bytes.len() != 8 => slot(number, true),
            // Before there were formats, progress was the number alone, as an offset that brokers forget.
            number => slot(number, false),
        };
        found.ok_or_else(unknown)
    }
}

impl FormerSlot {
    /// A slot whose progress lies where nothing expires.
    pub fn kept(number: u64) -> Self {
        Self {
            number,
            is_kept: true,
        }
    }
}

impl Carried {
    /// Takes in what others carry.
    pub fn merge(&mut self, others: Self) {
        self.progress.merge(others.progress);
        self.without.extend(others.without);
    }
}

impl SinkProgress {
    /// The bytes that a publisher carries.
    ///
    /// # Panics
    /// Never: progress is plain data.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![FORMAT]).expect("progress is plain data")
    }

    /// Takes in what another publisher carries.
    pub fn merge(&mut self, other: Self) {
        self.publishers = self.publishers.max(other.publishers);
        for (own, other) in self.groups.0.iter_mut().zip(&other.groups.0) {
            *own = (*own).max(*other);
        }
        for (partition, side) in other.sides {
            let own = self.sides.entry(partition).or_default();
            if side.attempt >= own.attempt {
                *own = side;
            }
        }
        if self.former_slots.is_empty() {
            self.former_slots = other.former_slots;
        }
        for (part, count) in other.former_parts {
            let own = self.former_parts.entry(part).or_default();
            *own = (*own).max(count);
        }
    }

    /// Takes in the progress of a job whose slots were fixed in number.
    #[must_use]
    pub fn with_former_slots(mut self, slots: Vec<FormerSlot>) -> Self {
        if slots.is_empty() {
            return self;
        }
        let count = slots.len() as u64;
        for (group, progress) in self.groups.0.iter_mut().enumerate() {
            let slot = group as u64 * count / KEY_GROUPS;
            let slot = slots[usize::try_from(slot).expect("few slots")];
            *progress = (*progress).max(slot.number);
        }
        Self {
            former_slots: slots,
            ..self
        }
    }

    /// The same on a line of history: side outputs that earlier lines published are decided anew.
    #[must_use]
    pub fn on_line(mut self, line: u32) -> Self {
        self.sides.retain(|_, side| side.line == line);
        self
    }

    /// The first `count` slots of earlier versions carried a progress that was kept.
    pub fn has_former_slots(&self, count: u32) -> bool {
        let slots = self.former_slots.iter().take(count as usize);
        slots.filter(|slot| slot.is_kept).count() == count as usize
    }

    /// The same on a line of history on which everything that came before `committed` is known to be committed.
    #[must_use]
    pub fn at_least(mut self, lineage: &Lineage, committed: EventTimeMs) -> Self {
        let known = Progress {
            line: lineage.line(),
            before: committed,
        };
        for group in &mut self.groups.0 {
            let before = match *group {
                0 => 0,
                number => lineage.committed_before(Progress::of(number)),
            };
            if before < committed {
                *group = known.number();
            }
        }
        Self {
            is_kept: true,
            ..self
        }
    }

    /// The furthest progress of any results, as a number.
    pub fn furthest(&self) -> Option<u64> {
        self.groups.0.iter().copied().max().filter(|most| *most > 0)
    }
}

impl GroupProgress {
    /// The progress of a group.
    pub fn of(&self, group: u16) -> Option<Progress> {
        let number = self.0[usize::from(group)];
        (number > 0).then(|| Progress::of(number))
    }

    /// Takes note that a group has come so far.
    pub fn advance(&mut self, group: u16, progress: Progress) {
        let own = &mut self.0[usize::from(group)];
        *own = (*own).max(progress.number());
    }
}

impl Default for GroupProgress {
    fn default() -> Self {
        Self(vec![0; usize::try_from(KEY_GROUPS).expect("few groups")])
    }
}

impl From<GroupProgress> for Vec<(u16, u64)> {
    /// Runs of groups that have come equally far.
    fn from(GroupProgress(groups): GroupProgress) -> Self {
        let runs = groups.chunk_by(|one, next| one == next);
        runs.map(|run| (u16::try_from(run.len()).expect("few groups"), run[0]))
            .collect()
    }
}

impl From<Vec<(u16, u64)>> for GroupProgress {
    fn from(runs: Vec<(u16, u64)>) -> Self {
        let mut groups = Self::default();
        let values = runs
            .into_iter()
            .flat_map(|(length, number)| std::iter::repeat_n(number, usize::from(length)));
        groups
            .0
            .iter_mut()
            .zip(values)
            .for_each(|(group, number)| *group = number);
        groups
    }
}

impl SideProgress {
    /// The rejected record at `offset` is on its topic.
    pub fn has_rejected(&self, offset: Offset) -> bool {
        offset < self.published.max(self.settled)
    }

    /// The record of `pane` at `offset` is on the late topic.
    pub fn has_late(&self, offset: Offset, pane: EventTimeMs) -> bool {
        offset < self.published && pane < self.horizons.at(offset)
    }
}

impl Horizons {
    /// The horizon of a record at `offset`; 0, before which nothing lies, below the first step.
    pub fn at(&self, offset: Offset) -> EventTimeMs {
        let next = self.0.partition_point(|(from, _)| *from <= offset);
        next.checked_sub(1).map_or(0, |step| self.0[step].1)
    }

    /// Takes note that the record at `offset` was late by that horizon. Offsets come in order.
    pub fn raise(&mut self, offset: Offset, horizon: EventTimeMs) {
        if horizon > self.0.last().map_or(0, |(_, last)| *last) {
            self.0.push((offset, horizon));
        }
    }

    /// The greater horizon at each offset, of this function below `until` and of the other below `other_until`. What lies
    /// below `settled` is left out.
    #[must_use]
    pub fn with(
        &self,
        until: Offset,
        (other, other_until): (&Self, Offset),
        settled: Offset,
    ) -> Self {
        let below = |horizons: &Self, end: Offset, offset| {
            if offset < end { horizons.at(offset) } else { 0 }
        };
        let steps = self.0.iter().chain(&other.0).map(|(from, _)| *from);
        let mut offsets: Vec<Offset> = steps.chain([until, other_until, settled]).collect();
        offsets.retain(|offset| *offset >= settled);
        offsets.sort_unstable();
        offsets.dedup();

        let mut merged = Self::default();
        for offset in offsets {
            let horizon = below(self, until, offset).max(below(other, other_until, offset));
            if horizon != merged.at(offset) {
                merged.0.push((offset, horizon));
            }
        }
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn horizons(steps: &[(Offset, EventTimeMs)]) -> Horizons {
        Horizons(steps.to_vec())
    }

    fn number(line: u32, before: EventTimeMs) -> u64 {
        Progress { line, before }.number()
    }

    fn kept(numbers: &[u64]) -> Vec<FormerSlot> {
        numbers.iter().copied().map(FormerSlot::kept).collect()
    }

    #[test]
    fn progress_reads_back_as_it_was_written_and_is_small() {
        let mut progress = SinkProgress {
            publishers: 6,
            ..SinkProgress::default()
        };
        let pane = Progress {
            line: 2,
            before: 1_795_341_600_001,
        };
        (0..1024)
            .filter(|group| group % 16 < 3)
            .for_each(|group| progress.groups.advance(group, pane));
        let side = SideProgress {
            attempt: 9,
            line: 2,
            published: 1 << 40,
            settled: 1 << 39,
            horizons: horizons(&[(1 << 39, 1_795_341_600_000)]),
        };
        progress.sides = (0..100).map(|id| (id, side.clone())).collect();
        let bytes = progress.to_bytes();
        let read = PublisherProgress::from_bytes("counts-sink-0", &bytes).unwrap();
        assert_eq!(read, PublisherProgress::Sink(Box::new(progress)));
        assert!(bytes.len() < 8_000, "{} bytes", bytes.len());
    }

    #[test]
    fn progress_of_earlier_versions_is_a_slot_s_number_and_of_later_ones_refused() {
        let number = number(1, 81);
        let of = |bytes: &[u8]| PublisherProgress::from_bytes("counts-sink-3", bytes);
        let bytes = number.to_be_bytes();
        let kept = FormerSlot::kept(number);
        let expiring = FormerSlot {
            is_kept: false,
            ..kept
        };
        assert_eq!(of(&bytes), Ok(PublisherProgress::Slot(expiring)));
        let formatted = [&[FORMAT_OF_ONE_SLOT][..], &bytes].concat();
        assert_eq!(of(&formatted), Ok(PublisherProgress::Slot(kept)));
        for line in [256, 512] {
            let bytes = self::number(line, 81).to_be_bytes();
            assert!(
                matches!(of(&bytes), Ok(PublisherProgress::Slot(_))),
                "line {line}"
            );
        }
        for unknown in [&[][..], &[3; 9], &[3; 20], &[2, 255], &[1; 10], &[1; 7]] {
            let error = of(unknown).unwrap_err().to_string();
            assert!(error.contains("counts-sink-3"), "{error}");
        }
    }

    #[test]
    fn groups_take_over_what_their_slot_had_committed() {
        let slots = kept(&[number(0, 11), 0, number(1, 5)]);
        let progress = SinkProgress::default().with_former_slots(slots);
        let of = |group| progress.groups.of(group).map(Progress::number);
        assert_eq!([of(0), of(341)], [Some(number(0, 11)); 2]);
        assert_eq!([of(342), of(682)], [None; 2]);
        assert_eq!([of(683), of(1023)], [Some(number(1, 5)); 2]);
        assert_eq!(progress.furthest(), Some(number(1, 5)));
        assert_eq!(SinkProgress::default().furthest(), None);
    }

    #[test]
    fn groups_go_on_from_what_is_known_to_be_committed() {
        let lineage = Lineage::default().branched(0, 50, 50);
        let slots = kept(&[
            number(0, 11),
            0,
            number(0, 45),
            number(0, 90),
            number(1, 30),
        ]);
        let progress = SinkProgress::default().with_former_slots(slots);
        let known = progress.at_least(&lineage, 40);
        let before = [0, 205, 410, 615, 820].map(|group| {
            let progress = known.groups.of(group).unwrap();
            lineage.committed_before(progress)
        });
        assert_eq!(before, [40, 40, 45, 50, 40]);
        assert!(known.is_kept);
        let new = SinkProgress::default().at_least(&Lineage::default(), 0);
        assert_eq!(new.furthest(), None);
    }

    #[test]
    fn what_publishers_carry_merges_to_the_furthest() {
        let side = |attempt, published| SideProgress {
            attempt,
            published,
            ..SideProgress::default()
        };
        let one = SinkProgress {
            publishers: 6,
            sides: BTreeMap::from([(0, side(3, 7)), (1, side(2, 9))]),
            former_parts: BTreeMap::from([("a".to_owned(), 2)]),
            ..SinkProgress::default().with_former_slots(kept(&[number(0, 11), number(0, 41)]))
        };
        let other = SinkProgress {
            publishers: 3,
            sides: BTreeMap::from([(1, side(4, 10)), (2, side(4, 1))]),
            former_parts: BTreeMap::from([("a".to_owned(), 1)]),
            ..SinkProgress::default().with_former_slots(kept(&[number(0, 31)]))
        };
        let merged = [(one.clone(), other.clone()), (other, one.clone())].map(|(mut a, b)| {
            a.merge(b);
            a
        });
        for SinkProgress {
            publishers,
            groups,
            sides,
            former_parts,
            ..
        } in merged
        {
            assert_eq!(publishers, 6);
            assert_eq!(groups.of(0).unwrap().before, 31);
            assert_eq!(groups.of(1023).unwrap().before, 41);
            assert_eq!(
                sides,
                BTreeMap::from([(0, side(3, 7)), (1, side(4, 10)), (2, side(4, 1))])
            );
            assert_eq!(former_parts["a"], 2);
        }
    }

    #[test]
    fn a_late_record_is_published_if_its_pane_is_before_the_horizon() {
        let side = SideProgress {
            published: 50,
            settled: 10,
            horizons: horizons(&[(10, 0), (20, 100), (40, 300)]),
            ..SideProgress::default()
        };
        let late = |offset, pane| side.has_late(offset, pane);
        assert_eq!(
            [late(19, 99), late(20, 99), late(20, 100)],
            [false, true, false]
        );
        assert_eq!([late(45, 299), late(50, 299)], [true, false]);
        assert_eq!(
            [side.has_rejected(49), side.has_rejected(50)],
            [true, false]
        );
    }

    #[test]
    fn of_two_attempts_each_counts_as_far_as_it_came() {
        let first = horizons(&[(0, 100), (30, 400)]);
        let second = horizons(&[(10, 200)]);
        let merged = second.with(20, (&first, 40), 5);
        for offset in 5..60 {
            let of_first = if offset < 40 { first.at(offset) } else { 0 };
            let of_second = if offset < 20 { second.at(offset) } else { 0 };
            assert_eq!(
                merged.at(offset),
                of_first.max(of_second),
                "offset {offset}"
            );
        }
        assert_eq!(merged.at(4), 0, "settled long ago");
        assert_eq!(merged, merged.with(60, (&Horizons::default(), 0), 5));
    }
}
