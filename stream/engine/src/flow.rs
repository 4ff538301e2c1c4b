//! What travels between the operators, in the order in which it comes about.

use std::rc::Rc;

use record_log::{Offset, Record};
use serde::{Deserialize, Serialize};

use crate::aggregate::Key;
use crate::pane::EventTimeMs;

/// What is known of a key in a pane: in part when it leaves a source, in whole in a [`ClosedPane`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry<K, A> {
    /// The pane that the events belong to. They may travel at a later one.
    pub pane: EventTimeMs,
    /// The key.
    pub key: K,
    /// The events, merged.
    pub aggregate: A,
}

/// A record that is counted nowhere, on its way to a topic of its own.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Aside {
    /// Where it was read.
    pub partition: u32,
    /// Its offset there.
    pub offset: Offset,
    /// Why it is not counted.
    pub reason: Reason,
    /// Its key, as it came.
    pub key: Option<Vec<u8>>,
    /// Its value, as it came.
    pub value: Option<Vec<u8>>,
    /// Its headers, as they came.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Why a record is not counted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Reason {
    /// Its window can no longer be corrected.
    Late,
    /// It was not understood or not believed, and why.
    Rejected(String),
}

impl Aside {
    /// Keeps all of a record.
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
    /// Sorted by pane and key, each once. Those of `arrival` itself come last: all others are late.
    pub entries: Vec<Entry<K, A>>,
    /// Records that are counted nowhere.
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

/// What a window, or a session, holds for a key, as of some boundary.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row<K, A> {
    /// The start of the window; of a session, the time of its first event.
    pub window_start: EventTimeMs,
    /// The key.
    pub key: K,
    /// All of the key's events in the window.
    pub aggregate: A,
    /// 0 at first; counts the panes at which late records corrected the row. Begins anew at the next million where the
    /// job lost a checkpoint ([`lineage`](crate::checkpoint::lineage)).
    pub revision: u32,
    /// The session that started here has become part of one that started earlier, of which a row comes with this one. The
    /// aggregate is what was told of it last. Windows of a fixed length are never gone.
    pub is_gone: bool,
}

/// The sink slots of a job: how many transactions its results are spread over. Fixed for the life of a job.
///
/// Keys fall into 1,024 key groups by their stable hash, key groups into slots, slots to workers. So results of a key are
/// always committed by the same slot, however many workers there are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Slots(u32);

const KEY_GROUPS: u64 = 1024;

impl Slots {
    /// As many slots; at least one, at most one a key group.
    pub fn new(count: u32) -> Option<Self> {
        (1..=1024).contains(&count).then_some(Self(count))
    }

    /// How many there are.
    pub fn count(self) -> u32 {
        self.0
    }

    /// The slot that commits what belongs to `hash`.
    pub fn of_hash(self, hash: u64) -> u32 {
        let group = hash % KEY_GROUPS;
        u32::try_from(group * u64::from(self.0) / KEY_GROUPS)
            .expect("less than the number of slots")
    }

    /// The slot that commits the results of `key`.
    pub fn of_key<K: Key>(self, key: &K) -> u32 {
        self.of_hash(key.stable_hash())
    }

    /// The slot that commits the asides of `partition`.
    pub fn of_partition(self, partition: u32) -> u32 {
        partition % self.0
    }

    /// The slots of worker `index` among `peers`.
    pub fn of_worker(self, index: usize, peers: usize) -> impl Iterator<Item = u32> {
        (0..self.0).filter(move |slot| *slot as usize % peers == index)
    }
}
