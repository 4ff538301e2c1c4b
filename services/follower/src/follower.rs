//! The thread that follows a topic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::{Backoff, Shutdown, retry};
use record_log::{LogError, Reader, Record, RecordLog, Signal};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::positions::{self, Positions};
use crate::{Batch, Consumer, Lag, Received};

/// How long to wait for new records before looking again without having been told.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often to look at how far the topic's ends are, and whether it has more partitions.
const SURVEY_EVERY: Duration = Duration::from_secs(2);

/// What to follow.
#[derive(Clone)]
pub struct Follower {
    /// The log.
    pub log: Arc<dyn RecordLog>,
    /// The topic.
    pub topic: &'static str,
    /// The name under which positions are remembered.
    pub group: &'static str,
    /// How many records a batch holds at most.
    pub batch: usize,
    /// Where to say how far behind it is.
    pub lag: Lag,
}

impl Follower {
    /// Follows until a shutdown is requested. The task ends otherwise only by a panic of the consumer or the log.
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

/// An open reader and where it stands.
struct Standing {
    reader: Box<dyn Reader>,
    next: Positions,
    /// Whether `next` is ahead of what the group remembers.
    is_ahead: bool,
    surveyed: Instant,
}

/// What one look at all partitions found.
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
                .and_then(|mut standing| self.read_on(&mut standing, &mut backoff))
            {
                let wait = backoff.next_wait(uuid::Uuid::new_v4().as_u64_pair().1);
                self.note(&error, wait);
                self.signal.wait(wait);
            }
        }
    }

    /// A topic that is still to be made is how every new platform begins, and no reason to warn.
    fn note(&self, error: &LogError, wait: Duration) {
        let topic = self.follower.topic;
        let wait_ms = wait.as_millis();
        match error {
            LogError::UnknownTopic(_) => {
                tracing::info!(topic, wait_ms, "the topic is not there yet");
            }
            LogError::Refused(_) => {
                tracing::error!(%error, topic, wait_ms, "the topic may not be read");
            }
            _ => tracing::warn!(%error, topic, wait_ms, "cannot read the topic now"),
        }
    }

    fn open(&self) -> Result<Standing, LogError> {
        let Follower {
            log, topic, group, ..
        } = &self.follower;
        let next = positions::load(log.as_ref(), group, topic)?;
        let numbered = positions::numbered(&next);
        let mut reader = log.reader(topic, &numbered)?;
        reader.on_readable(self.signal.wake());
        self.consumer.opened(&numbered);
        self.survey(&next)?;

        Ok(Standing {
            reader,
            next,
            is_ahead: false,
            surveyed: Instant::now(),
        })
    }

    /// Reads and consumes until a shutdown is requested, or there are more partitions and the reader is to be opened anew.
    fn read_on(&self, standing: &mut Standing, backoff: &mut Backoff) -> Result<(), LogError> {
        while !self.shutdown.is_requested() {
            let found = self.look(standing)?;
            backoff.reset();
            let is_empty = found.batch.records.is_empty();

            if !is_empty && !self.consume(&found.batch) {
                break;
            }

            standing.is_ahead |= standing.next != found.next;
            standing.next = found.next;
            self.remember(standing);

            if standing.surveyed.elapsed() >= SURVEY_EVERY {
                standing.surveyed = Instant::now();
                if self.survey(&standing.next)? > standing.next.len() {
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

    /// Takes what is there, from every partition its share of a batch.
    fn look(&self, standing: &mut Standing) -> Result<Found, LogError> {
        let mut found = Found {
            next: standing.next.clone(),
            is_at_end: true,
            ..Found::default()
        };
        let share = (self.follower.batch / found.next.len().max(1)).max(1);
        let records = &mut found.batch.records;

        for (number, next) in (0..).zip(found.next.iter_mut()) {
            let polled = standing
                .reader
                .poll(number, share, &mut |record| records.push(owned(&record)))?;
            *next = polled.next_offset;
            found.is_at_end &= polled.is_at_end();
        }

        Ok(found)
    }

    /// Hands the batch over until the consumer is done with it; `false` when a shutdown came first.
    fn consume(&self, batch: &Batch) -> bool {
        self.runtime
            .block_on(retry(&self.shutdown, self.follower.topic, || {
                self.consumer.consume(batch)
            }))
            .is_some()
    }

    /// Remembers the positions. A failure only means that more is handed over again after a restart.
    fn remember(&self, standing: &mut Standing) {
        if !standing.is_ahead {
            return;
        }

        let Follower {
            log, topic, group, ..
        } = &self.follower;

        match log.commit(group, topic, &positions::numbered(&standing.next)) {
            Ok(()) => standing.is_ahead = false,
            Err(error) => tracing::warn!(%error, topic, "cannot remember the positions now"),
        }
    }

    /// Notes how far behind the positions are; returns how many partitions there are.
    fn survey(&self, next: &Positions) -> Result<usize, LogError> {
        let ranges = self.follower.log.offsets(self.follower.topic)?;
        self.follower.lag.set(positions::lag(next, &ranges));
        Ok(ranges.len())
    }
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
