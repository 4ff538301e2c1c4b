//! The types that travel between the operators, in the order in which they come about.

use std::rc::Rc;

use record_log::{Offset, Record};
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
pub struct Aside {
    /// The partition from which the record was read.
    pub partition: u32,
    /// The record's offset in the partition.
    pub offset: Offset,
    /// The reason why the record is not counted.
    pub reason: Reason,
    /// The record's original key.
    pub key: Option<Vec<u8>>,
    /// The record's original value.
    pub value: Option<Vec<u8>>,
    /// The record's original headers.
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

impl Aside {
    /// Copies a record.
    pub fn of(record: &Record<'_>, reason: Reason) -> Self {
        let mut headers = Vec::new();
        record
            .headers
            .for_each(&mut |name, value| headers.push((name.to_owned(), value.to_vec())));

        Self {
            partition: record.partition,
            offset: record.offset,
            reason,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers,
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
    /// The side outputs.
    pub asides: Vec<Aside>,
}

impl<K, A> ClosedPane<K, A> {
    /// The entries of earlier panes.
    pub fn late(&self) -> &[Entry<K, A>] {
        &self.entries[..self.first_on_time()]
    }

    /// The entries of the pane itself.
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
    /// checkpoint, it restarts at the next million ([`lineage`](crate::checkpoint::lineage)).
    pub revision: u32,
    /// True if the row is a retraction: the session that started here has become part of one that
    /// started earlier, whose row is emitted at the same pane. The aggregate is the one emitted
    /// last for the retracted session. Rows of windows of a fixed length are never retracted.
    pub is_gone: bool,
}

/// The sink slots of a job: the number of transactions over which its results are spread. Fixed for
/// the life of a job.
///
/// A key's stable hash selects one of 1,024 key groups, the key group its slot, and the slot its
/// worker. So the results of a key are always committed by the same slot, whatever the number of
/// workers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Slots(u32);

const KEY_GROUPS: u64 = 1024;

impl Slots {
    /// Creates `count` slots; none unless it is from 1 to 1,024, the number of key groups.
    pub fn new(count: u32) -> Option<Self> {
        (1..=1024).contains(&count).then_some(Self(count))
    }

    /// The number of slots.
    pub fn count(self) -> u32 {
        self.0
    }

    /// Returns the slot that commits the results for `hash`.
    pub fn of_hash(self, hash: u64) -> u32 {
        let group = hash % KEY_GROUPS;
        u32::try_from(group * u64::from(self.0) / KEY_GROUPS)
            .expect("less than the number of slots")
    }

    /// Returns the slot that commits the results of `key`.
    pub fn of_key<K: Key>(self, key: &K) -> u32 {
        self.of_hash(key.stable_hash())
    }

    /// Returns the slot that commits the side outputs of `partition`.
    pub fn of_partition(self, partition: u32) -> u32 {
        partition % self.0
    }

    /// Returns the slots of worker `index` among `peers` workers.
    pub fn of_worker(self, index: usize, peers: usize) -> impl Iterator<Item = u32> {
        (0..self.0).filter(move |slot| *slot as usize % peers == index)
    }
}
