//! Publishing: records become batches as they are sent; from one commit to the next they are one transaction.
//!
//! ```text
//! idle ──send──▶ open ──commit──▶ idle
//!                 │ ▲
//!         failed  ▼ │ the next call aborts it
//!               broken            fenced, or the outcome of a commit unknown ──▶ over: open another publisher
//! ```
//!
//! - `session`: the publisher and its coordinator; how a transaction ends.
//! - `topics`: the records that wait, by partition; `sending`: their batches, until each is acknowledged; `lines`: the
//!   connections to the leaders.
//! - `requests`: the four requests; `refusals`: the permanent refusals of brokers, in words; `deadline`: the time that is
//!   left.
//!
//! Where the cluster has finalized `transaction.version` 2 ([KIP-890]), a batch adds its partition to the transaction,
//! and each end of a transaction begins a new epoch, so nothing that arrives late can reach a later transaction.
//! Elsewhere partitions are added by a request of their own, and the epoch lasts.
//!
//! Invariants:
//! - Under the first protocol, after a request without an answer only the transaction's end is sent in its epoch. The
//!   next transaction has a new epoch, so late requests are not part of it.
//! - Records that may have reached a broker are sent again only under the same sequence numbers; the end of a
//!   transaction, only in the same epoch.
//! - If the outcome of a commit is unknown, the publisher returns that it [may have
//!   happened](PublishError::MayHaveHappened), and cannot be used any more.
//! - If brokers refuse the epoch, there is a newer holder, unless the coordinator may have begun that epoch itself: by
//!   an end of the transaction that it did not answer, or at the transaction's time-out. In that case the publisher
//!   cannot be used any more, and its caller must find out if there is a newer holder before it opens another
//!   publisher.
//! - A publisher does not fence a newer holder of its id, with one exception: the moment between the end of its own
//!   transaction and the new epoch that the first protocol needs after a request without an answer.
//!
//! [KIP-890]: https://cwiki.apache.org/confluence/display/KAFKA/KIP-890

mod deadline;
mod identity;
mod lines;
mod refusals;
mod requests;
mod sending;
mod session;
mod topics;
mod trial;
pub(super) mod unsent;

#[cfg(test)]
pub(super) mod identities;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use self::deadline::{Deadline, TimeLimit};
use self::identity::Outcome;
use self::sending::Sending;
use self::session::Session;
use self::topics::Topics;
pub(super) use self::trial::try_out;
pub use self::trial::{Trial, TrialError};
use super::admin::Admin;
use super::cluster::Cluster;
use super::wire::WireError;
use crate::kafka::progress::record;
use crate::{Cause, Delivery, LogError, NewRecord, PublishError, Publisher, Refusal, progress};

/// The time limits of a request and of a whole call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub request: Duration,
    pub call: Duration,
}

/// The divisor of a transaction's time-out that gives the time reserved for its end.
const LEFT_TO_END: u32 = 3;

impl Default for Patience {
    /// Lets a call wait as long as a transaction may live.
    fn default() -> Self {
        Self {
            request: Duration::from_secs(5),
            call: Duration::from_secs(15),
        }
    }
}

/// The reason why a step stopped.
#[derive(Debug)]
enum Stop {
    Fenced,
    /// The step can never succeed.
    Refused(Refusal),
    /// The step was not done.
    Failed(Cause),
    /// A request was sent and not answered, so its effect is unknown.
    Unknown(Cause),
    /// The topic that keeps the progress is gone. Opening the publisher again creates it.
    ProgressLost(Cause),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Refused(refusal) => Self::Refused(refusal),
            error if error.is_transient() => Self::Failed(error.into()),
            error => Self::Refused(Refusal::new(error.to_string())),
        }
    }
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        if let Some(refusal) = error.refusal() {
            return Self::Refused(refusal);
        }

        match error {
            WireError::Lost { .. } | WireError::Silent { .. } | WireError::Malformed { .. } => {
                Self::Unknown(error.into())
            }
            error if error.is_passing() => Self::Failed(error.into()),
            error => Self::Refused(Refusal::new(error.to_string())),
        }
    }
}

/// The reason why nothing can be sent.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the publisher cannot be used any more: open it again")]
    Over,
    #[error("a broker does not know the publisher's epoch any more, its coordinator does")]
    EpochForgotten,
    #[error(
        "the brokers refuse the publisher's epoch, after an end of its transaction that they did not answer or after the \
         transaction's time-out: either ended it, or a newer holder of the id has begun"
    )]
    Outdated,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Idle,
    Open,
    /// The transaction must be aborted before any other operation.
    Broken,
    Fenced,
    Over,
}

