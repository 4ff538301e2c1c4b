//! Publishes to the simulated log.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fault::{Fault, Simulated};
use super::staged::Staged;
use super::store::Opened;
use super::{Call, SimulatedLog};
use crate::{Delivery, NewRecord, PublishError, Publisher, Refusal, progress};

pub(super) struct SimulatedPublisher {
    log: SimulatedLog,
    id: String,
    delivery: Delivery,
    opened: Opened,
    staged: Vec<Staged>,
    turn: u32,
}

impl SimulatedPublisher {
    pub(super) fn new(log: SimulatedLog, id: &str, delivery: Delivery, opened: Opened) -> Self {
        Self {
            log,
            id: id.to_owned(),
            delivery,
            opened,
            staged: Vec::new(),
            turn: 0,
        }
    }

    /// Runs the effect according to the plan. A fault drops the staged records; the caller must
    /// send them again.
    fn run(
        &mut self,
        fault: Fault,
        refusal: Refusal,
        effect: impl FnOnce(&mut Self) -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        match fault {
            Fault::None => effect(self),
            Fault::Unavailable => Err(self.give_up()),
            Fault::Refused => {
                self.staged.clear();
                Err(PublishError::Refused(refusal))
            }
            Fault::LoseReply => {
                effect(self).and_then(|()| Err(PublishError::MayHaveHappened(Box::new(Simulated))))
            }
            Fault::CrashBefore => self.log.process.crash(),
            Fault::CrashAfter => {
                // The process has crashed, so the result of the effect has no receiver.
                drop(effect(self));
                self.log.process.crash()
            }
        }
    }

    fn give_up(&mut self) -> PublishError {
        self.staged.clear();
        PublishError::NotPublished(Box::new(Simulated))
    }

    fn fence(&self) -> Result<(), PublishError> {
        if self.delivery == Delivery::AtLeastOnce
            || self.log.store().is_newest(&self.id, self.opened.epoch)
        {
            return Ok(());
        }
        Err(PublishError::Fenced {
            id: self.id.clone(),
        })
    }

    fn stage(&mut self, record: &NewRecord<'_>) -> Result<(), PublishError> {
        self.fence()?;
        let topic = self
            .log
            .store()
            .topic(record.topic)
            .map(|topic| (topic.partitions(), topic.settings.record_limit));

        let staged = topic
            .map_err(PublishError::from)
            .and_then(|(partitions, limit)| {
                limit.check(record)?;
                let topic = Arc::from(record.topic);
                Staged::new(record, topic, partitions, &mut self.turn)
                    .map_err(PublishError::NotPublished)
            });

        match staged {
            Ok(staged) if self.delivery == Delivery::Transactional => self.staged.push(staged),
            Ok(staged) => self.append_now(staged),
            Err(refused) => {
                self.staged.clear();
                return Err(refused);
            }
        }

        Ok(())
    }

    fn append_now(&self, staged: Staged) {
        let topic = Arc::clone(&staged.topic);
        let mut store = self.log.store();
        store.append([staged], (self.log.shared.now_ms)());
        drop(store);
        self.log.shared.wakes.raise(|grew| *grew == *topic);
    }

    fn publish(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        let staged = std::mem::take(&mut self.staged);
        let touched: BTreeSet<_> = staged
            .iter()
            .map(|record| (Arc::clone(&record.topic), record.partition))
            .collect();

        {
            // The clock is read under the lock: an end that is dated under it covers all records
            // stamped before.
            let mut store = self.log.store();
            let now_ms = (self.log.shared.now_ms)();
            if self.delivery == Delivery::Transactional
                && !store.is_newest(&self.id, self.opened.epoch)
            {
                return Err(PublishError::Fenced {
                    id: self.id.clone(),
                });
            }

            store.append(staged, now_ms);
            store.mark(touched.iter().cloned());
            store.remember_progress(&self.id, progress);
        }

        self.opened.progress = Some(progress.to_vec());
        self.log
            .shared
            .wakes
            .raise(|topic| touched.iter().any(|(grew, _)| **grew == *topic));

        Ok(())
    }
}

impl Publisher for SimulatedPublisher {
    fn progress(&self) -> Option<&[u8]> {
        self.opened.progress.as_deref()
    }

    fn send(&mut self, record: NewRecord<'_>) -> Result<(), PublishError> {
        let call = Call::Send {
            id: &self.id,
            topic: record.topic,
        };
        let fault = self.log.process.fault(&call);
        let refusal = call.refusal();

        match (fault, self.delivery) {
            // A sent record is only staged, so a lost reply is the same as a failure.
            (Fault::LoseReply, Delivery::Transactional) => Err(self.give_up()),
            _ => self.run(fault, refusal, |publisher| publisher.stage(&record)),
        }
    }

    fn commit(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        if let Err(refused) = progress::check(progress) {
            self.staged.clear();
            return Err(refused.into());
        }

        let call = Call::Commit {
            id: &self.id,
            progress,
        };
        let fault = self.log.process.fault(&call);
        let refusal = call.refusal();
        self.run(fault, refusal, |publisher| publisher.publish(progress))
    }
}
