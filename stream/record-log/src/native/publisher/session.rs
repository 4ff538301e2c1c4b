//! A publisher's session with its coordinator: its producer id and epoch, the partitions of its transaction, and the
//! transaction's end.
//!
//! ```text
//! identify ──▶ (producer id, epoch) ──▶ add partitions (first protocol only) ──▶ end ──▶ the next transaction
//! ```
//!
//! Invariants:
//! - An end is sent again until it is answered, in the epoch of its transaction. Under the second protocol a late one
//!   finds a newer epoch and has no effect. Under the first protocol, if an end was not answered, the next transaction
//!   has a new epoch.
//! - Only opening a publisher fences. An open publisher that needs another epoch names its current one.
//! - InitProducerId is never sent while the publisher's own transaction may be open: brokers do not compare the epoch
//!   then, and would abort the transaction of a newer holder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::deadline::Deadline;
use super::identity::{Identity, Outcome, Protocol};
use super::refusals::{About, stop};
use super::requests::{ask_add, ask_end, ask_identity, read_added, read_ended, read_identity};
use super::{Patience, Stop};
use crate::native::api::{ADD_PARTITIONS, Api, Code, END_TXN_1, END_TXN_2, INIT_PRODUCER_ID};
use crate::native::cluster::{Cluster, Coordinates};
use crate::native::codec::{Input, Malformed, Output};
use crate::native::network::Address;
use crate::native::wire::{Connection, WireError};

/// The pauses before a request is repeated after a transient refusal.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(100);
/// The idle time after which a connection may have been closed by its broker, or by a device on the way.
const STALE_AFTER: Duration = Duration::from_secs(60);

pub(super) struct Session {
    cluster: Arc<Cluster>,
    /// None for a publisher without transactions.
    transactional_id: Option<String>,
    timeout: Duration,
    patience: Patience,
    identity: Identity,
    protocol: Protocol,
    /// If set, no further request may be sent in this epoch. Either a request of it may still arrive at a broker, which
    /// would add it to a later transaction, or numbered records were not sent.
    needs_epoch: bool,
    /// `true` if the answer to an end of the transaction was lost, so the coordinator may have begun another epoch.
    may_have_ended: bool,
    connection: Option<(Connection, Instant)>,
    /// The address at which the coordinator was found last.
    coordinator: Address,
}

