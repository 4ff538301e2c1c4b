//! The rights of a job, each tried: sources are read, and sinks are added to a transaction that is
//! aborted.

use std::thread;
use std::time::{Duration, Instant};

use record_log::kafka::PROGRESS_TOPIC;
use record_log::native::{Examination, TrialError};
use record_log::{LogError, Polled, RecordLog};

use super::finding::{Checked, Fault, Owner};
use super::tool::{Resource, Right, Tool};
use super::topics::denied;

/// The time within which a fetch must show a right to read.
const LIMIT: Duration = Duration::from_secs(15);
/// The pause between polls of a reader.
const PAUSE: Duration = Duration::from_millis(20);

/// The trial.
pub struct Trial<'a> {
    pub kafka: &'a Examination,
    pub log: &'a dyn RecordLog,
    pub tool: &'a Tool,
    /// The topics that are read and exist.
    pub sources: Vec<&'a str>,
    /// The topics that are published to and exist.
    pub published: Vec<&'a str>,
    /// The beginning of the job's transactional ids; none if it publishes without transactions.
    pub ids: Option<String>,
}

/// The result of a trial of transactions, apart from rights.
#[derive(Debug, Default)]
pub struct Transactions {
    /// The reason why transactions cannot be used, unless it is a missing right.
    pub fault: Option<Fault>,
}

impl Trial<'_> {
    pub fn check(&self, mut known: Vec<Fault>) -> (Checked, Transactions) {
        let mut detail = Vec::new();
        let has_progress = self.published.contains(&PROGRESS_TOPIC);
        let read = self.sources.iter().copied();
        for topic in read.chain(has_progress.then_some(PROGRESS_TOPIC)) {
            match self.try_read(topic) {
                Ok(()) => detail.push(format!("READ on {topic}")),
                Err(fault) => known.push(fault),
            }
        }

        let former = Examination::former_progress_topic();
        match self.log.partitions(former) {
            Err(LogError::Refused(refusal)) => {
                let right = Right {
                    operation: "Describe",
                    resource: Resource::Topic(former),
                };
                known.push(denied(self.tool, right, &refusal.to_string()));
            }
            _ => detail.push(format!("DESCRIBE on {former}")),
        }

        let mut transactions = Transactions::default();
        if let Some(ids) = &self.ids {
            transactions = self.try_write(ids, &mut detail, &mut known);
        }

        let checked = Checked {
            detail: detail.join(", "),
            faults: known,
        };

        (checked, transactions)
    }

    fn try_read(&self, topic: &str) -> Result<(), Fault> {
        let right = Right {
            operation: "Read",
            resource: Resource::Topic(topic),
        };

        let fault = |error: &LogError| match error {
            LogError::Refused(refusal) => denied(self.tool, right, &refusal.to_string()),
            error => unread(topic, &error.to_string()),
        };

        let offsets = self.log.offsets(topic).map_err(|error| fault(&error))?;
        let Some(first) = offsets.first() else {
            return Err(unread(topic, "it has no partition"));
        };

        let mut reader = self
            .log
            .reader(topic, &[(0, first.end)])
            .map_err(|error| fault(&error))?;

        // The first end may be the answer to a request that needs no right to read. A later one follows a fetch.
        let mut first_end_ms = None;
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            match reader.poll(0, 1, &mut |_| ()) {
                Ok(polled) if polled.records > 0 => return Ok(()),
                Ok(Polled {
                    end_as_of_ms: Some(end_ms),
                    ..
                }) if end_ms > *first_end_ms.get_or_insert(end_ms) => return Ok(()),
                Err(error) if !error.is_transient() => return Err(fault(&error)),
                _ => thread::sleep(PAUSE),
            }
        }

        Err(unread(
            topic,
            "no broker answered a fetch, or a transaction of another publisher is open",
        ))
    }

    fn try_write(
        &self,
        ids: &str,
        detail: &mut Vec<String>,
        known: &mut Vec<Fault>,
    ) -> Transactions {
        let right = Right {
            operation: "Write",
            resource: Resource::TransactionalIds(ids),
        };

        let id = format!("{ids}doctor");
        let trial = match self.kafka.try_transaction(&id, &self.published) {
            Ok(trial) => trial,
            Err(TrialError::Denied(refusal)) => {
                known.push(denied(self.tool, right, &refusal.to_string()));
                return Transactions::default();
            }
            Err(error @ TrialError::TimeLimit(_)) => {
                return Transactions {
                    fault: Some(too_long(self.kafka.transaction_timeout(), &error)),
                };
            }
            Err(error @ TrialError::Failed(_)) => {
                let fault = Fault::failure(
                    Owner::Cluster,
                    "the health of the transaction coordinator",
                    error.to_string(),
                    "look into the brokers' logs, and try again",
                );
                return Transactions { fault: Some(fault) };
            }
        };

        for topic in &self.published {
            let refused = trial.refused.iter().find(|(refused, _)| refused == topic);
            let right = Right {
                operation: "Write",
                resource: Resource::Topic(topic),
            };
            match refused {
                None => detail.push(format!("WRITE on {topic}")),
                Some((_, refusal)) => known.push(denied(self.tool, right, &refusal.to_string())),
            }
        }

        detail.push(format!("WRITE on transactional ids {ids}*"));
        Transactions::default()
    }
}

fn unread(topic: &str, reason: &str) -> Fault {
    Fault::failure(
        Owner::Cluster,
        "the health of the brokers",
        format!("topic {topic:?} cannot be read: {reason}"),
        "look into the brokers' logs, and try again",
    )
}

fn too_long(timeout: Duration, error: &TrialError) -> Fault {
    let limit_ms = timeout.as_millis();
    Fault::failure(
        Owner::Job,
        "transaction.timeout.ms, or the brokers' transaction.max.timeout.ms",
        error.to_string(),
        format!(
            "--property transaction.timeout.ms=N below {limit_ms}, or raise transaction.max.timeout.ms at the brokers"
        ),
    )
}
