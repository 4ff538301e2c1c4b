//! Carries out the relay's actions, on a thread of its own because the log's calls block.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chassis::sql::{Database, Dialect};
use chassis::{Backoff, Shutdown, TRACEPARENT};
use record_log::{
    Cleanup, Delivery, LogError, NewRecord, PublishError, Publisher, RecordLog, Refusal, TopicSpec,
    progress,
};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use uuid::Uuid;

use super::outbox::{self, Lease, OutboxRow};
use super::{Action, Outcome, Relay, Rest};
use crate::metrics::RelayMetrics;

/// The publisher's id. The log fences by it and stores the progress under it.
const PUBLISHER: &str = "orders-relay";
const SOURCE: &[u8] = b"/orders";
const TOPIC_PARTITIONS: u32 = 4;
const TOPIC_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// Time limit of one SQL transaction.
const SQL_LIMIT: Duration = Duration::from_secs(10);
/// How long the relay runs after a shutdown request, so that accepted orders are published.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// The refusal that stops the relay, in one sentence; none while it can publish. Clones share it.
#[derive(Clone, Default)]
pub struct Refused(Arc<Mutex<Option<String>>>);

impl Refused {
    /// Returns the sentence, if the relay is stopped.
    pub fn sentence(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the sentence. Returns whether it is another one than before.
    fn set(&self, sentence: Option<String>) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *kept != sentence;
        *kept = sentence;
        is_news
    }
}

/// The parts the relay is built from.
pub struct RelayParts {
    /// The database of the outbox and the lease.
    pub database: Database,
    /// The log that records are published to.
    pub log: Arc<dyn RecordLog>,
    /// Notified when this process has written an outbox row.
    pub written: Arc<Notify>,
    /// The relay's metrics.
    pub metrics: RelayMetrics,
    /// How long a lease lasts without renewal.
    pub lease: Duration,
    /// Interval between checks for rows that other replicas wrote.
    pub poll: Duration,
    /// The time after which a relay that was refused looks whether that was mended.
    pub refused_wait: Duration,
    /// The refusal that stops the relay.
    pub refused: Refused,
}

/// Starts the relay's thread. Soon after a shutdown is requested, the thread gives up its lease and
/// ends.
///
/// # Errors
/// Returns an error if the system cannot start a thread.
///
/// # Panics
/// Panics outside a tokio runtime.
pub fn spawn(parts: RelayParts, shutdown: Shutdown) -> std::io::Result<JoinHandle<()>> {
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name("orders-relay".to_owned());
    thread.spawn(move || Edge::new(parts, runtime, shutdown).run())
}

/// An error to log. The relay's decisions depend only on whether there was one.
#[derive(Debug, thiserror::Error)]
enum EdgeError {
    #[error("SQL: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("SQL took too long")]
    SqlSlow,
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Publish(PublishError),
    #[error(transparent)]
    Progress(#[from] progress::NotANumber),
    #[error("no publisher is open")]
    NotOpen,
}

impl EdgeError {
    /// Returns true if retrying cannot help until an operator changes a right, a setting or a record.
    fn is_permanent(&self) -> bool {
        match self {
            Self::Log(error) => !error.is_transient(),
            Self::Publish(error) => !error.is_transient(),
            Self::Progress(_) => true,
            Self::Sql(_) | Self::SqlSlow | Self::NotOpen => false,
        }
    }
}

struct Edge {
    parts: RelayParts,
    runtime: Handle,
    shutdown: Shutdown,
    lease: Lease,
    renewed: Instant,
    is_first_lease: bool,
    publisher: Option<Box<dyn Publisher>>,
    loaded: Vec<OutboxRow>,
    backoff: Backoff,
}

impl Edge {
    fn new(parts: RelayParts, runtime: Handle, shutdown: Shutdown) -> Self {
        let lease = Lease {
            holder: Uuid::new_v4().to_string(),
            duration: parts.lease,
        };

        Self {
            parts,
            runtime,
            shutdown,
            lease,
            renewed: Instant::now(),
            is_first_lease: true,
            publisher: None,
            loaded: Vec::new(),
            backoff: Backoff::default(),
        }
    }

