//! The thread that follows a topic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::{Backoff, Shutdown};
use record_log::{LogError, Reader, Record, RecordLog, Signal};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::positions::{self, Positions};
use crate::{Batch, Consumer, Lag, Received, Refused};

/// The longest wait for new records, in case the log fails to wake the follower.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The default wait after a refusal before the follower tries again.
pub const REFUSED_WAIT: Duration = Duration::from_secs(30);
/// The pause between two reads of the topic's ends and of its number of partitions.
const SURVEY_EVERY: Duration = Duration::from_secs(2);

/// The settings of a follower.
#[derive(Clone)]
pub struct Follower {
    /// The log.
    pub log: Arc<dyn RecordLog>,
    /// The topic.
    pub topic: &'static str,
    /// The name under which positions are stored.
    pub group: &'static str,
    /// The maximum number of records in a batch.
    pub batch: usize,
    /// The gauge of how far the follower is behind.
    pub lag: Lag,
    /// The error that stops the follower, for the service's readiness.
    pub refused: Refused,
    /// The wait after a refusal before the follower tries again.
    pub refused_wait: Duration,
}

impl Follower {
    /// Follows until a shutdown is requested. Otherwise the task ends only if the consumer or the
    /// log panics.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start<C: Consumer>(self, consumer: C, shutdown: Shutdown) -> JoinHandle<()> {
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            let signal = Signal::default();
            let asked = shutdown.clone();
            let woken = signal.clone();

            let watch = runtime.spawn(async move {
                asked.requested().await;
                woken.raise();
            });

            let life = Life {
                follower: self,
                consumer,
                shutdown,
                runtime,
                signal,
            };
            life.follow();
            watch.abort();
        })
    }
}

struct Life<C> {
    follower: Follower,
    consumer: C,
    shutdown: Shutdown,
    runtime: Handle,
    signal: Signal,
}

/// An open reader and its positions.
struct OpenTopic {
    reader: Box<dyn Reader>,
    next: Positions,
    /// Whether `next` is ahead of the group's stored positions.
    is_ahead: bool,
    surveyed: Instant,
}

/// The result of one poll of all partitions.
#[derive(Default)]
struct Found {
    batch: Batch,
    next: Positions,
    is_at_end: bool,
}

impl<C: Consumer> Life<C> {
    fn follow(&self) {
        let mut backoff = Backoff::default();
        while !self.shutdown.is_requested() {
            if let Err(error) = self
                .open()
                .and_then(|mut open| self.read_on(&mut open, &mut backoff))
            {
                let wait = if is_permanent(&error) {
                    self.follower.refused_wait
                } else {
                    backoff.next_wait(uuid::Uuid::new_v4().as_u64_pair().1)
                };
                self.note(&error, wait);
                self.rest(wait);
            }
        }
    }

    /// Logs a failure. A missing topic is no reason to warn: on a new platform none exists yet.
    fn note(&self, error: &LogError, wait: Duration) {
        let topic = self.follower.topic;
        let wait_ms = wait.as_millis();
        match error {
            LogError::UnknownTopic(_) => {
                tracing::info!(topic, wait_ms, "the topic is not there yet");
            }
            error if is_permanent(error) => {
                if self.follower.refused.set(Some(error.to_string())) {
                    tracing::error!(%error, topic, "the topic is not read until this is mended");
                }
            }
            _ => tracing::warn!(%error, topic, wait_ms, "cannot read the topic now"),
        }
    }

