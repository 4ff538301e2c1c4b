//! Carries out the relay's actions, in a task. Calls of the log block, so they run on threads for blocking work. If the
//! task is dropped or the runtime shuts down, the relay ends at its next wait.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chassis::sql::{Database, Dialect};
use chassis::{Backoff, Shutdown, TRACEPARENT};
use record_log::{
    Cleanup, Delivery, LogError, NewRecord, PublishError, Publisher, RecordLog, Refusal, TopicSpec,
    progress,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
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

    /// Replaces the sentence. Returns whether it has changed.
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
    /// The duration of a lease without renewal.
    pub lease: Duration,
    /// Interval between checks for rows that other replicas wrote.
    pub poll: Duration,
    /// The time after which a relay that was refused tries again.
    pub refused_wait: Duration,
    /// The longest time for which the relay still publishes accepted orders after a shutdown request.
    pub stop_limit: Duration,
    /// The refusal that stops the relay.
    pub refused: Refused,
}

/// Starts the relay. Soon after a shutdown is requested, it gives up its lease and ends.
///
/// # Panics
/// Panics outside a tokio runtime.
pub fn spawn(parts: RelayParts, shutdown: Shutdown) -> JoinHandle<()> {
    tokio::spawn(Edge::new(parts, shutdown).run())
}

/// Runs a blocking call of the log. A panic in the call continues in the caller.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(call).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and will drop this task.
            Err(_) => std::future::pending().await,
        },
    }
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
    shutdown: Shutdown,
    lease: Lease,
    renewed: Instant,
    is_first_lease: bool,
    publisher: Option<Box<dyn Publisher>>,
    loaded: Vec<OutboxRow>,
    backoff: Backoff,
}

impl Edge {
    fn new(parts: RelayParts, shutdown: Shutdown) -> Self {
        let lease = Lease {
            holder: Uuid::new_v4().to_string(),
            duration: parts.lease,
        };

        Self {
            parts,
            shutdown,
            lease,
            renewed: Instant::now(),
            is_first_lease: true,
            publisher: None,
            loaded: Vec::new(),
            backoff: Backoff::default(),
        }
    }

    async fn run(mut self) {
        let mut relay = Relay::new();
        let shutdown = self.shutdown.clone();
        let stop_limit = self.parts.stop_limit;
        let time_is_up = async {
            shutdown.requested().await;
            tokio::time::sleep(stop_limit).await;
        };

        tokio::select! {
            () = self.lead(&mut relay) => {}
            () = time_is_up => tracing::info!("the relay leaves events in the outbox"),
        }

        self.close().await;
        self.parts.metrics.leads.set(0);
        if let Err(error) = sql(outbox::give_up(&self.parts.database, relay.epoch())).await {
            tracing::info!(%error, "the relay's lease was not given up; it will expire");
        }
    }

    /// Acts until a shutdown is requested and nothing is left to do.
    async fn lead(&mut self, relay: &mut Relay) {
        let mut was_stopping = false;
        while !(self.shutdown.is_requested() && self.is_done(relay.next(), was_stopping)) {
            was_stopping = self.shutdown.is_requested();
            let outcome = self.perform(relay.next()).await;
            relay.observe(outcome);
            self.parts
                .metrics
                .leads
                .set(i64::from(self.publisher.is_some()));
        }
    }

    /// Returns true if a stopping relay is finished: no row is waiting, another relay leads, or the log refuses the
    /// waiting rows. After any other failure it tries again until the time limit of its stop.
    ///
    /// `was_stopping` is true if the latest action began after the shutdown request. Only then has it found all rows
    /// that were written before the request.
    fn is_done(&self, next: Action, was_stopping: bool) -> bool {
        match next {
            Action::Rest(Rest::Idle) => was_stopping,
            Action::Rest(Rest::Following) => true,
            Action::Rest(Rest::BackingOff) => self.parts.refused.sentence().is_some(),
            _ => false,
        }
    }

    /// Closes the publisher, if there is one.
    async fn close(&mut self) {
        if let Some(publisher) = self.publisher.take() {
            blocking(move || drop(publisher)).await;
        }
    }

    async fn perform(&mut self, action: Action) -> Outcome {
        let outcome = self.attempt(action).await.unwrap_or_else(|error| {
            if error.is_permanent() {
                if self.parts.refused.set(Some(error.to_string())) {
                    tracing::error!(%error, ?action, "the relay publishes nothing until this is fixed");
                }
            } else {
                tracing::warn!(%error, ?action, "the relay will try again");
            }

            self.parts.metrics.failures.inc();
            Outcome::Failed
        });

        match outcome {
            Outcome::Fenced | Outcome::NotHolder | Outcome::Failed => self.close().await,
            Outcome::Stamped { .. } | Outcome::Published => self.backoff.reset(),
            _ => {}
        }

        // Every waiting batch is published or was removed, or another relay leads.
        if matches!(
            outcome,
            Outcome::Published | Outcome::Stamped { rows: 0 } | Outcome::NotHolder
        ) && self.parts.refused.set(None)
        {
            tracing::info!("the relay is no longer refused");
        }

        outcome
    }

