//! The relay's decisions: computes the next action from the outcome of the previous one.
//!
//! Accepted orders wait as rows of the outbox. One relay leads, by a lease in SQL. It stamps
//! waiting rows with a batch number, publishes them in one log transaction with that number as the
//! log's progress, and deletes them. After any crash, the log's progress therefore shows which
//! batches were published:
//!
//! ```text
//! TakeLease ─▶ OpenPublisher ─▶ ConfirmLease ─▶ Clean ─▶ FindStamped ──none──▶ Stamp ──nothing──▶ Rest
//!     ▲             ▲ anything failed              ▲          │ leftover         │ rows ▲          │
//!     └ not holder, └──────── Rest ◀────           └─ Publish ◀─ Load ◀──────────┘      └──────────┘
//!       fenced
//! ```
//!
//! Invariants:
//! - Rows are stamped only in a transaction that locks the lease row and finds this relay its
//!   holder. Otherwise a relay that was only paused could stamp rows with a number that is already
//!   published, and the rows would be deleted unpublished.
//! - The lease is confirmed *after* the publisher is opened, because the publisher opened last fences the others.
//!   Otherwise a relay could take its lease, pause, open its publisher after its successor did, and publish although
//!   the successor leads.
//! - A batch is deleted only once the log's progress is its number or a higher one.
//! - A failed action may have taken effect, so the publisher is then opened again and its progress read.
//! - A permanent refusal of the log (a record that is too large, a missing right) is logged once, makes the service not
//!   ready with that sentence, and leaves the batch in the outbox. The relay tries again, with long waits.
//!
//! This module uses no SQL, log or clock: [`edge`] carries out the actions. `schedules.rs` tests the rules with
//! thousands of schedules in which relays pause, are killed and compete. It also leaves out each rule in turn, and
//! checks that a schedule then fails.

pub mod edge;
mod outbox;
#[cfg(test)]
mod schedules;

/// An action for the edge to carry out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Takes the lease, if it is free.
    TakeLease,
    /// Opens the log's publisher, which fences earlier ones, and reads its progress.
    OpenPublisher,
    /// Locks the lease row and checks that this relay still holds it.
    ConfirmLease { epoch: u64 },
    /// Deletes the rows of batches up to this one, which the log contains.
    Clean { up_to: u64 },
    /// Finds the lowest batch that an earlier relay or attempt stamped and that was not deleted.
    FindStamped,
    /// Stamps waiting rows, if the lease is still held.
    Stamp { epoch: u64, batch: u64 },
    /// Reads the rows of a batch.
    Load { batch: u64 },
    /// Publishes the rows just loaded, with this batch number as progress.
    Publish { batch: u64 },
    /// Waits.
    Rest(Rest),
}

/// The kind of rest, which determines when it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rest {
    /// Until a row is waiting or the lease is due for renewal.
    Idle,
    /// Until the lease of another relay may have expired.
    Following,
    /// After a failure, with a growing backoff.
    BackingOff,
}

/// The outcome of an action.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// This relay holds the lease, under an epoch higher than any before.
    LeaseTaken { epoch: u64 },
    /// Another relay holds the lease.
    NotHolder,
    /// This relay still holds the lease.
    Confirmed,
    /// The publisher is open; the log contains every batch up to `progress`.
    Opened { progress: u64 },
    /// The rows are deleted.
    Cleaned,
    /// The lowest stamped batch, if there is one.
    Found(Option<u64>),
    /// The number of rows stamped.
    Stamped { rows: u64 },
    /// The number of rows read.
    Loaded { rows: u64 },
    /// The log contains the batch.
    Published,
    /// A publisher that was opened later has fenced this one.
    Fenced,
    /// The rest is over.
    Rested,
    /// The action failed; it may have taken effect all the same.
    Failed,
}

/// The state of one relay, from its start to its end.
#[derive(Debug)]
pub struct Relay {
    next: Action,
    epoch: u64,
    /// The highest batch known to be in the log.
    done: u64,
    /// Whether every batch stamped before the publisher was opened has been published.
    caught_up: bool,
}

impl Relay {
    /// Returns a relay whose first action is to take the lease.
    pub fn new() -> Self {
        Self {
            next: Action::TakeLease,
            epoch: 0,
            done: 0,
            caught_up: false,
        }
    }

    /// Returns the next action.
    pub fn next(&self) -> Action {
        self.next
    }

    /// Updates the state with the outcome of the action that [`Relay::next`] returned.
    pub fn observe(&mut self, outcome: Outcome) {
        self.next = match (self.next, outcome) {
            (Action::TakeLease, Outcome::LeaseTaken { epoch }) => {
                self.epoch = epoch;
                self.open()
            }
            (Action::OpenPublisher, Outcome::Opened { progress }) => {
                self.done = progress;
                Action::ConfirmLease { epoch: self.epoch }
            }
            (Action::ConfirmLease { .. }, Outcome::Confirmed) => Action::Clean { up_to: self.done },
            (Action::Clean { .. }, Outcome::Cleaned) if !self.caught_up => Action::FindStamped,
            (Action::Clean { .. }, Outcome::Cleaned) => self.stamp(),
            (Action::FindStamped, Outcome::Found(Some(batch))) if batch > self.done => {
                Action::Load { batch }
            }
            (Action::FindStamped, Outcome::Found(None)) => {
                self.caught_up = true;
                self.stamp()
            }
            (Action::Stamp { .. }, Outcome::Stamped { rows: 0 }) => Action::Rest(Rest::Idle),
            (Action::Stamp { batch, .. }, Outcome::Stamped { .. }) => Action::Load { batch },
            (Action::Load { batch }, Outcome::Loaded { rows: 1.. }) => Action::Publish { batch },
            (Action::Publish { batch }, Outcome::Published) => {
                self.done = batch;
                Action::Clean { up_to: batch }
            }
            (Action::Rest(rest), Outcome::Rested) => self.after(rest),
            (_, Outcome::NotHolder | Outcome::Fenced) => Action::Rest(Rest::Following),
            // Either the action failed, or stamped rows have disappeared because another relay was at work. The relay
            // starts again: by taking the lease if that failed, otherwise by reopening the publisher.
            (Action::TakeLease, _) => Action::Rest(Rest::Following),
            (_, _) => Action::Rest(Rest::BackingOff),
        };
    }

    /// Returns the epoch of the lease taken last. The lease may since have been lost.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    fn open(&mut self) -> Action {
        self.caught_up = false;
        Action::OpenPublisher
    }

    fn stamp(&self) -> Action {
        Action::Stamp {
            epoch: self.epoch,
            batch: self.done + 1,
        }
    }

    fn after(&mut self, rest: Rest) -> Action {
        match rest {
            Rest::Idle => self.stamp(),
            Rest::Following => Action::TakeLease,
            Rest::BackingOff => self.open(),
        }
    }
}