pub(super) struct NativePublisher {
    id: String,
    delivery: Delivery,
    progress: Option<Vec<u8>>,
    state: State,
    patience: Patience,
    time_limit: TimeLimit,
    session: Session,
    sending: Sending,
}

/// The settings that publishers are opened with.
pub(super) struct Opening<'a> {
    pub cluster: &'a Arc<Cluster>,
    pub admin: &'a Arc<Admin>,
    pub delivery: Delivery,
    /// The age at which the brokers abort a transaction.
    pub timeout: Duration,
    pub patience: Patience,
}

impl Opening<'_> {
    /// Opens the publishers of all these ids. Several are opened on a thread each, because fencing waits for the
    /// brokers. Their progress must be read after that.
    pub fn open_all(&self, ids: &[&str]) -> Result<Vec<NativePublisher>, LogError> {
        if let [id] = ids {
            return Ok(vec![NativePublisher::open(self, id)?]);
        }

        thread::scope(|scope| {
            let opening: Vec<_> = ids
                .iter()
                .map(|id| scope.spawn(|| NativePublisher::open(self, id)))
                .collect();
            opening
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        })
    }

    fn is_transactional(&self) -> bool {
        self.delivery == Delivery::Transactional
    }

    fn session(&self, id: &str) -> Session {
        let id = self.is_transactional().then(|| id.to_owned());
        Session::new(self.cluster, id, self.timeout, self.patience)
    }

    fn time_limit(&self) -> TimeLimit {
        let oldest = self.timeout - self.timeout / LEFT_TO_END;
        TimeLimit {
            runtime: Arc::clone(self.cluster.runtime()),
            call: self.patience.call,
            transaction: self.is_transactional().then_some(oldest),
        }
    }
}

impl NativePublisher {
    /// Creates a publisher that has no producer id yet.
    fn new(opening: &Opening<'_>, id: &str) -> Self {
        let topics = Topics::new(opening.cluster, opening.admin);
        Self {
            id: id.to_owned(),
            delivery: opening.delivery,
            progress: None,
            state: State::Idle,
            patience: opening.patience,
            time_limit: opening.time_limit(),
            session: opening.session(id),
            sending: Sending::new(opening.cluster, topics, opening.patience),
        }
    }

    /// Fences earlier holders and has the brokers abort their open transactions.
    fn open(opening: &Opening<'_>, id: &str) -> Result<Self, LogError> {
        let mut publisher = Self::new(opening, id);
        let deadline = publisher.deadline();
        let identified = publisher.session.identify(&deadline);
        match identified {
            Ok(()) => Ok(publisher),
            Err(Stop::Refused(refusal)) => Err(LogError::Refused(refusal)),
            Err(Stop::Failed(cause) | Stop::Unknown(cause) | Stop::ProgressLost(cause)) => {
                Err(LogError::Unavailable(cause))
            }
            Err(Stop::Fenced) => Err(LogError::Unavailable(
                format!("publisher {id:?} was fenced while it was opened").into(),
            )),
        }
    }

    /// Sets the progress that was read after the publisher was opened.
    pub fn set_progress(&mut self, progress: Option<Vec<u8>>) {
        self.progress = progress;
    }

