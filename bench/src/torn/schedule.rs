//! A schedule: one publisher commits a few transactions, as the job does, while the proxy troubles its requests.
//!
//! It sends records that were not published again with the same publisher. After a commit that may have happened, it
//! opens the publisher again, whose progress shows the outcome. The last transaction meets no new faults, but ends that
//! are still held arrive in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use record_log::progress::{number_of, of_number};
use record_log::{Delivery, LogError, NewRecord, PublishError, Publisher, RecordLog, open};
use stream_cli::Client;

use super::fate::Fate;
use super::faults::{Ends, Faults};
use super::proxy::KafkaProxy;
use super::rows::{NumberedRow, TRANSACTIONS};

/// The time after which a schedule counts as stuck.
const LIMIT: Duration = Duration::from_secs(240);
/// The time limit of a request. It equals that of the native publisher, whose limit is not a property.
const REQUEST_LIMIT_MS: &str = "5000";

/// The refusal of a record whose sequence number is too great. The client numbers its records, so it goes on in an epoch
/// of which it has left out a number, and in which an end that is held back decides a later transaction.
const OUT_OF_ORDER: &str = "OUT_OF_ORDER_SEQUENCE_NUMBER";

/// The place in which schedules run.
pub struct Place<'a> {
    pub proxy: &'a KafkaProxy,
    pub client: Client,
    pub topic: &'a str,
    /// Part of the names of publishers, so that no two runs share one.
    pub run: &'a str,
}

/// The outcome of a schedule.
#[derive(Debug)]
pub struct Outcome {
    pub schedule: u64,
    pub counts: Counts,
    pub ends: Ends,
    /// The faults that were met: the key of the request, its number, its fate.
    pub met: Vec<(i16, u64, Fate)>,
    /// The number of requests of an open publisher that fenced its own id.
    pub fencing: u64,
    /// The reason why the schedule was given up; none if every transaction was committed.
    pub given_up: Option<String>,
}

/// The number of calls with each outcome.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub committed: u64,
    pub not_published: u64,
    /// Those among the former whose records had a sequence number that a broker did not expect.
    pub out_of_order: u64,
    pub in_doubt: u64,
    pub fenced: u64,
    pub refused: u64,
}

/// A schedule that runs.
struct Running<'a> {
    place: &'a Place<'a>,
    schedule: u64,
    id: String,
    log: Arc<dyn RecordLog>,
    deadline: Instant,
    attempts: u64,
    counts: Counts,
}

impl Place<'_> {
    /// Runs the schedule of this number, which is also its seed.
    pub fn run(&self, schedule: u64) -> Outcome {
        let id = format!("torn-{}-{schedule}", self.run);
        let faults = Faults::new(schedule);
        self.proxy.begin(&id, &faults);
        let finished = self
            .open_log(&id)
            .map_err(|error| error.to_string())
            .map(|log| Running {
                place: self,
                schedule,
                id: id.clone(),
                log,
                deadline: Instant::now() + LIMIT,
                attempts: 0,
                counts: Counts::default(),
            });

        let (counts, given_up) = match finished {
            Ok(mut running) => {
                let run = running.run(&faults);
                (running.counts, run.err())
            }
            Err(error) => (Counts::default(), Some(error)),
        };

        let ends = faults.finish();
        self.proxy.end(&id);
        Outcome {
            schedule,
            counts,
            ends,
            met: faults.met(),
            fencing: faults.fencing(),
            given_up,
        }
    }

    /// Opens a log whose requests carry the name of the schedule.
    fn open_log(&self, id: &str) -> Result<Arc<dyn RecordLog>, LogError> {
        let mut properties = vec![("client.id", id), ("socket.timeout.ms", REQUEST_LIMIT_MS)];
        if self.client == Client::Rdkafka {
            // Each row is a batch, and so a request, of its own, and leaves at once.
            properties.extend([("batch.num.messages", "1"), ("linger.ms", "0")]);
        }

        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let properties = properties.into_iter().map(owned).collect();
        let brokers = format!("127.0.0.1:{}", self.proxy.port());
        open(&self.client.settings(brokers, properties))
    }
}

impl Running<'_> {
    /// Commits all transactions.
    ///
    /// # Errors
    /// The reason why the schedule was given up.
    fn run(&mut self, faults: &Faults) -> Result<(), String> {
        let mut publisher = self.open(0, faults)?;
        faults.set(true);
        while self.counts.committed <= TRANSACTIONS {
            if self.counts.committed == TRANSACTIONS {
                faults.set(false);
            }

            let next = self.counts.committed + 1;
            match self.transact(&mut *publisher, next) {
                Ok(()) => self.counts.committed = next,
                Err(PublishError::NotPublished(cause)) => {
                    self.counts.not_published += 1;
                    let is_out_of_order = cause.to_string().contains(OUT_OF_ORDER);
                    self.counts.out_of_order += u64::from(is_out_of_order);
                    self.check_time(&cause.to_string())?;
                }
                Err(error) => {
                    self.count(&error);
                    self.check_time(&error.to_string())?;
                    drop(publisher);
                    publisher = self.open(self.counts.committed, faults)?;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, error: &PublishError) {
        let counter = match error {
            PublishError::MayHaveHappened(_) => &mut self.counts.in_doubt,
            PublishError::Fenced { .. } => &mut self.counts.fenced,
            _ => &mut self.counts.refused,
        };
        *counter += 1;
    }

    /// Opens the publisher, and takes over its progress.
    fn open(&mut self, committed: u64, faults: &Faults) -> Result<Box<dyn Publisher>, String> {
        faults.set_opening(true);
        let publisher = loop {
            match self.log.publisher(&self.id, Delivery::Transactional) {
                Ok(publisher) => break publisher,
                Err(error) if error.is_transient() => self.check_time(&error.to_string())?,
                Err(error) => return Err(format!("the publisher cannot be opened: {error}")),
            }
        };
        faults.set_opening(false);

        let progress = publisher.progress().map_or(Ok(0), number_of);
        let progress = progress.map_err(|error| error.to_string())?;
        if progress != committed && progress != committed + 1 {
            return Err(format!(
                "the progress is {progress} after {committed} commits"
            ));
        }
        self.counts.committed = progress;
        Ok(publisher)
    }

    fn check_time(&self, reason: &str) -> Result<(), String> {
        if Instant::now() < self.deadline {
            return Ok(());
        }
        Err(format!("it is stuck: {reason}"))
    }

    fn transact(&mut self, publisher: &mut dyn Publisher, number: u64) -> Result<(), PublishError> {
        self.attempts += 1;
        for place in 0..NumberedRow::count(number) {
            let row = NumberedRow {
                schedule: self.schedule,
                transaction: number,
                attempt: self.attempts,
                place,
            };
            publisher.send(NewRecord {
                topic: self.place.topic,
                partition: Some(row.partition()),
                key: None,
                value: Some(row.value().as_bytes()),
                headers: &[],
            })?;
        }
        publisher.commit(&of_number(number))
    }
}