    fn run(mut self) {
        let mut relay = Relay::new();
        let mut stopping = None;
        loop {
            if self.shutdown.is_requested() {
                let since = *stopping.get_or_insert_with(Instant::now);
                if matches!(relay.next(), Action::Rest(_)) || since.elapsed() > STOP_LIMIT {
                    break;
                }
            }

            let outcome = self.perform(relay.next());
            relay.observe(outcome);
            self.parts
                .metrics
                .leads
                .set(i64::from(self.publisher.is_some()));
        }

        self.parts.metrics.leads.set(0);
        if let Err(error) = self.sql(outbox::give_up(&self.parts.database, relay.epoch())) {
            tracing::info!(%error, "the relay's lease was not given up and will run out");
        }
    }

    fn perform(&mut self, action: Action) -> Outcome {
        let outcome = self.attempt(action).unwrap_or_else(|error| {
            if error.is_permanent() {
                if self.parts.refused.set(Some(error.to_string())) {
                    tracing::error!(%error, ?action, "the relay publishes nothing until this is mended");
                }
            } else {
                tracing::warn!(%error, ?action, "the relay will try again");
            }

            self.parts.metrics.failures.inc();
            Outcome::Failed
        });

        match outcome {
            Outcome::Fenced | Outcome::NotHolder | Outcome::Failed => self.publisher = None,
            Outcome::Stamped { .. } | Outcome::Published => self.backoff.reset(),
            _ => {}
        }

        // Everything that waited is published, somebody has removed it, or another relay leads.
        if matches!(
            outcome,
            Outcome::Published | Outcome::Stamped { rows: 0 } | Outcome::NotHolder
        ) && self.parts.refused.set(None)
        {
            tracing::info!("the relay is no longer refused");
        }

        outcome
    }

    fn attempt(&mut self, action: Action) -> Result<Outcome, EdgeError> {
        let database = self.parts.database.clone();
        match action {
            Action::TakeLease => self.take_lease(&database),
            Action::OpenPublisher => self.open(),
            Action::ConfirmLease { epoch } => {
                let held = self.sql(outbox::confirm(&database, &self.lease.clone(), epoch))?;
                self.renewed = Instant::now();
                Ok(if held {
                    Outcome::Confirmed
                } else {
                    Outcome::NotHolder
                })
            }
            Action::Clean { up_to } => self
                .sql(outbox::clean(&database, up_to))
                .map(|()| Outcome::Cleaned),
            Action::FindStamped => self
                .sql(outbox::lowest_stamped(&database))
                .map(Outcome::Found),
            Action::Stamp { epoch, batch } => {
                let stamped =
                    self.sql(outbox::stamp(&database, &self.lease.clone(), epoch, batch))?;
                self.renewed = Instant::now();
                Ok(stamped.map_or(Outcome::NotHolder, |rows| Outcome::Stamped { rows }))
            }
            Action::Load { batch } => {
                self.loaded = self.sql(outbox::load(&database, batch))?;
                Ok(Outcome::Loaded {
                    rows: self.loaded.len() as u64,
                })
            }
            Action::Publish { batch } => self.publish(batch),
            Action::Rest(rest) => {
                self.rest(rest);
                Ok(Outcome::Rested)
            }
        }
    }

    /// Takes the lease. A SQLite file serves one process, so at its start no other process can hold
    /// the lease: a lease left by a dead predecessor is ignored.
    fn take_lease(&mut self, database: &Database) -> Result<Outcome, EdgeError> {
        let is_alone = self.is_first_lease && database.dialect() == Dialect::Sqlite;
        let taken = self.sql(outbox::take_lease(database, &self.lease.clone(), is_alone))?;
        self.is_first_lease = false;
        self.renewed = Instant::now();
        Ok(taken.map_or(Outcome::NotHolder, |epoch| Outcome::LeaseTaken { epoch }))
    }

