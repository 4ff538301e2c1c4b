//! A member of a Kafka consumer group, for the assignment of partitions alone.
//!
//! The member is a client of librdkafka that subscribes to the topic. Kafka's protocol of consumer
//! groups assigns the partitions (cooperative: those that stay are not interrupted). The assigned
//! partitions are paused before anything is fetched, and the client commits nothing.
//!
//! The group has a name of its own, `<group>.<topic>.members`. Positions stay in `<group>`, which
//! has no members. A group with members accepts positions from these alone, so a member that was
//! replaced could not store the position of the records that it has consumed.
//!
//! A revoked partition goes to its next owner after the call of `owned` that noted the revocation,
//! because librdkafka rejoins the group only then. So its positions are stored by then.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, TopicPartitionList};

use super::errors::{self, About};
use super::settings::Settings;
use crate::{LogError, Membership, Owned, Refusal, Wake};

/// A member of a group.
pub(super) struct KafkaMembership {
    group: String,
    consumer: BaseConsumer<Assignment>,
}

/// The partitions that the group has assigned to this member.
#[derive(Default)]
struct Assignment(Mutex<Assigned>);

#[derive(Default)]
struct Assigned {
    partitions: BTreeSet<u32>,
    /// Number of assignments and revocations so far.
    changes: u64,
    /// The reason why no partition is assigned, until one is.
    refused: Option<String>,
}

impl KafkaMembership {
    pub(super) fn join(settings: &Settings, group: &str, topic: &str) -> Result<Self, LogError> {
        let group = format!("{group}.{topic}.members");
        let mut config: ClientConfig = settings.member(&group);
        // Calls return the failures, so the client need not log them.
        config.set_log_level(RDKafkaLogLevel::Critical);

        let consumer: BaseConsumer<Assignment> = config
            .create_with_context(Assignment::default())
            .map_err(|refused| LogError::Settings(Box::new(refused)))?;
        consumer
            .subscribe(&[topic])
            .map_err(|error| LogError::Unavailable(Box::new(error)))?;

        Ok(Self { group, consumer })
    }

    /// Handles the assignments, revocations and errors that the client has received.
    fn serve(&self) -> Result<(), LogError> {
        loop {
            let before = self.assigned().changes;
            match self.consumer.poll(Duration::ZERO) {
                Some(Err(error)) => self.note(error)?,
                // A record that was fetched before its partition was paused. It is dropped: the
                // reader reads it, too.
                Some(Ok(_)) => {}
                None if self.assigned().changes == before => return Ok(()),
                None => {}
            }
        }
    }

    /// Keeps a refusal. librdkafka repairs all other errors by itself, unless they are fatal.
    fn note(&self, error: KafkaError) -> Result<(), LogError> {
        if let KafkaError::MessageConsumptionFatal(_) = error {
            return Err(LogError::Unavailable(Box::new(error)));
        }

        let about = About::Group { group: &self.group };
        let code = error.rdkafka_error_code();
        if let Some(refusal) = code.and_then(|code| errors::refusal(code, about)) {
            self.assigned().refused = Some(refusal.to_string());
        }
        Ok(())
    }

    fn assigned(&self) -> MutexGuard<'_, Assigned> {
        self.consumer.context().assigned()
    }
}

impl Membership for KafkaMembership {
    fn owned(&mut self) -> Result<Owned, LogError> {
        self.serve()?;
        let assigned = self.assigned();
        match &assigned.refused {
            Some(sentence) => Err(LogError::Refused(Refusal::new(sentence.clone()))),
            None => Ok(Owned::Only(assigned.partitions.clone())),
        }
    }

    fn on_change(&mut self, wake: Wake) {
        self.consumer.set_nonempty_callback(move || wake());
    }
}

impl Assignment {
    fn assigned(&self) -> MutexGuard<'_, Assigned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Assignment {}

impl ConsumerContext for Assignment {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut assigned = self.assigned();
        assigned.changes += 1;
        match rebalance {
            Rebalance::Assign(partitions) => {
                assigned.partitions.extend(numbers(partitions));
                assigned.refused = None;
            }
            Rebalance::Revoke(partitions) => {
                for partition in numbers(partitions) {
                    assigned.partitions.remove(&partition);
                }
            }
            Rebalance::Error(error) => tracing::warn!(%error, "partitions cannot be shared now"),
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance
            && let Err(error) = consumer.pause(partitions)
        {
            tracing::warn!(%error, "cannot pause the partitions of a member; their records are fetched and dropped");
        }
    }
}

fn numbers(partitions: &TopicPartitionList) -> impl Iterator<Item = u32> {
    let elements = partitions.elements();
    let numbers: Vec<u32> = elements
        .iter()
        .map(|element| element.partition().cast_unsigned())
        .collect();
    numbers.into_iter()
}
