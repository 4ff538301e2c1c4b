//! Publishing to Kafka.
//!
//! The first record after a commit begins a transaction. Its states:
//!
//! ```text
//! idle ──send──▶ open ──commit──▶ idle
//!                 │ ▲
//!   abortable     ▼ │ aborted by the next call
//!               broken                      fenced, or the outcome unknown ──▶ spent: open the publisher again
//! ```
//!
//! librdkafka decides which errors are retriable, abortable or fatal. A record that was not
//! delivered makes the transaction abortable, so its commit fails. Without transactions, the commit
//! checks the delivery reports.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::ptr::NonNull;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

use super::admin::Limits;
use super::client::{Client, Failure, Role, c_string, millis};
use super::errors::{self, About};
use super::native::produce;
use super::progress::{PROGRESS_TOPIC, record};
use super::settings::Settings;
use crate::{Cause, Delivery, LogError, NewRecord, PublishError, Publisher, Refusal, progress};

/// The longest time that opening, sending, committing and aborting wait for the brokers. It equals
/// the longest life of a transaction.
const LIMIT: Duration = Duration::from_secs(15);
/// The longest time that fencing waits before it checks for a refusal.
const INIT_STEP: Duration = Duration::from_secs(2);
/// librdkafka's own limit of a batch of records.
const BATCH_BYTES: usize = 1_000_000;
/// The longest wait for space in a full buffer before the next attempt.
const BUFFER_WAIT: Duration = Duration::from_millis(20);

pub(super) struct KafkaPublisher {
    id: String,
    delivery: Delivery,
    progress: Option<Vec<u8>>,
    state: State,
    topics: HashMap<String, TopicHandle>,
    limits: Limits,
    /// The age at which brokers abort a transaction.
    timeout: Duration,
    /// The beginning of the last transaction.
    begun_at: Option<Instant>,
    client: Client,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Idle,
    Open,
    /// The transaction must be aborted before any other operation.
    Broken,
    Fenced,
    /// This client cannot be used any more.
    Spent,
}

/// A topic's handle, destroyed by the publisher.
struct TopicHandle(NonNull<sys::rd_kafka_topic_t>);

// SAFETY: librdkafka's handles may be used from any thread; the publisher uses them from one at a
// time.
unsafe impl Send for KafkaPublisher {}

/// The reason why nothing can be sent.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the publisher cannot be used any more: open it again")]
    Spent,
    #[error("the buffer stayed full for {} s", LIMIT.as_secs())]
    BufferFull,
}

impl KafkaPublisher {
    /// Fences earlier holders and lets the brokers abort their open transactions. The progress is
    /// read after that.
    fn open(
        settings: &Settings,
        limits: &Limits,
        id: &str,
        delivery: Delivery,
    ) -> Result<Self, LogError> {
        let mut config = match delivery {
            Delivery::Transactional => settings.transactional(id),
            Delivery::AtLeastOnce => settings.at_least_once(),
        };

        // A batch is refused as a whole: it must fit the topic with the smallest limit.
        if let Some(smallest) = limits.smallest() {
            config.set("batch.size", smallest.min(BATCH_BYTES).to_string());
        }

        let timeout = config.get("transaction.timeout.ms");
        let timeout = timeout.and_then(|text| text.parse().ok());
        let client = Client::new(Role::Publisher, &config)?;
        if delivery == Delivery::Transactional {
            init_transactions(&client, id)?;
        }

        Ok(Self {
            id: id.to_owned(),
            delivery,
            progress: None,
            state: State::Idle,
            topics: HashMap::new(),
            limits: limits.clone(),
            timeout: timeout.map_or(LIMIT, Duration::from_millis),
            begun_at: None,
            client,
        })
    }

    /// Sets the progress, which is read after the publisher was opened.
    pub(super) fn set_progress(&mut self, progress: Option<Vec<u8>>) {
        self.progress = progress;
    }