    fn is_transactional(&self) -> bool {
        self.delivery == Delivery::Transactional
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.patience.call, &self.time_limit.runtime)
    }

    fn sending_deadline(&self) -> Deadline {
        self.time_limit.begin(self.sending.begun_at())
    }

    /// Makes sure that records can be sent.
    fn begin(&mut self) -> Result<(), PublishError> {
        if self.state == State::Broken {
            self.abort().map_err(|stop| self.failed(stop))?;
        }

        match self.state {
            State::Open => Ok(()),
            State::Fenced => Err(PublishError::Fenced {
                id: self.id.clone(),
            }),
            State::Broken | State::Over => Err(PublishError::NotPublished(Unusable::Over.into())),
            State::Idle => {
                if self.session.needs_epoch() {
                    let deadline = self.deadline();
                    let identified = self.session.identify(&deadline);
                    identified.map_err(|stop| self.failed(stop))?;
                }
                self.sending.begin_epoch(self.session.identity());
                self.sending.begin_transaction();
                self.state = State::Open;
                Ok(())
            }
        }
    }

    /// Ends the broken transaction, so that the next can begin.
    fn abort(&mut self) -> Result<(), Stop> {
        self.sending.discard();
        if self.sending.has_sealed() {
            let deadline = self.deadline();
            self.session.end(Outcome::Abort, &deadline)?;
        }
        self.state = State::Idle;
        Ok(())
    }

    /// Returns the error for a step before the commit that stopped.
    fn failed(&mut self, stop: Stop) -> PublishError {
        if self.state == State::Open {
            self.state = State::Broken;
        }

        match stop {
            Stop::Refused(refusal) => PublishError::Refused(refusal),
            Stop::Failed(cause) | Stop::Unknown(cause) => PublishError::NotPublished(cause),
            // The progress of earlier commits was on that topic, so it is in doubt.
            Stop::ProgressLost(cause) => {
                self.state = State::Over;
                PublishError::MayHaveHappened(cause)
            }
            Stop::Fenced if self.may_be_outdated() => {
                self.state = State::Over;
                PublishError::MayHaveHappened(Unusable::Outdated.into())
            }
            Stop::Fenced => {
                self.state = State::Fenced;
                PublishError::Fenced {
                    id: self.id.clone(),
                }
            }
        }
    }

    /// Returns `true` if the coordinator may have begun another epoch without a newer holder: by an end of the broken
    /// transaction whose answer was lost, or because it aborted the transaction at its time-out.
    fn may_be_outdated(&self) -> bool {
        let is_too_old = || self.time_limit.is_past(self.sending.begun_at());
        self.state == State::Broken && (self.session.may_have_ended() || is_too_old())
    }

    /// Returns the error for records that were not sent. A leader that refuses the epoch may be mistaken: the
    /// coordinator decides.
    fn not_sent(&mut self, stop: Stop) -> PublishError {
        if !self.is_transactional() {
            return self.maybe(stop);
        }

        if !matches!(stop, Stop::Fenced) {
            return self.failed(stop);
        }

        self.state = State::Broken;
        match self.abort() {
            Ok(()) => PublishError::NotPublished(Unusable::EpochForgotten.into()),
            Err(stop) => self.failed(stop),
        }
    }

    /// Returns the error of a failed commit without transactions: some records may be published and others not.
    fn maybe(&mut self, stop: Stop) -> PublishError {
        self.state = State::Over;
        match stop {
            Stop::Refused(refusal) => PublishError::Refused(refusal),
            Stop::Failed(cause) | Stop::Unknown(cause) | Stop::ProgressLost(cause) => {
                PublishError::MayHaveHappened(cause)
            }
            Stop::Fenced => PublishError::Fenced {
                id: self.id.clone(),
            },
        }
    }

    fn push(&mut self, record: &NewRecord<'_>) -> Result<(), PublishError> {
        self.begin()?;
        match self
            .sending
            .push(record, &mut self.session, &self.time_limit)
        {
            Ok(()) => Ok(()),
            // A record that is refused before it is sent has no effect.
            Err(Stop::Refused(refusal)) if !self.is_transactional() => {
                Err(PublishError::Refused(refusal))
            }
            Err(stop) => Err(self.not_sent(stop)),
        }
    }

    fn push_progress(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        let id = self.id.clone();
        self.push(&record(&id, progress))
    }

    fn flush(&mut self) -> Result<(), PublishError> {
        let deadline = self.sending_deadline();
        let flushed = self.sending.flush(&mut self.session, &deadline);
        flushed.map_err(|stop| self.not_sent(stop))
    }

    fn commit_transaction(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        self.push_progress(progress)?;
        self.flush()?;
        self.end_commit()
    }

    fn end_commit(&mut self) -> Result<(), PublishError> {
        let deadline = self.deadline();
        let ended = self.session.end(Outcome::Commit, &deadline);
        ended.map_err(|stop| self.not_committed(stop))
    }

    /// Returns the error for a commit that stopped.
    fn not_committed(&mut self, stop: Stop) -> PublishError {
        match stop {
            Stop::Unknown(cause) => {
                self.state = State::Over;
                PublishError::MayHaveHappened(cause)
            }
            stop => self.failed(stop),
        }
    }

    /// Publishes the records, and the progress after them.
    fn publish(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        self.begin()?;
        self.flush()?;
        self.push_progress(progress)?;
        self.flush()
    }
}

impl Publisher for NativePublisher {
    fn progress(&self) -> Option<&[u8]> {
        self.progress.as_deref()
    }

    fn send(&mut self, record: NewRecord<'_>) -> Result<(), PublishError> {
        self.push(&record)
    }

    fn commit(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        if let Err(refused) = progress::check(progress) {
            if self.state == State::Open && self.is_transactional() {
                self.state = State::Broken;
            }
            return Err(refused.into());
        }

        if self.is_transactional() {
            self.commit_transaction(progress)?;
        } else {
            self.publish(progress)?;
        }

        self.state = State::Idle;
        let kept = self.progress.get_or_insert_default();
        kept.clear();
        kept.extend_from_slice(progress);

        Ok(())
    }
}
