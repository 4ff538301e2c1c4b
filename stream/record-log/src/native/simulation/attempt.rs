//! The transactions of a schedule, with what was said of each, and the records that a reader was handed.

use std::collections::BTreeMap;

use crate::Offset;

/// What a publisher said of a transaction.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Told {
    /// It was killed before it had to commit.
    Killed,
    Committed,
    Not,
    InDoubt,
    /// There is a newer publisher of the id.
    Fenced,
    /// It has not said anything yet.
    Nothing,
}

/// A transaction that a publisher was to publish.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub id: String,
    /// Its number in the publication. Several attempts may be of one number; one of them must be committed.
    pub number: u64,
    /// By partition.
    pub rows: Vec<(u32, String)>,
    pub told: Told,
}

/// A record that the reader was handed.
pub(super) type Seen = BTreeMap<u32, Vec<(Offset, String)>>;