impl Session {
    pub fn new(
        cluster: &Arc<Cluster>,
        transactional_id: Option<String>,
        timeout: Duration,
        patience: Patience,
    ) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            transactional_id,
            timeout,
            patience,
            identity: Identity::NONE,
            protocol: Protocol::First,
            needs_epoch: false,
            may_have_ended: false,
            connection: None,
            coordinator: Address {
                host: String::new(),
                port: 0,
            },
        }
    }

    pub fn identity(&self) -> Identity {
        self.identity
    }

    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub fn is_transactional(&self) -> bool {
        self.transactional_id.is_some()
    }

    pub fn transactional_id(&self) -> Option<&str> {
        self.transactional_id.as_deref()
    }

    /// Returns `true` if [`Session::identify`] must begin another epoch before any other request.
    pub fn needs_epoch(&self) -> bool {
        self.needs_epoch
    }

    /// Returns `true` if the transaction may have ended: an end of it was sent and not answered.
    pub fn may_have_ended(&self) -> bool {
        self.may_have_ended
    }

    fn about(&self) -> About<'_> {
        About::Publisher {
            id: self
                .transactional_id
                .as_deref()
                .unwrap_or("without transactions"),
        }
    }

    /// Gets a producer id, or the next epoch of the one that the publisher has. The first time, earlier holders are
    /// fenced and their open transactions are aborted. Repeating the call is harmless.
    pub fn identify(&mut self, deadline: &Deadline) -> Result<(), Stop> {
        let id = self.transactional_id.clone();
        let timeout_ms = i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX);
        let known = self.identity;
        let mut pause = FIRST_PAUSE;
        let mut before = None;

        loop {
            let asked = self.ask(
                INIT_PRODUCER_ID,
                deadline,
                |output| ask_identity(output, id.as_deref(), timeout_ms, known),
                read_identity,
            );

            let failure = match asked {
                Ok((Code::NONE, identity)) => {
                    self.identity = identity;
                    self.needs_epoch = false;
                    self.may_have_ended = false;
                    return Ok(());
                }
                Ok((code, _)) if code.is_passing() => self.refused(INIT_PRODUCER_ID, code),
                Ok((code, _)) => return Err(stop(code, self.about(), None)),
                Err(error) if error.is_passing() => error,
                Err(error) => return Err(error.into()),
            };

            let failure = more_telling(before, failure, deadline);
            wait(&mut pause, deadline);
            if deadline.is_over() {
                return Err(failure.into());
            }
            before = Some(failure);
        }
    }

    /// Adds partitions to the transaction, which begins with the first of them.
    pub fn add(&mut self, partitions: &[(&str, u32)], deadline: &Deadline) -> Result<(), Stop> {
        let id = self.transactional_id.clone().unwrap_or_default();
        let identity = self.identity;
        let mut pause = FIRST_PAUSE;
        let mut refused: Option<Stop> = None;

        loop {
            let asked = self.ask(
                ADD_PARTITIONS,
                deadline,
                |output| ask_add(output, &id, identity, partitions),
                read_added,
            );
            let answered = match asked {
                Ok(answered) => answered,
                // An earlier refusal explains more than an answer that did not come before the deadline.
                Err(error) => {
                    let before = refused.filter(|_| deadline.is_over());
                    return Err(before.unwrap_or_else(|| error.into()));
                }
            };

            let Some((code, topic)) = worst(&answered) else {
                return Ok(());
            };
            let stop = self.not_added(code, topic);
            if !code.is_passing() || deadline.is_over() {
                return Err(stop);
            }

            refused = Some(stop);
            self.forget_coordinator_if(code);
            wait(&mut pause, deadline);
        }
    }

    /// Returns the reason why a partition of a topic was not added.
    fn not_added(&mut self, code: Code, topic: &str) -> Stop {
        match code {
            Code::TOPIC_AUTHORIZATION_FAILED
            | Code::INVALID_TOPIC_EXCEPTION
            | Code::UNKNOWN_TOPIC_OR_PARTITION => stop(code, About::Topic { topic }, None),
            code if code.is_passing() => self.refused(ADD_PARTITIONS, code).into(),
            code => stop(code, self.about(), None),
        }
    }

    /// Ends the transaction. [`Stop::Unknown`] only if its outcome is unknown.
    pub fn end(&mut self, outcome: Outcome, deadline: &Deadline) -> Result<(), Stop> {
        // A request without an answer may have ended the transaction.
        let mut is_unknown = false;
        let ended = self.end_within(outcome, deadline, &mut is_unknown);
        self.note_end(ended.is_ok(), is_unknown);
        ended
    }

    /// Notes if an end of the transaction was done, or may have been done.
    pub(super) fn note_end(&mut self, is_done: bool, is_unknown: bool) {
        self.may_have_ended = !is_done && (self.may_have_ended || is_unknown);
    }

    fn end_within(
        &mut self,
        outcome: Outcome,
        deadline: &Deadline,
        is_unknown: &mut bool,
    ) -> Result<(), Stop> {
        let mut pause = FIRST_PAUSE;
        let mut before = None;
        loop {
            let failure = match self.ask_end(outcome, deadline) {
                Ok((Code::NONE, identity)) => {
                    self.identity = identity.unwrap_or(self.identity);
                    let is_torn = *is_unknown || outcome == Outcome::Abort;
                    self.needs_epoch |= is_torn && self.protocol == Protocol::First;
                    return Ok(());
                }
                Ok((code, _)) if self.is_nothing_to_abort(code, outcome) => {
                    self.needs_epoch = true;
                    return Ok(());
                }
                Ok((code, _)) if may_pass(code, outcome) && !deadline.is_over() => {
                    *is_unknown |= !is_surely_not_done(code);
                    self.refused(END_TXN_1, code)
                }
                Ok((code, _)) if self.is_aborted_for_it(code, outcome) => return Err(Stop::Fenced),
                Ok((code, _)) => {
                    let stop = stop(code, self.about(), None);
                    *is_unknown |= code.is_passing() && !is_surely_not_done(code);
                    let is_settled = matches!(stop, Stop::Fenced) || !*is_unknown;
                    return Err(if is_settled {
                        stop
                    } else {
                        Stop::Unknown(self.refused(END_TXN_1, code).into())
                    });
                }
                Err(error) if error.is_passing() => {
                    *is_unknown |= is_unanswered(&error, END_TXN_1);
                    error
                }
                Err(error) => return Err(error.into()),
            };

            let failure = more_telling(before, failure, deadline);
            // An end without time for its answer would only put the outcome in doubt.
            wait(&mut pause, deadline);
            if deadline.is_over() {
                return Err(if *is_unknown {
                    Stop::Unknown(failure.into())
                } else {
                    Stop::Failed(failure.into())
                });
            }
            before = Some(failure);
        }
    }

    fn ask_end(
        &mut self,
        outcome: Outcome,
        deadline: &Deadline,
    ) -> Result<(Code, Option<Identity>), WireError> {
        let id = self.transactional_id.clone().unwrap_or_default();
        let identity = self.identity;
        let begins_epoch = self.protocol == Protocol::Second;
        let api = if begins_epoch { END_TXN_2 } else { END_TXN_1 };

        self.ask(
            api,
            deadline,
            |output| ask_end(output, &id, identity, outcome),
            |input| read_ended(input, begins_epoch),
        )
    }

    /// Returns `true` if there was no transaction to abort, or the coordinator has forgotten the publisher.
    fn is_nothing_to_abort(&self, code: Code, outcome: Outcome) -> bool {
        let is_none = match code {
            Code::INVALID_TXN_STATE => self.protocol == Protocol::First,
            code => code == Code::INVALID_PRODUCER_ID_MAPPING,
        };
        is_none && outcome == Outcome::Abort
    }

    /// Returns `true` if the coordinator has aborted the transaction itself, at its time-out or for a newer holder.
    /// Under the second protocol it answers a commit as a repetition that contradicts the abort; under the first it
    /// refuses the epoch.
    fn is_aborted_for_it(&self, code: Code, outcome: Outcome) -> bool {
        let is_contradiction = code == Code::INVALID_TXN_STATE && outcome == Outcome::Commit;
        is_contradiction && self.protocol == Protocol::Second
    }

    /// Sends a request to the coordinator, which is looked up if it is not known. A failed connection is dropped. Under
    /// the first protocol, a request without an answer makes another epoch necessary.
    fn ask<T>(
        &mut self,
        api: Api,
        deadline: &Deadline,
        body: impl FnOnce(&mut Output<'_>),
        answer: impl FnOnce(&mut Input<'_>) -> Result<T, Malformed>,
    ) -> Result<T, WireError> {
        let mut connection = match self.connection.take() {
            Some((connection, used_at)) if !self.is_stale(used_at) => connection,
            _ => self.connect()?,
        };

        if api == INIT_PRODUCER_ID {
            self.protocol = spoken(&connection);
        }

        let limit = deadline.limit(self.patience.request);
        let answered = connection.call(api, limit, body, answer);
        match &answered {
            Ok(_) => self.connection = Some((connection, self.cluster.runtime().now())),
            Err(error) => {
                self.cluster.note_failed(error);
                let is_new = self.protocol == Protocol::First && api != INIT_PRODUCER_ID;
                self.needs_epoch |= is_new && is_unanswered(error, api);
            }
        }

        answered
    }

    fn is_stale(&self, used_at: Instant) -> bool {
        self.cluster.runtime().since(used_at) >= STALE_AFTER
    }

    /// Without transactions, any broker gives out producer ids.
    fn connect(&mut self) -> Result<Connection, WireError> {
        let address = match &self.transactional_id {
            Some(id) => self.cluster.coordinator(Coordinates::Transactions, id)?,
            None => self
                .cluster
                .at_any(|connection| Ok(connection.broker().clone()))?,
        };
        self.coordinator = address;
        self.cluster.connect(&self.coordinator)
    }

    fn forget_coordinator_if(&mut self, code: Code) {
        if code != Code::CONCURRENT_TRANSACTIONS && code != Code::INVALID_TXN_STATE {
            self.connection = None;
        }
    }

    fn refused(&mut self, api: Api, code: Code) -> WireError {
        self.forget_coordinator_if(code);
        WireError::Refused {
            broker: self.coordinator.clone(),
            request: api.name,
            subject: format!(
                "publisher {:?}",
                self.transactional_id.as_deref().unwrap_or_default()
            ),
            code,
        }
    }
}

/// Returns `true` if the same end may succeed a moment later. While the markers of the previous transaction are being
/// written, an abort is refused as one of that transaction.
fn may_pass(code: Code, outcome: Outcome) -> bool {
    code.is_passing() || (code == Code::INVALID_TXN_STATE && outcome == Outcome::Abort)
}

/// Returns `true` if the coordinator has not begun to end the transaction. Other codes may come after the end was
/// appended to its log, where it may still be replicated.
fn is_surely_not_done(code: Code) -> bool {
    matches!(
        code,
        Code::CONCURRENT_TRANSACTIONS
            | Code::COORDINATOR_LOAD_IN_PROGRESS
            | Code::INVALID_TXN_STATE
    )
}

/// Returns the protocol of transactions of the cluster behind a connection.
pub(super) fn spoken(connection: &Connection) -> Protocol {
    if connection.transaction_version() >= 2 && connection.offers(END_TXN_2) {
        Protocol::Second
    } else {
        Protocol::First
    }
}

/// Returns the most specific code among partitions that were not added, and its topic. Often all codes but one are
/// OPERATION_NOT_ATTEMPTED.
fn worst(answered: &[super::requests::Answered]) -> Option<(Code, &str)> {
    let refused = || answered.iter().filter(|added| added.code != Code::NONE);
    refused()
        .find(|added| added.code != Code::OPERATION_NOT_ATTEMPTED)
        .or_else(|| refused().next())
        .map(|added| (added.code, added.topic.as_str()))
}

/// Returns `true` if the request may have been sent, and was not answered. If the connection did not open, it was not
/// sent.
pub(super) fn is_unanswered(error: &WireError, api: Api) -> bool {
    match error {
        WireError::Lost { request, .. }
        | WireError::Silent { request, .. }
        | WireError::Malformed { request, .. } => *request == api.name,
        _ => false,
    }
}

/// Returns the failure to report. An earlier failure explains more than an answer that did not come before the
/// deadline.
pub(super) fn more_telling(
    before: Option<WireError>,
    last: WireError,
    deadline: &Deadline,
) -> WireError {
    let is_cut_short = matches!(last, WireError::Silent { .. }) && deadline.is_over();
    before.filter(|_| is_cut_short).unwrap_or(last)
}

fn wait(pause: &mut Duration, deadline: &Deadline) {
    deadline.pause(*pause);
    *pause = (*pause * 2).min(LAST_PAUSE);
}