    /// Waits for the whole time, even if the reader is woken meanwhile. Returns early on a shutdown.
    fn rest(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while !self.shutdown.is_requested() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.signal.wait(left);
        }
    }

    /// Notes that nothing is refused any more.
    fn mended(&self) {
        if self.follower.refused.set(None) {
            let topic = self.follower.topic;
            tracing::info!(topic, "the topic is followed again");
        }
    }

    fn open(&self) -> Result<OpenTopic, LogError> {
        let Follower {
            log, topic, group, ..
        } = &self.follower;
        let next = positions::load(log.as_ref(), group, topic)?;
        let numbered = positions::numbered(&next);
        let mut reader = log.reader(topic, &numbered)?;
        reader.on_readable(self.signal.wake());
        self.consumer.opened(&numbered);
        self.survey(&next)?;

        Ok(OpenTopic {
            reader,
            next,
            is_ahead: false,
            surveyed: Instant::now(),
        })
    }

    /// Reads and consumes until a shutdown is requested, or the topic has new partitions and the
    /// reader must be opened again.
    fn read_on(&self, open: &mut OpenTopic, backoff: &mut Backoff) -> Result<(), LogError> {
        while !self.shutdown.is_requested() {
            let found = self.look(open)?;
            backoff.reset();
            let is_empty = found.batch.records.is_empty();

            if !is_empty && !self.consume(&found.batch) {
                break;
            }
            self.mended();

            open.is_ahead |= open.next != found.next;
            open.next = found.next;
            self.remember(open);

            if open.surveyed.elapsed() >= SURVEY_EVERY {
                open.surveyed = Instant::now();
                if self.survey(&open.next)? > open.next.len() {
                    break;
                }
            }

            if found.is_at_end {
                self.follower.lag.set(0);
            }

            if found.is_at_end || is_empty {
                self.signal.wait(LOOK_AGAIN);
            }
        }
        Ok(())
    }

    /// Polls every partition for its share of a batch.
    fn look(&self, open: &mut OpenTopic) -> Result<Found, LogError> {
        let mut found = Found {
            next: open.next.clone(),
            is_at_end: true,
            ..Found::default()
        };
        let share = (self.follower.batch / found.next.len().max(1)).max(1);
        let records = &mut found.batch.records;

        for (number, next) in (0..).zip(found.next.iter_mut()) {
            let polled = open
                .reader
                .poll(number, share, &mut |record| records.push(owned(&record)))?;
            *next = polled.next_offset;
            found.is_at_end &= polled.is_at_end();
        }

        Ok(found)
    }

    /// Passes the batch to the consumer until it succeeds. Returns `false` if a shutdown came
    /// first.
    fn consume(&self, batch: &Batch) -> bool {
        let mut backoff = Backoff::default();
        let topic = self.follower.topic;

        while let Some(outcome) = self.consume_once(batch) {
            let Err(error) = outcome else { return true };
            let is_refusal = C::is_refusal(&error);

            let wait = if is_refusal {
                self.follower.refused_wait
            } else {
                backoff.next_wait(uuid::Uuid::new_v4().as_u64_pair().1)
            };

            if !is_refusal {
                tracing::warn!(%error, topic, wait_ms = wait.as_millis(), "a batch is not consumed, trying again");
            } else if self.follower.refused.set(Some(error.to_string())) {
                tracing::error!(%error, topic, "the topic is not followed until this is mended");
            }
            self.rest(wait);
        }

        false
    }

    /// Hands the batch over once; none when a shutdown came first.
    fn consume_once(&self, batch: &Batch) -> Option<Result<(), C::Error>> {
        if self.shutdown.is_requested() {
            return None;
        }

        self.runtime.block_on(async {
            tokio::select! {
                outcome = self.consumer.consume(batch) => Some(outcome),
                () = self.shutdown.requested() => None,
            }
        })
    }

    /// Stores the positions. If that fails, more records are passed to the consumer again after a
    /// restart.
    fn remember(&self, open: &mut OpenTopic) {
        if !open.is_ahead {
            return;
        }

        let Follower {
            log, topic, group, ..
        } = &self.follower;

        match log.commit(group, topic, &positions::numbered(&open.next)) {
            Ok(()) => open.is_ahead = false,
            Err(error) => tracing::warn!(%error, topic, "cannot remember the positions now"),
        }
    }

    /// Updates the lag, and returns the number of partitions.
    fn survey(&self, next: &Positions) -> Result<usize, LogError> {
        let ranges = self.follower.log.offsets(self.follower.topic)?;
        self.follower.lag.set(positions::lag(next, &ranges));
        Ok(ranges.len())
    }
}

/// Returns whether another try cannot help. A topic or a position that does not exist is looked for
/// again, because it may appear.
fn is_permanent(error: &LogError) -> bool {
    matches!(error, LogError::Refused(_) | LogError::Settings(_))
}

fn owned(record: &Record<'_>) -> Received {
    let mut headers = Vec::new();
    record
        .headers
        .for_each(&mut |name, value| headers.push((name.to_owned(), value.to_vec())));

    Received {
        partition: record.partition,
        offset: record.offset,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers,
    }
}