    fn is_transactional(&self) -> bool {
        self.delivery == Delivery::Transactional
    }

    /// Begins a transaction if the publisher is transactional and none is open.
    fn begin(&mut self) -> Result<(), PublishError> {
        if self.state == State::Broken {
            self.abort()?;
        }

        match self.state {
            State::Idle if self.is_transactional() => {
                // SAFETY: the client is live; the error it returns is ours.
                let begun =
                    unsafe { Failure::check(sys::rd_kafka_begin_transaction(self.client.raw())) };
                begun.map_err(|failure| self.failed(failure))?;
                self.begun_at = Some(Instant::now());
                self.state = State::Open;
                Ok(())
            }
            State::Idle | State::Open => Ok(()),
            State::Fenced => Err(PublishError::Fenced {
                id: self.id.clone(),
            }),
            State::Broken | State::Spent => {
                Err(PublishError::NotPublished(Box::new(Unusable::Spent)))
            }
        }
    }

    /// Aborts the broken transaction, so that the next one can begin.
    fn abort(&mut self) -> Result<(), PublishError> {
        // SAFETY: the client is live; the error it returns is ours.
        let aborted = self.retry(|client| unsafe {
            Failure::check(sys::rd_kafka_abort_transaction(client.raw(), millis(LIMIT)))
        });

        match aborted {
            Ok(()) => {
                self.state = State::Idle;
                // Undelivered records belong to the aborted transaction.
                drop(self.client.take_undelivered());
                Ok(())
            }
            // While the brokers still write the end of the last transaction, they answer CONCURRENT_TRANSACTIONS to the request that
            // adds a partition. librdkafka then ends a transaction that has none, is refused with INVALID_TXN_STATE, and counts
            // that as fatal (librdkafka #4849). Only a new client helps.
            Err(failure) if failure.is_fatal => Err(self.end(failure)),
            Err(failure) => Err(self.failed(failure)),
        }
    }

    /// Repeats the call within the limit, as long as librdkafka marks its error as retriable.
    fn retry(&self, call: impl Fn(&Client) -> Result<(), Failure>) -> Result<(), Failure> {
        let deadline = Instant::now() + LIMIT;
        loop {
            match call(&self.client) {
                Err(failure) if failure.is_retriable && Instant::now() < deadline => {
                    self.client.serve(BUFFER_WAIT);
                }
                outcome => return outcome,
            }
        }
    }

    /// Returns the refusal behind a fatal error: one that came before the client had an id from the
    /// brokers, or because a right was taken away. Fencing is not a refusal.
    fn fatal_refusal(&self) -> Option<Refusal> {
        let code = self
            .client
            .fatal_error()
            .filter(|code| !errors::is_fencing(*code))?;
        let topics = self.topic_names();
        let about = About::Publisher {
            id: &self.id,
            topics: &topics,
        };
        errors::refusal(code, about)
    }

    /// Classifies a failure before the commit.
    fn not_published(&mut self, cause: impl Into<Cause>) -> PublishError {
        if let Some(refusal) = self.fatal_refusal() {
            self.state = State::Spent;
            return PublishError::Refused(refusal);
        }
        if let Some(code) = self.client.fatal_error() {
            return self.end(code);
        }

        if self.state == State::Open {
            self.state = State::Broken;
        }

        // The delivery report of a record has more detail than the error of the transaction that it
        // broke.
        self.client.serve(Duration::ZERO);
        match self.client.take_undelivered() {
            Some(undelivered) => match undelivered.refusal() {
                Some(refusal) => PublishError::Refused(refusal),
                None => {
                    let explained = self.client.explained(undelivered, self.topics.keys());
                    PublishError::NotPublished(Box::new(explained))
                }
            },
            None => PublishError::NotPublished(cause.into()),
        }
    }

    /// Returns the topics that were written to, in quotes; the topic of progress comes last.
    fn topic_names(&self) -> Vec<String> {
        let mut names: Vec<&String> = self.topics.keys().collect();
        names.sort_unstable_by_key(|name| (*name == PROGRESS_TOPIC, *name));
        names.iter().map(|name| format!("{name:?}")).collect()
    }

