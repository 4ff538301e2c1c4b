//! The relay's decisions: what to do next, given what came of the last thing done.
//!
//! Accepted orders wait as rows of the outbox. One relay leads by a lease in SQL; it stamps a batch number on waiting
//! rows, publishes them with that number as the log's progress in one log transaction, and deletes them. So after any
//! crash the log itself says which batch was published:
//!
//! ```text
//! TakeLease ─▶ OpenPublisher ─▶ ConfirmLease ─▶ Clean ─▶ FindStamped ──none──▶ Stamp ──nothing──▶ Rest
//!     ▲             ▲ anything failed              ▲          │ leftover         │ rows ▲          │
//!     └ not holder, └──────── Rest ◀────           └─ Publish ◀─ Load ◀──────────┘      └──────────┘
//!       fenced
//! ```
//!
//! What always holds:
//! - rows are stamped only in a transaction that locks the lease row and finds this relay its holder. A relay that was
//!   only asleep would else stamp rows with a number already published, and they would be deleted unpublished;
//! - the lease is confirmed *after* the publisher was opened. The log fences by the order of opening: a relay that took
//!   its lease, slept, and opens after its successor would else publish behind the successor's back;
//! - a batch is deleted only once the log carries its number, or a higher one, as progress;
//! - after a failure nothing is assumed: the publisher is opened anew and asked.
//!
//! Nothing here knows SQL, the log or a clock: [`edge`] carries the actions out. The rules are tried by thousands of
//! schedules with sleeping, killed and competing relays in `schedules.rs`, where each rule left out is caught.

pub mod edge;
mod outbox;
#[cfg(test)]
mod schedules;

/// Something to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Become the leader, if the lease is free.
    TakeLease,
    /// Open the log's publisher, which fences earlier ones, and read its progress.
    OpenPublisher,
    /// Lock the lease row and see whether this relay still holds it.
    ConfirmLease { epoch: u64 },
    /// Delete rows of batches up to this one: the log has them.
    Clean { up_to: u64 },
    /// Look for a batch stamped earlier that the log does not have.
    FindStamped,
    /// Stamp waiting rows, if the lease is still held.
    Stamp { epoch: u64, batch: u64 },
    /// Read the rows of a batch.
    Load { batch: u64 },
    /// Publish the rows just loaded with this progress.
    Publish { batch: u64 },
    /// Wait.
    Rest(Rest),
}

/// What to wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rest {
    /// A waiting row, or the time to renew the lease.
    Idle,
    /// Another's lease to run out.
    Following,
    /// Whatever failed to work again: longer each time.
    BackingOff,
}

/// What came of an action.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The lease is this relay's, under a number higher than any before.
    LeaseTaken { epoch: u64 },
    /// The lease is another's.
    NotHolder,
    /// The lease is still this relay's.
    Confirmed,
    /// The publisher is open; the log has every batch up to `progress`.
    Opened { progress: u64 },
    /// The rows are gone.
    Cleaned,
    /// The lowest stamped batch, if there is one.
    Found(Option<u64>),
    /// So many rows were stamped.
    Stamped { rows: u64 },
    /// So many rows were read.
    Loaded { rows: u64 },
    /// The log has the batch.
    Published,
    /// A later opened publisher lives.
    Fenced,
    /// The rest is over.
    Rested,
    /// It failed; it may have happened all the same.
    Failed,
}

/// One life of a relay.
#[derive(Debug)]
pub struct Relay {
    next: Action,
    epoch: u64,
    /// The highest batch that the log has, as far as known.
    done: u64,
    /// Whether what predecessors stamped has been taken up since the publisher was opened.
    caught_up: bool,
}

impl Relay {
    /// A relay that has done nothing yet.
    pub fn new() -> Self {
        Self {
            next: Action::TakeLease,
            epoch: 0,
            done: 0,
            caught_up: false,
        }
    }

    /// What to do next.
    pub fn next(&self) -> Action {
        self.next
    }

    /// Takes in what came of the action that [`Relay::next`] named.
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
            // A failure; or rows that were there are not, so that somebody else has been at work: begin again.
            (Action::TakeLease, _) => Action::Rest(Rest::Following),
            (_, _) => Action::Rest(Rest::BackingOff),
        };
    }

    /// Which lease the relay believes to hold.
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
