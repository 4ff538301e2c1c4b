//! The coordinator of transactions, with the states and the rules of Kafka 4.1 (`TransactionCoordinator`,
//! `TransactionMetadata`) under both protocols.
//!
//! ```text
//! empty, complete ──a partition is added──▶ ongoing ──EndTxn, time-out, InitProducerId──▶ prepared ──markers──▶ complete
//! ```
//!
//! Under the second protocol each end begins an epoch; the end of the epoch before is recognized as long as no
//! transaction has begun since.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Event, Marker, Place};
use super::machine::Machine;
use super::partition::{Ending, Produced};
use crate::native::api::Code;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Status {
    Empty,
    Ongoing,
    Prepared(Ending),
    Complete(Ending),
}

/// A transactional id.
#[derive(Debug)]
pub(super) struct Transactions {
    pub producer: i64,
    pub epoch: i16,
    last_epoch: i16,
    pub status: Status,
    partitions: BTreeSet<Place>,
    unmarked: BTreeSet<Place>,
    timeout_us: u64,
    begun_us: u64,
}

/// The fields of a request that identify the publisher.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub id: &'a str,
    pub producer: i64,
    pub epoch: i16,
}

#[derive(Default)]
pub(super) struct Coordinator {
    pub all: BTreeMap<String, Transactions>,
    pub is_second_protocol: bool,
    next_producer: i64,
}

const NO_EPOCH: i16 = -1;

impl Coordinator {
    pub fn new(is_second_protocol: bool) -> Self {
        Self {
            is_second_protocol,
            ..Self::default()
        }
    }

    /// Returns the next epoch, unless a transaction is being ended. An open one is aborted.
    pub fn identify(
        &mut self,
        named: Named<'_>,
        timeout_us: u64,
        machine: &mut Machine,
    ) -> Result<(i64, i16), Code> {
        if !self.all.contains_key(named.id) {
            self.next_producer += 1;
            let new = Transactions::new(1_000 + self.next_producer);
            self.all.insert(named.id.to_owned(), new);
        }

        let known = self.all.get_mut(named.id).unwrap();
        known.timeout_us = timeout_us;
        let is_expected = named.producer >= 0;
        if is_expected && known.epoch != NO_EPOCH && named.producer != known.producer {
            return Err(Code::PRODUCER_FENCED);
        }

        match known.status {
            Status::Prepared(_) => Err(Code::CONCURRENT_TRANSACTIONS),
            Status::Ongoing => {
                self.abort_from_here(named.id, machine);
                Err(Code::CONCURRENT_TRANSACTIONS)
            }
            Status::Empty | Status::Complete(_) => {
                let is_new = known.epoch == NO_EPOCH;
                if !is_expected || is_new || named.epoch == known.epoch {
                    known.last_epoch = if is_expected { known.epoch } else { NO_EPOCH };
                    known.epoch += 1;
                } else if named.epoch != known.last_epoch {
                    return Err(Code::PRODUCER_FENCED);
                }
                known.status = Status::Empty;
                Ok((known.producer, known.epoch))
            }
        }
    }

    /// Aborts an open transaction in a new epoch, without a request of its publisher.
    fn abort_from_here(&mut self, id: &str, machine: &mut Machine) {
        let known = self.all.get_mut(id).unwrap();
        known.epoch += 1;
        known.last_epoch = NO_EPOCH;
        Self::prepare(id, known, Ending::Abort, machine);
    }

    pub fn time_out(&mut self, id: &str, begun_us: u64, machine: &mut Machine) {
        let known = &self.all[id];
        if known.status == Status::Ongoing && known.begun_us == begun_us {
            self.abort_from_here(id, machine);
        }
    }

    /// Adds partitions to the publisher's transaction, which begins with the first of them.
    pub fn add(
        &mut self,
        named: Named<'_>,
        places: &[Place],
        machine: &mut Machine,
    ) -> Result<(), Code> {
        let known = self.known(named)?;
        if named.epoch != known.epoch {
            return Err(Code::PRODUCER_FENCED);
        }
        if let Status::Prepared(_) = known.status {
            return Err(Code::CONCURRENT_TRANSACTIONS);
        }

        known.partitions.extend(places);
        if known.status == Status::Ongoing {
            return Ok(());
        }
        known.status = Status::Ongoing;
        known.begun_us = machine.now_us();
        let late_us = machine.draw(1_000_000);
        let time_out = Event::TimeOut {
            id: named.id.to_owned(),
            begun_us: known.begun_us,
        };
        machine.after(known.timeout_us + late_us, time_out);
        Ok(())
    }

