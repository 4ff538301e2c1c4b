//! The types that travel between the operators, in the order in which they come about.

use std::rc::Rc;

use record_log::Offset;
use serde::{Deserialize, Serialize};

use crate::aggregate::Key;
use crate::pane::EventTimeMs;

/// The merged events of a key in a pane: some of them when it leaves a source, all of them in a
/// [`ClosedPane`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry<K, A> {
    /// The pane that the events belong to. They may travel at a later one.
    pub pane: EventTimeMs,
    /// The key.
    pub key: K,
    /// The events, merged.
    pub aggregate: A,
}

/// A side output: a record that is not counted and goes to a topic for late or rejected records.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SideOutput {
    /// The partition from which the record was read.
    pub partition: u32,
    /// The record's offset in the partition.
    pub offset: Offset,
    /// The reason why the record is not counted.
    pub reason: Reason,
    /// The record's key, if it fits the topic.
    pub key: Option<Vec<u8>>,
    /// The record's value, or as much of it as fits the topic.
    pub value: Option<Vec<u8>>,
    /// The record's headers as far as they fit the topic, and headers that describe the missing ones.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// The reason why a record is not counted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Reason {
    /// The record's window can no longer be corrected.
    Late,
    /// The record could not be decoded or its event time was not accepted; with the reason.
    Rejected(String),
}

impl Reason {
    /// Returns `late`, or the reason of the rejection.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Late => "late",
            Self::Rejected(reason) => reason,
        }
    }
}

/// Everything that arrived at one worker under the timestamp of one pane. It never changes again.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ClosedPane<K, A> {
    /// The pane.
    pub arrival: EventTimeMs,
    /// The entries, sorted by pane and key, without duplicates. Those of `arrival` itself come
    /// last; all others are late.
    pub entries: Vec<Entry<K, A>>,
    /// The side outputs, in parts of earlier versions of the program, which kept them there. Empty
    /// in all others.
    pub side_outputs: Vec<SideOutput>,
}

impl<K, A> ClosedPane<K, A> {
    /// Returns the entries of earlier panes.
    pub fn late(&self) -> &[Entry<K, A>] {
        &self.entries[..self.first_on_time()]
    }

    /// Returns the entries of the pane itself.
    pub fn on_time(&self) -> &[Entry<K, A>] {
        &self.entries[self.first_on_time()..]
    }

    fn first_on_time(&self) -> usize {
        self.entries
            .partition_point(|entry| entry.pane < self.arrival)
    }
}

/// A closed pane, shared by the operators of one worker.
pub type SharedPane<K, A> = Rc<ClosedPane<K, A>>;

/// The result of a window or session for a key, as of some boundary.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row<K, A> {
    /// The start of the window; of a session, the time of its first event.
    pub window_start: EventTimeMs,
    /// The key.
    pub key: K,
    /// All of the key's events in the window.
    pub aggregate: A,
    /// 0 at first; counts the panes at which late records corrected the row. If the job lost a
    /// checkpoint, it restarts at the next million (`checkpoint::lineage`).
    pub revision: u32,
    /// True if the row is a retraction: the session that started here has become part of one that
    /// started earlier, whose row is emitted at the same pane. The aggregate is the one emitted
    /// last for the retracted session. Rows of windows of a fixed length are never retracted.
    pub is_gone: bool,
}

impl<K, A> Row<K, A> {
    /// Returns whether another row of this key and window may have been emitted before.
    pub fn is_correction(&self) -> bool {
        self.revision > 0 || self.is_gone
    }
}

/// The distribution of a job's keys over its workers.
///
/// A key's stable hash selects one of 1,024 key groups, the key group its slot, and the slot its
/// worker. Progress is stored by key group, so the numbers of slots and workers may change at any
/// start.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Slots(u32);

/// The number of key groups. It never changes.
pub const KEY_GROUPS: u64 = 1024;

/// Returns the key group of a key's stable hash.
pub fn group_of(hash: u64) -> u16 {
    u16::try_from(hash % KEY_GROUPS).expect("there are few groups")
}

impl Slots {
    /// Creates `count` slots; none unless it is from 1 to 1,024, the number of key groups.
    pub fn new(count: u32) -> Option<Self> {
        (1..=1024).contains(&count).then_some(Self(count))
    }

    /// Returns the number of slots.
    pub fn count(self) -> u32 {
        self.0
    }

    /// Returns the slot of a key group.
    #[doc(hidden)]
    pub fn of_group(self, group: u16) -> u32 {
        let slot = u64::from(group) * u64::from(self.0) / KEY_GROUPS;
        u32::try_from(slot).expect("less than the number of slots")
    }

    /// Returns the slot of `key`.
    #[doc(hidden)]
    pub fn of_key<K: Key>(self, key: &K) -> u32 {
        self.of_group(group_of(key.stable_hash()))
    }

    /// Returns the key groups of worker `index` among `peers` workers.
    pub(crate) fn groups_of_worker(self, index: usize, peers: usize) -> impl Iterator<Item = u16> {
        let groups = 0..u16::try_from(KEY_GROUPS).expect("there are few groups");
        groups.filter(move |group| self.of_group(*group) as usize % peers == index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_one_worker_and_six_workers_have_about_as_many() {
        for (slots, peers) in [(64, 1), (64, 6), (4, 6), (1024, 7), (64, 64)] {
            let slots = Slots::new(slots).unwrap();
            let of = |worker| slots.groups_of_worker(worker, peers).collect::<Vec<_>>();
            let mut all: Vec<u16> = (0..peers).flat_map(of).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..1024));
        }
        let of = |worker| Slots::new(64).unwrap().groups_of_worker(worker, 6).count();
        let counts: Vec<usize> = (0..6).map(of).collect();
        assert_eq!(counts, [176, 176, 176, 176, 160, 160]);
    }

    #[test]
    fn a_slot_of_earlier_versions_is_a_range_of_key_groups() {
        for count in [1, 3, 4, 7, 1024] {
            let slots = Slots::new(count).unwrap();
            let of_groups: Vec<u32> = (0..1024).map(|group| slots.of_group(group)).collect();
            assert!(of_groups.is_sorted() && of_groups[1023] == count - 1);
        }
    }
}
