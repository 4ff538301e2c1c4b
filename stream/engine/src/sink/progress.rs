//! The progress of a job's sink, which its publishers commit together with their records.
//!
//! Each worker has one publisher, `{job}-sink-{worker}`. Its progress describes the whole sink as
//! the attempt found it, with the worker's own part up to date. The progress of all publishers
//! [merges](SinkProgress::merge) into the state of the sink, so no progress is lost when the number
//! of workers changes.
//!
//! - Results are committed by *key group*: each group has committed everything that arrived at panes
//!   before its progress. This holds for any number of workers, and a batch may be committed in any
//!   number of transactions.
//! - Side outputs are committed by partition. Their progress *is* the decision about them: a record
//!   that was published as late by an earlier attempt is never counted by a later one, although no
//!   checkpoint contains it ([`SideProgress`]).
//! - Publisher 0 carries the number of publishers that the job ever had
//!   ([`fencing`](crate::sink::fencing)).
//!
//! `stream/engine/model/side_outputs.py` is an executable model of these rules.

use std::collections::BTreeMap;

use record_log::Offset;
use serde::{Deserialize, Serialize};

use crate::checkpoint::lineage::{Lineage, Progress};
use crate::flow::KEY_GROUPS;
use crate::pane::EventTimeMs;

/// The format of a progress, stored as its first byte.
const FORMAT: u8 = 2;
/// The format of the progress of one slot: a number.
const FORMAT_OF_ONE_SLOT: u8 = 1;

/// The state of a job's sink.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SinkProgress {
    /// The number of publishers that the job ever had.
    pub publishers: u32,
    /// True if the progress of all publishers was merged into it. False between the registration of a new job and its
    /// first checkpoint.
    pub is_kept: bool,
    /// The progress of results, by key group.
    pub groups: GroupProgress,
    /// The progress of side outputs, by partition.
    pub sides: BTreeMap<u32, SideProgress>,
    /// The progress of the fixed slots of earlier versions.
    pub former_slots: Vec<FormerSlot>,
    /// The number of published side outputs of parts that earlier versions wrote, by the part's name.
    pub former_parts: BTreeMap<String, u64>,
}

/// The progress of each key group, as the number of a [`Progress`]; 0 for none.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "Vec<(u16, u64)>", into = "Vec<(u16, u64)>")]
pub struct GroupProgress(Vec<u64>);

/// The progress of a fixed slot of an earlier version.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct FormerSlot {
    /// The number of a [`Progress`]; 0 if there is none.
    pub number: u64,
    /// True if it is stored where it never expires.
    pub is_kept: bool,
}

/// The progress that the publishers of some processes carry when they are opened.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Carried {
    /// The merged progress.
    pub progress: SinkProgress,
    /// The publishers that carry no progress, or one that may expire.
    pub without: Vec<u32>,
    /// The furthest progress of results that each of the other publishers carries, as a number.
    pub furthest: BTreeMap<u32, u64>,
}

/// The newest checkpoint's record of a job's publishers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KnownPublishers {
    /// The least number of publishers.
    pub publishers: u32,
    /// The number of slots, if an earlier version wrote the checkpoint.
    pub former_slots: Option<u32>,
}

/// The progress of the published side outputs of a partition.
///
/// A restart never reads a record below `settled` again. Of the others, a rejected record is
/// published if it is below `published`; a late record is published if it is below `published` and
/// its pane is before the horizon of its offset. A restart decides anew about everything else.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SideProgress {
    /// The attempt that wrote it. The latest one contains everything from earlier ones.
    pub attempt: u64,
    /// The [line](crate::checkpoint::lineage) of history.
    pub line: u32,
    /// The offset after the last published record.
    pub published: Offset,
    /// The offset below which no restart reads.
    pub settled: Offset,
    /// The horizons by which records were late.
    pub horizons: Horizons,
}

/// A step function of the offset: a record is late if its pane is before the horizon. It grows with
/// the offset within an attempt, but not across attempts.
/// It is encoded by the differences from step to step, which are small.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "Vec<(u64, i64)>", into = "Vec<(u64, i64)>")]
pub struct Horizons(Vec<(Offset, EventTimeMs)>);

/// The number of horizons that all workers of a job may add before results are committed: their
/// encoding takes half of the largest progress.
pub const HORIZONS_MAX: usize = 6_000;

/// A publisher carries a progress that this version of the program cannot read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "publisher {id:?} carries a progress of format {format:?} and {size_bytes} bytes, this program reads formats up to {FORMAT}: \
     use the program that wrote it, or a newer one"
)]
pub struct UnknownProgress {
    /// The publisher's id.
    id: String,
    format: Option<u8>,
    size_bytes: usize,
}

/// The progress that one publisher carries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PublisherProgress {
    /// The state of the sink.
    Sink(Box<SinkProgress>),
    /// The progress of one slot, which an earlier version wrote.
    Slot(FormerSlot),
}

