//! The thread that commits the results and side outputs of one worker, so that the worker need not
//! wait.
//!
//! Results are committed batch by batch. Within a batch they are ordered by pane and key group. A
//! transaction takes a run of that order, up to a number of rows, and its progress states how far
//! each key group has come. Results before the progress were committed by an earlier attempt or
//! transaction, and are left out. So a restart, which repeats results exactly, commits each of them
//! once, wherever the last attempt ended. Progress on an earlier
//! [line](crate::checkpoint::lineage) leaves out only results from before the line began.
//!
//! Side outputs have transactions of their own, a moment after they were handed over.
//!
//! A failed transaction that may be retried is retried with half as many rows: a transaction that
//! exceeds its time limit would do so again (`row_limit`). The transactions before it stay, so a
//! window of any number of rows is committed however slow the log is.
//!
//! **Invariant:** an attempt never opens a publisher twice. Opening fences, and only an attempt that
//! was just claimed may fence. If the reply to a commit is lost, the next attempt finds out whether
//! the commit happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use record_log::PublishError;
use timely::scheduling::activate::SyncActivator;

use crate::aggregate::{Aggregate, Key};
use crate::attempt::Attempt;
use crate::clock::Clock;
use crate::flow::SideOutput;
use crate::metrics::families::Retried;
use crate::metrics::operators::{Activity, OperatorName, Timer};
use crate::milestones::Milestone;
use crate::pane::EventTimeMs;
use crate::sink::batch::Batch;
use crate::sink::transaction::{RowWriter, Transactions};
use crate::worker::Shared;

/// A task for the thread.
enum Task<K, A> {
    /// Commit a batch, which contains everything before the boundary.
    Commit(Batch<K, A>, EventTimeMs),
    /// Publish side outputs now: there is no room for more.
    PublishSides,
    /// Publish the remaining side outputs, and end: the worker has ended.
    End,
}

/// The worker whose output the thread commits.
#[derive(Clone)]
pub struct Owner {
    attempt: Arc<Attempt>,
    /// The number of the worker.
    worker: usize,
    clock: Clock,
}

impl Owner {
    /// Returns the worker of this number.
    pub fn of<K, A>(shared: &Shared<K, A>, worker: usize) -> Self {
        Self {
            attempt: Arc::clone(&shared.attempt),
            worker,
            clock: Arc::clone(&shared.clock),
        }
    }

    /// Notes that a transaction begins.
    fn publishes(&self) {
        self.attempt.metrics.publishes(self.worker, (self.clock)());
    }

    /// Notes the last side outputs that were published.
    fn published_sides(&self, published: Vec<(String, SideOutput)>) {
        let now_ms = (self.clock)();
        for (topic, output) in published {
            self.attempt.metrics.side_output(now_ms, topic, &output);
        }
    }

    /// Notes that the log has taken a transaction.
    fn published(&self) {
        self.attempt.metrics.published(self.worker);
    }
}

/// A handle to the thread.
pub struct Committer<K, A> {
    tasks: Sender<Task<K, A>>,
    committed: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// The first and the last delay between retries when the log does not publish; the delay doubles in
/// between.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(2);
/// The interval at which waiting side outputs are published.
const SIDES_EVERY: Duration = Duration::from_millis(100);

impl<K: Key, A: Aggregate> Committer<K, A> {
    /// Starts the thread for one worker of an attempt.
    pub fn start(
        transactions: Transactions,
        writer: RowWriter<K, A>,
        owner: Owner,
        activator: SyncActivator,
    ) -> Self {
        let (sender, receiver) = channel();
        let full = sender.clone();

        transactions.sides().when_full(Arc::new(move || {
            // The thread ends early only together with the attempt; then nothing more is to be
            // published.
            let _ = full.send(Task::PublishSides);
        }));

        let committed = Arc::new(AtomicU64::new(0));
        let metrics = &owner.attempt.metrics;
        let timer = metrics.timer(OperatorName::Commit, owner.worker);
        let thread = Thread {
            transactions: transactions.timed_by(timer.clone()),
            writer,
            owner,
            committed: Arc::clone(&committed),
            activator,
            timer,
        };
        let thread = std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || thread.run(&receiver));
        let thread = thread.expect("the system can start a thread");

        Self {
            tasks: sender,
            committed,
            thread: Some(thread),
        }
    }