    /// Checks that a batch may begin the producer's transaction in a partition that was added before.
    pub fn verify(&mut self, id: &str, producer: Produced, place: Place) -> Result<(), Code> {
        let named = Named {
            id,
            producer: producer.id,
            epoch: producer.epoch,
        };
        let known = self.known(named)?;
        if producer.epoch != known.epoch {
            return Err(Code::INVALID_PRODUCER_EPOCH);
        }
        match known.status {
            Status::Prepared(_) => Err(Code::NOT_ENOUGH_REPLICAS),
            Status::Ongoing if known.partitions.contains(&place) => Ok(()),
            _ => Err(Code::INVALID_TXN_STATE),
        }
    }

    /// Ends a transaction. Returns the publisher's epoch from then on.
    pub fn end(
        &mut self,
        named: Named<'_>,
        ending: Ending,
        machine: &mut Machine,
    ) -> Result<(i64, i16), Code> {
        let is_second = self.is_second_protocol;
        let known = self.known(named)?;
        let is_repeated = is_second
            && known.epoch == named.epoch + 1
            && matches!(known.status, Status::Prepared(_) | Status::Complete(_));
        if known.epoch != named.epoch && !is_repeated {
            return Err(Code::PRODUCER_FENCED);
        }

        let before = known.status;
        match before {
            Status::Ongoing => {}
            Status::Prepared(prepared) if prepared == ending => {
                return Err(Code::CONCURRENT_TRANSACTIONS);
            }
            Status::Complete(done) if done == ending && (is_repeated || !is_second) => {
                return Ok((known.producer, known.epoch));
            }
            // Under the second protocol a publisher may end a transaction to which no partition was added.
            Status::Empty | Status::Complete(_)
                if is_second && ending == Ending::Abort && !is_repeated => {}
            _ => return Err(Code::INVALID_TXN_STATE),
        }

        if is_second {
            known.last_epoch = known.epoch;
            known.epoch += 1;
        }
        Self::prepare(named.id, known, ending, machine);
        Ok((known.producer, known.epoch))
    }

    fn known(&mut self, named: Named<'_>) -> Result<&mut Transactions, Code> {
        let known = self.all.get_mut(named.id);
        known
            .filter(|known| known.producer == named.producer)
            .ok_or(Code::INVALID_PRODUCER_ID_MAPPING)
    }

    /// Begins the end of a transaction: markers are written to all partitions, each after a while.
    fn prepare(id: &str, known: &mut Transactions, ending: Ending, machine: &mut Machine) {
        known.unmarked = std::mem::take(&mut known.partitions);
        known.status = match known.unmarked.is_empty() {
            true => Status::Complete(ending),
            false => Status::Prepared(ending),
        };
        for place in &known.unmarked {
            let delay_us = match machine.draw(20) {
                0 => machine.draw(500_000),
                _ => machine.draw(3_000),
            };
            let marker = Marker {
                id: id.to_owned(),
                place: *place,
                producer: known.producer,
                epoch: known.epoch,
                ending,
            };
            machine.after(delay_us, Event::Marker(marker));
        }
    }

    /// Notes that a marker is written and replicated.
    pub fn marked(&mut self, marker: &Marker) {
        let known = self.all.get_mut(&marker.id).unwrap();
        known.unmarked.remove(&marker.place);
        if known.unmarked.is_empty() {
            known.status = Status::Complete(marker.ending);
        }
    }
}

impl Transactions {
    fn new(producer: i64) -> Self {
        Self {
            producer,
            epoch: NO_EPOCH,
            last_epoch: NO_EPOCH,
            status: Status::Empty,
            partitions: BTreeSet::new(),
            unmarked: BTreeSet::new(),
            timeout_us: 0,
            begun_us: 0,
        }
    }
}