    /// Classifies a failure of a call of librdkafka before the commit.
    fn failed(&mut self, failure: Failure) -> PublishError {
        let topics = self.topic_names();
        let about = About::Publisher {
            id: &self.id,
            topics: &topics,
        };
        let reason = errors::refusal(failure.code, about);
        // librdkafka names the topic.
        let refusal = reason.map(|reason| Refusal::new(format!("{reason} ({failure})")));

        let cause = failure.explained(&self.client, self.topics.keys());
        match (self.not_published(cause), refusal) {
            (PublishError::NotPublished(_), Some(refusal)) => PublishError::Refused(refusal),
            (error, _) => error,
        }
    }

    /// Returns the error of a failure after which the client cannot be used. The progress that is
    /// read when the publisher is opened again shows if the transaction was committed.
    fn end(&mut self, cause: impl Into<Cause>) -> PublishError {
        let is_fenced = self.client.fatal_error().is_some_and(errors::is_fencing);
        if is_fenced && !self.may_be_timed_out() {
            self.state = State::Fenced;
            return PublishError::Fenced {
                id: self.id.clone(),
            };
        }

        self.state = State::Spent;
        PublishError::MayHaveHappened(cause.into())
    }

    /// Returns `true` if the brokers may have aborted the transaction at its time-out. They then
    /// refuse its publisher as if a newer holder of the id had fenced it. Opening the publisher
    /// again shows which of the two happened.
    fn may_be_timed_out(&self) -> bool {
        let oldest = self.timeout - self.timeout / 3;
        self.begun_at
            .is_some_and(|begun_at| begun_at.elapsed() >= oldest)
    }

    fn enqueue(&mut self, record: &NewRecord<'_>) -> Result<(), PublishError> {
        self.limits.of(record.topic).check(record)?;
        let topic = self.topic(record.topic)?;
        let deadline = Instant::now() + LIMIT;

        loop {
            let produced = produce(&self.client, topic, record)
                .map_err(|header| Refusal::new(header.to_string()))?;
            match produced {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR => return Ok(()),
                Code::RD_KAFKA_RESP_ERR__QUEUE_FULL if Instant::now() < deadline => {
                    self.client.serve(BUFFER_WAIT);
                }
                Code::RD_KAFKA_RESP_ERR__QUEUE_FULL => {
                    return Err(PublishError::NotPublished(Box::new(Unusable::BufferFull)));
                }
                code => {
                    let code = RDKafkaErrorCode::from(code);
                    let about = About::Topic {
                        right: "WRITE",
                        topic: record.topic,
                    };
                    return Err(errors::log_error(Some(code), about, code).into());
                }
            }
        }
    }

    fn topic(&mut self, name: &str) -> Result<NonNull<sys::rd_kafka_topic_t>, LogError> {
        if let Some(topic) = self.topics.get(name) {
            return Ok(topic.0);
        }

        let topic = self.client.topic(&c_string(name)?);
        let topic = topic.map_err(|code| LogError::Unavailable(Box::new(code)))?;
        self.topics.insert(name.to_owned(), TopicHandle(topic));

        Ok(topic)
    }

    /// Adds the progress to the records to be published.
    fn enqueue_progress(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        let id = self.id.clone();
        self.enqueue(&record(&id, progress))
    }

    fn commit_transaction(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        self.begin()?;
        self.enqueue_progress(progress)
            .map_err(|error| self.not_sent(error))?;

        // SAFETY: the client is live; the error it returns is ours.
        let committed = self.retry(|client| unsafe {
            Failure::check(sys::rd_kafka_commit_transaction(
                client.raw(),
                millis(LIMIT),
            ))
        });

        match committed {
            Ok(()) => self.state = State::Idle,
            Err(failure) if failure.requires_abort => return Err(self.failed(failure)),
            Err(failure) => return Err(self.end(failure)),
        }

        Ok(())
    }