    fn open(&mut self) -> Result<Outcome, EdgeError> {
        self.publisher = None;
        self.parts.log.ensure_topics(&[TopicSpec {
            name: events::ORDERS.to_owned(),
            partitions: TOPIC_PARTITIONS,
            cleanup: Cleanup::Delete,
            retention: TOPIC_RETENTION,
        }])?;

        let publisher = self
            .parts
            .log
            .publisher(PUBLISHER, Delivery::Transactional)?;
        let progress = publisher.progress().map_or(Ok(0), progress::number_of)?;
        self.publisher = Some(publisher);

        Ok(Outcome::Opened { progress })
    }

    fn publish(&mut self, batch: u64) -> Result<Outcome, EdgeError> {
        let publisher = self.publisher.as_deref_mut().ok_or(EdgeError::NotOpen)?;
        match send_all(publisher, &self.loaded, batch) {
            Ok(()) => {
                self.parts
                    .metrics
                    .published
                    .inc_by(self.loaded.len() as u64);
                self.parts.metrics.batches.inc();
                Ok(Outcome::Published)
            }
            Err(error @ PublishError::Fenced { .. }) => {
                tracing::info!(%error, "the relay steps down");
                Ok(Outcome::Fenced)
            }
            Err(error) => Err(EdgeError::Publish(error)),
        }
    }

    fn rest(&mut self, rest: Rest) {
        let shutdown = self.shutdown.clone();
        let wait = match rest {
            Rest::Idle => return self.rest_idle(),
            Rest::Following => self.lease.duration / 5,
            Rest::BackingOff if self.parts.refused.sentence().is_some() => self.parts.refused_wait,
            Rest::BackingOff => self.backoff.next_wait(Uuid::new_v4().as_u64_pair().1),
        };

        self.runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.requested() => {}
            }
        });
    }

    /// Waits until a row is written by this process or another one, or the lease is due for
    /// renewal.
    fn rest_idle(&self) {
        let renew_at = tokio::time::Instant::from_std(self.renewed + self.lease.duration / 3);
        let RelayParts {
            database,
            written,
            poll,
            ..
        } = &self.parts;

        let written_elsewhere = async {
            loop {
                tokio::time::sleep(*poll).await;
                // An error ends the wait. The stamping that follows meets it again and logs it.
                if outbox::is_waiting(database).await.unwrap_or(true) {
                    return;
                }
            }
        };

        self.runtime.block_on(async {
            tokio::select! {
                () = written.notified() => {}
                () = written_elsewhere => {}
                () = tokio::time::sleep_until(renew_at) => {}
                () = self.shutdown.requested() => {}
            }
        });
    }

    fn sql<T>(&self, query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, EdgeError> {
        let outcome = self
            .runtime
            .block_on(async { tokio::time::timeout(SQL_LIMIT, query).await });
        Ok(outcome.map_err(|_| EdgeError::SqlSlow)??)
    }
}

fn send_all(
    publisher: &mut dyn Publisher,
    rows: &[OutboxRow],
    batch: u64,
) -> Result<(), PublishError> {
    for row in rows {
        let mut headers: Vec<(&str, &[u8])> = vec![
            ("ce_id", row.id.as_bytes()),
            ("ce_type", row.event_type.as_bytes()),
            ("ce_source", SOURCE),
            ("ce_specversion", b"1.0"),
        ];

        headers.extend(
            row.traceparent
                .as_ref()
                .map(|trace| (TRACEPARENT, trace.as_bytes())),
        );

        let sent = publisher.send(NewRecord {
            topic: events::ORDERS,
            partition: None,
            key: Some(row.aggregateid.as_bytes()),
            value: Some(row.payload.as_bytes()),
            headers: &headers,
        });
        sent.map_err(|error| of_row(error, row))?;
    }
    publisher.commit(&progress::of_number(batch))
}

/// Names the outbox row in the refusal of its record.
fn of_row(error: PublishError, row: &OutboxRow) -> PublishError {
    match error {
        PublishError::Refused(refusal) => PublishError::Refused(Refusal::new(format!(
            "the event {} waits in the outbox: {refusal}",
            row.id
        ))),
        error => error,
    }
}