    async fn attempt(&mut self, action: Action) -> Result<Outcome, EdgeError> {
        let database = self.parts.database.clone();
        match action {
            Action::TakeLease => self.take_lease(&database).await,
            Action::OpenPublisher => self.open().await,
            Action::ConfirmLease { epoch } => {
                let held = sql(outbox::confirm(&database, &self.lease, epoch)).await?;
                self.renewed = Instant::now();
                Ok(if held {
                    Outcome::Confirmed
                } else {
                    Outcome::NotHolder
                })
            }
            Action::Clean { up_to } => {
                sql(outbox::clean(&database, up_to)).await?;
                Ok(Outcome::Cleaned)
            }
            Action::FindStamped => {
                let lowest = sql(outbox::lowest_stamped(&database)).await?;
                Ok(Outcome::Found(lowest))
            }
            Action::Stamp { epoch, batch } => {
                let stamped = sql(outbox::stamp(&database, &self.lease, epoch, batch)).await?;
                self.renewed = Instant::now();
                Ok(stamped.map_or(Outcome::NotHolder, |rows| Outcome::Stamped { rows }))
            }
            Action::Load { batch } => {
                self.loaded = sql(outbox::load(&database, batch)).await?;
                Ok(Outcome::Loaded {
                    rows: self.loaded.len() as u64,
                })
            }
            Action::Publish { batch } => self.publish(batch).await,
            Action::Rest(rest) => {
                self.rest(rest).await;
                Ok(Outcome::Rested)
            }
        }
    }

    /// Takes the lease. A SQLite file serves one process, so at its start no other process can hold
    /// the lease: a lease left by a dead predecessor is ignored.
    async fn take_lease(&mut self, database: &Database) -> Result<Outcome, EdgeError> {
        let is_alone = self.is_first_lease && database.dialect() == Dialect::Sqlite;
        let taken = sql(outbox::take_lease(database, &self.lease, is_alone)).await?;
        self.is_first_lease = false;
        self.renewed = Instant::now();
        Ok(taken.map_or(Outcome::NotHolder, |epoch| Outcome::LeaseTaken { epoch }))
    }

    async fn open(&mut self) -> Result<Outcome, EdgeError> {
        self.close().await;
        let log = Arc::clone(&self.parts.log);
        let publisher = blocking(move || open_publisher(log.as_ref())).await?;

        let progress = publisher.progress().map_or(Ok(0), progress::number_of)?;
        self.publisher = Some(publisher);
        Ok(Outcome::Opened { progress })
    }

    async fn publish(&mut self, batch: u64) -> Result<Outcome, EdgeError> {
        let mut publisher = self.publisher.take().ok_or(EdgeError::NotOpen)?;
        let rows = std::mem::take(&mut self.loaded);
        let count = rows.len() as u64;
        let send = move || {
            let sent = send_all(publisher.as_mut(), &rows, batch);
            (publisher, sent)
        };
        let (publisher, sent) = blocking(send).await;
        self.publisher = Some(publisher);

        match sent {
            Ok(()) => {
                self.parts.metrics.published.inc_by(count);
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

    async fn rest(&mut self, rest: Rest) {
        let shutdown = self.shutdown.clone();
        let is_stopping = shutdown.is_requested();
        let wait = match rest {
            Rest::Idle => return self.rest_idle().await,
            Rest::Following => self.lease.duration / 5,
            Rest::BackingOff if self.parts.refused.sentence().is_some() => self.parts.refused_wait,
            Rest::BackingOff => self.backoff.next_wait(Uuid::new_v4().as_u64_pair().1),
        };

        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.requested(), if !is_stopping => {}
        }
    }

    /// Waits until this process or another one has written a row, or the lease is due for renewal.
    async fn rest_idle(&mut self) {
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
                // An error ends the wait. The stamping that follows fails, too, and logs the error.
                if outbox::is_waiting(database).await.unwrap_or(true) {
                    return;
                }
            }
        };

        tokio::select! {
            () = written.notified() => {}
            () = written_elsewhere => {}
            () = tokio::time::sleep_until(renew_at) => {}
            () = self.shutdown.requested() => {}
        }
    }
}

async fn sql<T>(query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, EdgeError> {
    let outcome = tokio::time::timeout(SQL_LIMIT, query).await;
    Ok(outcome.map_err(|_| EdgeError::SqlSlow)??)
}

/// Opens the publisher, and creates its topic if that is missing.
fn open_publisher(log: &dyn RecordLog) -> Result<Box<dyn Publisher>, LogError> {
    log.ensure_topics(&[TopicSpec {
        name: events::ORDERS.to_owned(),
        partitions: TOPIC_PARTITIONS,
        cleanup: Cleanup::Delete,
        retention: TOPIC_RETENTION,
    }])?;
    log.publisher(PUBLISHER, Delivery::Transactional)
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

/// Adds the event's id to the refusal of its record.
fn of_row(error: PublishError, row: &OutboxRow) -> PublishError {
    match error {
        PublishError::Refused(refusal) => PublishError::Refused(Refusal::new(format!(
            "the event {} waits in the outbox: {refusal}",
            row.id
        ))),
        error => error,
    }
}