    /// Publishes the records, and the progress after them.
    fn publish(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        self.begin()?;
        self.flush()?;
        self.enqueue_progress(progress)
            .map_err(|error| self.maybe(error))?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), PublishError> {
        // SAFETY: the client is live.
        let code = unsafe { sys::rd_kafka_flush(self.client.raw(), millis(LIMIT)) };
        if let Some(undelivered) = self.client.take_undelivered() {
            if let Some(refusal) = undelivered.refusal() {
                self.state = State::Spent;
                return Err(PublishError::Refused(refusal));
            }
            let explained = self.client.explained(undelivered, self.topics.keys());
            return Err(self.maybe(explained));
        }

        if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(self.maybe(RDKafkaErrorCode::from(code)));
        }

        Ok(())
    }

    /// Returns the error for a record that could not be sent; everything since the last commit must
    /// be sent again.
    fn not_sent(&mut self, error: PublishError) -> PublishError {
        match error {
            PublishError::NotPublished(cause) => self.not_published(cause),
            error => {
                if self.state == State::Open {
                    self.state = State::Broken;
                }
                error
            }
        }
    }

    /// Returns the error of a failed commit without transactions: some records may be published and
    /// others not.
    fn maybe(&mut self, cause: impl Into<Cause>) -> PublishError {
        self.state = State::Spent;
        if let Some(refusal) = self.fatal_refusal() {
            return PublishError::Refused(refusal);
        }

        PublishError::MayHaveHappened(cause.into())
    }
}

impl Publisher for KafkaPublisher {
    fn progress(&self) -> Option<&[u8]> {
        self.progress.as_deref()
    }

    fn send(&mut self, record: NewRecord<'_>) -> Result<(), PublishError> {
        self.begin()?;
        self.enqueue(&record).map_err(|error| self.not_sent(error))
    }

    fn commit(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        if let Err(refused) = progress::check(progress) {
            return Err(self.not_sent(refused.into()));
        }

        if self.is_transactional() {
            self.commit_transaction(progress)
        } else {
            self.publish(progress)
        }?;

        self.progress = Some(progress.to_vec());
        Ok(())
    }
}

impl Drop for KafkaPublisher {
    fn drop(&mut self) {
        for topic in self.topics.values() {
            // SAFETY: the handle is live and not used after; the client is dropped after this.
            unsafe { sys::rd_kafka_topic_destroy(topic.0.as_ptr()) };
        }
    }
}

/// Opens the publishers of all these ids, each on a thread, because fencing waits for the brokers.
pub(super) fn open_all(
    settings: &Settings,
    limits: &Limits,
    ids: &[&str],
    delivery: Delivery,
) -> Result<Vec<KafkaPublisher>, LogError> {
    thread::scope(|scope| {
        let opening: Vec<_> = ids
            .iter()
            .map(|id| scope.spawn(|| KafkaPublisher::open(settings, limits, id, delivery)))
            .collect();
        opening
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

fn init_transactions(client: &Client, id: &str) -> Result<(), LogError> {
    let deadline = Instant::now() + LIMIT;
    loop {
        // SAFETY: the client is live; the error it returns is ours.
        let outcome = unsafe {
            Failure::check(sys::rd_kafka_init_transactions(
                client.raw(),
                millis(INIT_STEP),
            ))
        };
        let Err(failure) = outcome else { return Ok(()) };
        client.serve(BUFFER_WAIT);

        let about = About::Publisher { id, topics: &[] };
        if client.is_stranger() {
            let code = Some(RDKafkaErrorCode::Authentication);
            return Err(errors::log_error(code, about, failure));
        }

        let may_pass = failure.is_retriable && errors::refusal(failure.code, about).is_none();
        if !may_pass || Instant::now() >= deadline {
            return Err(errors::log_error(Some(failure.code), about, failure));
        }
    }
}