    /// Hands a batch over to be committed. It contains everything before `boundary`.
    pub fn commit(&self, batch: Batch<K, A>, boundary: EventTimeMs) {
        // The thread ends early only together with the attempt; then nothing more is to be
        // committed.
        let _ = self.tasks.send(Task::Commit(batch, boundary));
    }

    /// Returns the boundary of the last committed batch.
    pub fn committed(&self) -> EventTimeMs {
        self.committed.load(Ordering::Acquire)
    }
}

impl<K, A> Drop for Committer<K, A> {
    fn drop(&mut self) {
        // The channel is closed only if the thread has ended already.
        let _ = self.tasks.send(Task::End);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that commits results panicked");
        }
    }
}

struct Thread<K, A> {
    transactions: Transactions,
    writer: RowWriter<K, A>,
    owner: Owner,
    committed: Arc<AtomicU64>,
    activator: SyncActivator,
    timer: Timer,
}

impl<K: Key, A: Aggregate> Thread<K, A> {
    fn run(mut self, tasks: &Receiver<Task<K, A>>) {
        let _guard = self.owner.attempt.guard("the thread that commits results");
        if let Err(error) = self.go_on(tasks) {
            self.owner.attempt.fail(error);
        }
    }

    fn go_on(&mut self, tasks: &Receiver<Task<K, A>>) -> Result<(), PublishError> {
        loop {
            self.timer.turn(Activity::Idle);
            let next = tasks.recv_timeout(SIDES_EVERY);
            self.timer.turn(Activity::Busy);
            if let Ok(Task::Commit(batch, boundary)) = &next {
                self.commit(batch, *boundary)?;
            }
            self.publish_sides()?;

            let has_ended = matches!(next, Ok(Task::End) | Err(RecvTimeoutError::Disconnected));
            if self.owner.attempt.is_over() || has_ended {
                return Ok(());
            }
        }
    }

    fn commit(&mut self, batch: &Batch<K, A>, boundary: EventTimeMs) -> Result<(), PublishError> {
        let begun = Instant::now();
        Milestone::Commit.log(boundary);
        let writer = self.writer.clone();
        let owner = self.owner.clone();
        // A batch of many transactions may take long, and the log answers to each of them.
        let next = || {
            owner.published();
            owner.publishes();
        };
        let is_published = self.repeat(Retried::Results, |transactions| {
            transactions.commit(batch, &writer, &next).map(|()| true)
        })?;

        if is_published {
            Milestone::Committed.log(boundary);
            self.owner.attempt.metrics.committed(begun.elapsed());
            if let Some(furthest) = self.transactions.furthest() {
                self.owner
                    .attempt
                    .note_committed(self.owner.worker, furthest);
            }
            self.committed.store(boundary, Ordering::Release);

            // A worker that is gone belongs to an attempt that is over.
            let _ = self.activator.activate();
        }
        Ok(())
    }

    fn publish_sides(&mut self) -> Result<(), PublishError> {
        while self.repeat(Retried::SideOutputs, Transactions::publish_sides)? {
            let published = self.transactions.take_published();
            self.owner.published_sides(published);
        }
        Ok(())
    }

    /// Calls `publish` until it succeeds, and returns its result, or false if the attempt is over.
    fn repeat(
        &mut self,
        what: Retried,
        mut publish: impl FnMut(&mut Transactions) -> Result<bool, PublishError>,
    ) -> Result<bool, PublishError> {
        let mut delay = FIRST_DELAY;
        while !self.owner.attempt.is_over() {
            let before = self.transactions.committed();
            self.owner.publishes();
            let cause = match publish(&mut self.transactions) {
                Err(PublishError::NotPublished(cause)) => cause,
                outcome => {
                    self.owner.published();
                    return outcome;
                }
            };

            // A log that takes shorter transactions is slow, and not away.
            if self.transactions.committed() > before {
                delay = FIRST_DELAY;
            }

            tracing::warn!(%cause, delay_ms = delay.as_millis(), "{} not published, retrying", what.name());
            let metrics = &self.owner.attempt.metrics;
            metrics.retries(what);
            metrics.not_published(self.owner.worker, &cause);
            self.transactions.shorten();

            self.timer.turn(Activity::AwaitsLog);
            std::thread::sleep(delay);
            self.timer.turn(Activity::Busy);
            delay = (delay * 2).min(LAST_DELAY);
        }
        Ok(false)
    }
}
