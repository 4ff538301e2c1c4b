//! The thread that follows a topic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::{Backoff, Shutdown};
use record_log::{LogError, Membership, Owned, RecordLog, Signal};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::gate::{Gate, LOOK_SOON};
use crate::positions::{self, Positions, Survey};
use crate::reading::Reading;
use crate::{Batch, Consumer, Lag, Refused};

/// The longest wait for new records, in case the log fails to wake the follower.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The default wait after a refusal before the follower tries again.
pub const REFUSED_WAIT: Duration = Duration::from_secs(30);
/// The pause between two surveys of the topic: its ends, its partitions, the stored positions.
const SURVEY_EVERY: Duration = Duration::from_secs(2);

/// The part of a topic that a follower reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The partitions that this member of the group owns, from the group's positions, which it
    /// stores: the processes of a service share the work.
    Share,
    /// All partitions, from the group's positions at the start, and behind the group: a record is
    /// passed on once its position is stored, that is, once a member has consumed it. It stores no
    /// position, and continues from its own after a failure.
    Behind,
}

/// The settings of a follower.
#[derive(Clone)]
pub struct Follower {
    /// The log.
    pub log: Arc<dyn RecordLog>,
    /// The topic.
    pub topic: &'static str,
    /// The name under which positions are stored, and whose members share the partitions.
    pub group: &'static str,
    /// The part of the topic that is read.
    pub scope: Scope,
    /// The maximum number of records in a batch.
    pub batch: usize,
    /// The gauge of the whole group's lag, including the partitions of members that died.
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
                membership: None,
                reached: Positions::new(),
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
    membership: Option<Box<dyn Membership>>,
    /// The positions that a follower behind the group has reached; it continues from them.
    reached: Positions,
}

/// An open topic.
struct OpenTopic {
    reading: Reading,
    owned: Owned,
    /// The number of partitions of the topic.
    partitions: usize,
    /// Whether the positions are ahead of the group's stored ones.
    is_ahead: bool,
    surveyed: Instant,
}

