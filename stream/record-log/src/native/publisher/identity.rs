//! The identity of a publisher, and the fields that state it in requests about transactions.

/// The identity of a publisher at the brokers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Identity {
    pub id: i64,
    pub epoch: i16,
}

impl Identity {
    pub const NONE: Self = Self { id: -1, epoch: -1 };
}

/// The protocol of transactions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    /// Partitions are added by requests, and the epoch lasts.
    First,
    /// Batches add their partitions, and each end begins a new epoch (KIP-890).
    Second,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Commit,
    Abort,
}
