//! The transactions of a schedule with the outcome that their publishers reported, and the records that a reader
//! received.

use std::collections::BTreeMap;

use crate::Offset;

/// The outcome of a transaction that its publisher reported.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Told {
    /// The publisher was killed before the commit.
    Killed,
    Committed,
    Not,
    InDoubt,
    /// There is a newer publisher of the id.
    Fenced,
    /// The publisher has not reported an outcome yet.
    Nothing,
}

/// A transaction that a publisher had to publish.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub id: String,
    /// Its number in the publication. Several attempts may have one number; one of them must be committed.
    pub number: u64,
    /// The rows, each with its partition.
    pub rows: Vec<(u32, String)>,
    pub told: Told,
}

/// The records that the reader received, by partition.
pub(super) type Seen = BTreeMap<u32, Vec<(Offset, String)>>;