impl PublisherProgress {
    /// Decodes the progress of publisher `id`.
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
            // Before formats were introduced, a progress was the number alone, stored as an offset
            // that brokers forget.
            number => slot(number, false),
        };
        found.ok_or_else(unknown)
    }
}

impl FormerSlot {
    /// Creates the progress of a slot that is stored where it never expires.
    pub fn kept(number: u64) -> Self {
        Self {
            number,
            is_kept: true,
        }
    }
}

impl Carried {
    /// Adds the progress that a publisher carries.
    pub fn note(&mut self, publisher: u32, progress: SinkProgress) {
        if progress.is_kept {
            let furthest = progress.furthest().unwrap_or(0);
            self.furthest.insert(publisher, furthest);
        } else {
            self.without.push(publisher);
        }
        self.progress.merge(progress);
    }

    /// Merges the progress of other publishers into this.
    pub fn merge(&mut self, others: Self) {
        self.progress.merge(others.progress);
        self.without.extend(others.without);
        self.furthest.extend(others.furthest);
    }
}

impl SinkProgress {
    /// Encodes the progress as a publisher carries it.
    ///
    /// # Panics
    /// Never: progress is plain data.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![FORMAT]).expect("progress is plain data")
    }

    /// Merges the progress of another publisher into this.
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

    /// Adds the progress of the fixed slots of an earlier version.
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

    /// Drops the progress of side outputs on other lines of history: they are decided anew.
    #[must_use]
    pub fn on_line(mut self, line: u32) -> Self {
        self.sides.retain(|_, side| side.line == line);
        self
    }

    /// Returns whether the first `count` slots of an earlier version carried a progress that never
    /// expires.
    pub fn has_former_slots(&self, count: u32) -> bool {
        let slots = self.former_slots.iter().take(count as usize);
        slots.filter(|slot| slot.is_kept).count() == count as usize
    }

    /// Raises the progress of each group to `committed`, before which everything is known to be
    /// committed on this line of history.
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

    /// Returns the furthest progress of a group, as a number.
    pub fn furthest(&self) -> Option<u64> {
        self.groups.0.iter().copied().max().filter(|most| *most > 0)
    }
}

impl GroupProgress {
    /// Returns the progress of a group.
    pub fn of(&self, group: u16) -> Option<Progress> {
        let number = self.0[usize::from(group)];
        (number > 0).then(|| Progress::of(number))
    }

    /// Raises the progress of a group.
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
    /// Returns runs of groups with equal progress: their length and the number.
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
    /// Returns whether the rejected record at `offset` is published.
    pub fn has_rejected(&self, offset: Offset) -> bool {
        offset < self.published.max(self.settled)
    }

    /// Returns whether the record of `pane` at `offset` is published as late.
    #[inline]
    pub fn has_late(&self, offset: Offset, pane: EventTimeMs) -> bool {
        offset < self.published && pane < self.horizons.at(offset)
    }
}

impl From<Horizons> for Vec<(u64, i64)> {
    fn from(Horizons(steps): Horizons) -> Self {
        let mut last = (0, 0_u64);
        let difference = |(from, horizon): (Offset, EventTimeMs)| {
            let difference = (from - last.0, horizon.wrapping_sub(last.1).cast_signed());
            last = (from, horizon);
            difference
        };
        steps.into_iter().map(difference).collect()
    }
}

impl From<Vec<(u64, i64)>> for Horizons {
    fn from(differences: Vec<(u64, i64)>) -> Self {
        let mut last = (0_u64, 0_u64);
        let step = |(from, horizon): (u64, i64)| {
            last = (
                last.0.saturating_add(from),
                last.1.wrapping_add(horizon.cast_unsigned()),
            );
            last
        };
        Self(differences.into_iter().map(step).collect())
    }
}

impl Horizons {
    /// Returns the number of steps.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Drops the steps that hold only for offsets below `settled`.
    pub fn settle(&mut self, settled: Offset) {
        let after = self.0.partition_point(|(from, _)| *from <= settled);
        self.0.drain(..after.saturating_sub(1));
    }

    /// Returns the horizon at `offset`; 0 below the first step.
    pub fn at(&self, offset: Offset) -> EventTimeMs {
        let next = self.0.partition_point(|(from, _)| *from <= offset);
        next.checked_sub(1).map_or(0, |step| self.0[step].1)
    }

    /// Records the horizon by which the record at `offset` was late. Offsets must not decrease.
    pub fn raise(&mut self, offset: Offset, horizon: EventTimeMs) {
        if horizon > self.0.last().map_or(0, |(_, last)| *last) {
            self.0.push((offset, horizon));
        }
    }

    /// Returns the greater horizon at each offset: of this function below `until`, and of the other
    /// below `other_until`. Offsets below `settled` are left out.
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
mod tests;