impl<C: Consumer> Life<C> {
    fn follow(mut self) {
        let mut backoff = Backoff::default();
        while !self.shutdown.is_requested() {
            if let Err(error) = self.follow_once(&mut backoff) {
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

    /// Follows until a shutdown is requested, or the topic must be opened again.
    fn follow_once(&mut self, backoff: &mut Backoff) -> Result<(), LogError> {
        let mut open = self.open()?;
        let outcome = self.read_on(&mut open, backoff);

        if self.follower.scope == Scope::Behind {
            self.reached = open.reading.next;
        }
        outcome
    }

    /// Logs a failure. A missing topic is no reason to warn: on a new platform none exists yet.
    fn note(&self, error: &LogError, wait: Duration) {
        let topic = self.follower.topic;
        let wait_ms = wait.as_millis();
        match error {
            LogError::UnknownTopic(_) => {
                tracing::info!(topic, wait_ms, "the topic does not exist yet");
            }
            error if is_permanent(error) => {
                if self.follower.refused.set(Some(error.to_string())) {
                    tracing::error!(%error, topic, "the topic is not read until this is fixed");
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

    /// Clears the refusal, if there was one.
    fn mended(&self) {
        if self.follower.refused.set(None) {
            let topic = self.follower.topic;
            tracing::info!(topic, "the topic is followed again");
        }
    }

    /// Opens the partitions that are owned now. The positions are read after ownership is known,
    /// because the earlier owner of a gained partition has stored its position by then.
    fn open(&mut self) -> Result<OpenTopic, LogError> {
        let owned = self.owned()?;
        let Follower {
            log, topic, group, ..
        } = &self.follower;

        let survey = Survey::read(log.as_ref(), group, topic)?;
        let next = survey.begin(&owned, &self.reached, topic);
        let numbered = positions::numbered(&next);
        let mut reader = log.reader(topic, &numbered)?;
        reader.on_readable(self.signal.wake());
        self.consumer.opened(&numbered);
        self.follower.lag.set(survey.lag(&next));

        let gate = match self.follower.scope {
            Scope::Share => None,
            Scope::Behind => Some(Gate::new(Arc::clone(log), group, topic)),
        };

        Ok(OpenTopic {
            reading: Reading { reader, next, gate },
            owned,
            partitions: survey.partitions(),
            is_ahead: false,
            surveyed: Instant::now(),
        })
    }

    /// Returns the partitions that this follower reads. A group is joined once its topic exists.
    fn owned(&mut self) -> Result<Owned, LogError> {
        if self.follower.scope == Scope::Behind {
            return Ok(Owned::All);
        }

        let mut membership = match self.membership.take() {
            Some(membership) => membership,
            None => self.join()?,
        };
        let owned = membership.owned();

        // The membership lasts through a refusal, which may be fixed. Any other error has ended it.
        if !matches!(&owned, Err(error) if !is_permanent(error)) {
            self.membership = Some(membership);
        }
        owned
    }

    fn join(&self) -> Result<Box<dyn Membership>, LogError> {
        let Follower {
            log, topic, group, ..
        } = &self.follower;

        log.partitions(topic)?;
        let mut membership = log.join(group, topic)?;
        membership.on_change(self.signal.wake());
        Ok(membership)
    }

    /// Reads and consumes. Returns if a shutdown is requested, or if the reader must be opened again
    /// because this follower owns other partitions or the topic has more.
    fn read_on(&mut self, open: &mut OpenTopic, backoff: &mut Backoff) -> Result<(), LogError> {
        while !self.shutdown.is_requested() {
            let found = open.reading.look(self.follower.batch)?;
            backoff.reset();
            let is_empty = found.batch.records.is_empty();

            if !is_empty && !self.consume(&found.batch) {
                break;
            }
            self.mended();

            open.is_ahead |= open.reading.next != found.next;
            open.reading.next = found.next;
            self.remember(open);

            // The positions are stored, so this call may give up a lost partition to its next owner.
            if self.owned()? != open.owned || !self.is_surveyed(open, found.is_at_end)? {
                break;
            }

            if found.is_held && is_empty {
                self.signal.wait(LOOK_SOON);
            } else if !found.is_held && (found.is_at_end || is_empty) {
                self.signal.wait(LOOK_AGAIN);
            }
        }
        Ok(())
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
                tracing::warn!(%error, topic, wait_ms = wait.as_millis(), "a batch could not be consumed, retrying");
            } else if self.follower.refused.set(Some(error.to_string())) {
                tracing::error!(%error, topic, "the topic is not followed until this is fixed");
            }
            self.rest(wait);
        }

        false
    }

    /// Passes the batch to the consumer once. Returns none if a shutdown came first.
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
        if !open.is_ahead || self.follower.scope == Scope::Behind {
            return;
        }

        let Follower {
            log, topic, group, ..
        } = &self.follower;

        match log.commit(group, topic, &positions::numbered(&open.reading.next)) {
            Ok(()) => open.is_ahead = false,
            Err(error) => tracing::warn!(%error, topic, "cannot store the positions now"),
        }
    }

    /// Surveys the topic when it is due. Returns `false` if the topic has other partitions than it had.
    fn is_surveyed(&self, open: &mut OpenTopic, is_at_end: bool) -> Result<bool, LogError> {
        // Other members may still have records to consume, so the end of a share is not the end of the topic.
        if is_at_end && open.reading.next.len() == open.partitions {
            self.follower.lag.set(0);
        }
        if open.surveyed.elapsed() < SURVEY_EVERY {
            return Ok(true);
        }

        let Follower {
            log, topic, group, ..
        } = &self.follower;
        let survey = Survey::read(log.as_ref(), group, topic)?;

        open.surveyed = Instant::now();
        open.is_ahead |= survey.is_behind(&open.reading.next);
        self.follower.lag.set(survey.lag(&open.reading.next));
        Ok(survey.partitions() == open.partitions)
    }
}

/// Returns whether a retry cannot help. A missing topic or position is not permanent, because it may
/// appear.
fn is_permanent(error: &LogError) -> bool {
    matches!(
        error,
        LogError::Refused(_) | LogError::Settings(_) | LogError::Unreadable { .. }
    )
}
