//! The thread that commits the results of one worker's sink slots, so that the worker need not
//! wait.
//!
//! Each slot commits its share of a batch in one transaction. Its progress is just after the last
//! pane of the batch. The boundary of the batch would be wrong: it may lie beyond the checkpoint
//! when the job ends. Results before the progress were committed by an earlier attempt, and are
//! left out. So a restart, which repeats results exactly, commits each of them once. A slot whose
//! progress is of an earlier [line](crate::checkpoint::lineage) leaves out only results from before
//! the line began.
//!
//! What always holds: an attempt never opens a publisher again. If the reply to a commit was lost,
//! the next attempt finds out whether the commit happened. Opening a publisher fences, and only an
//! attempt that was just claimed may fence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use record_log::{NewRecord, PublishError, Publisher};
use timely::scheduling::activate::SyncActivator;

use crate::aggregate::{Aggregate, Key};
use crate::attempt::Attempt;
use crate::checkpoint::lineage::{Lineage, Progress};
use crate::flow::{Row, Slots};
use crate::job::{Destination, Encode, Output, Pipeline};
use crate::pane::EventTimeMs;
use crate::sink::Outgoing;

/// The results that arrived at one pane.
pub struct PaneResults<K, A> {
    /// Rows of windows, in the containers in which they arrived.
    pub rows: Vec<Vec<Row<K, A>>>,
    /// Records for other topics.
    pub outgoing: Vec<Outgoing>,
}

/// Results by the pane at which they arrived.
pub type Batch<K, A> = BTreeMap<EventTimeMs, PaneResults<K, A>>;

/// A handle to the thread.
pub struct Committer<K, A> {
    batches: Option<Sender<(Batch<K, A>, EventTimeMs)>>,
    committed: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// A slot and the publisher that commits for it.
pub struct SlotPublisher {
    /// The slot's number.
    pub slot: u32,
    /// The slot's publisher.
    pub publisher: Box<dyn Publisher>,
    /// How far the slot has committed, in this or an earlier attempt; none if it never committed or
    /// the log has lost its progress.
    pub progress: Option<Progress>,
    /// Whether the progress is stored where it never expires. False before the first commit, and
    /// for progress of an earlier version.
    pub is_kept: bool,
}

/// Turns rows into records.
pub struct RowWriter<K, A> {
    topic: String,
    encode: Encode<Row<K, A>>,
    slots: Slots,
    lineage: Lineage,
}

/// The first and the last delay between retries when the log does not publish; the delay doubles in
/// between.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(2);

impl<K, A> Default for PaneResults<K, A> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            outgoing: Vec::new(),
        }
    }
}

impl<K: Key, A: Aggregate> Committer<K, A> {
    /// Starts the thread for the slots of one worker.
    pub fn start(
        slots: Vec<SlotPublisher>,
        writer: RowWriter<K, A>,
        attempt: Arc<Attempt>,
        activator: SyncActivator,
    ) -> Self {
        let (sender, receiver) = channel();
        let committed = Arc::new(AtomicU64::new(0));
        let thread = Thread {
            slots,
            writer,
            attempt,
            committed: Arc::clone(&committed),
            activator,
        };

        let thread = std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || thread.run(&receiver));
        let thread = thread.expect("the system can start a thread");

        Self {
            batches: Some(sender),
            committed,
            thread: Some(thread),
        }
    }

    /// Sends a batch, which holds everything before `boundary`, to the thread.
    pub fn commit(&self, batch: Batch<K, A>, boundary: EventTimeMs) {
        // The thread ends early only together with the attempt; then nothing more is to be
        // committed.
        let _ = self
            .batches
            .as_ref()
            .map(|batches| batches.send((batch, boundary)));
    }

    /// Returns the boundary of the last committed batch.
    pub fn committed(&self) -> EventTimeMs {
        self.committed.load(Ordering::Acquire)
    }
}

impl<K, A> Drop for Committer<K, A> {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that commits results panicked");
        }
    }
}

struct Thread<K, A> {
    slots: Vec<SlotPublisher>,
    writer: RowWriter<K, A>,
    attempt: Arc<Attempt>,
    committed: Arc<AtomicU64>,
    activator: SyncActivator,
}

impl<K: Key, A: Aggregate> Thread<K, A> {
    fn run(mut self, batches: &Receiver<(Batch<K, A>, EventTimeMs)>) {
        let _guard = self.attempt.guard("the thread that commits results");
        while let Ok((batch, boundary)) = batches.recv() {
            let begun = Instant::now();
            if let Err(error) = self.commit(&batch) {
                return self.attempt.fail(error);
            }
            if self.attempt.is_over() {
                return;
            }

            self.attempt.metrics.committed(begun.elapsed());
            self.committed.store(boundary, Ordering::Release);

            // A worker that is gone belongs to an attempt that is over.
            let _ = self.activator.activate();
        }
    }

    fn commit(&mut self, batch: &Batch<K, A>) -> Result<(), PublishError> {
        for slot in &mut self.slots {
            let mut delay = FIRST_DELAY;
            while let Err(error) = slot.commit(batch, &self.writer) {
                let PublishError::NotPublished(cause) = error else {
                    return Err(error);
                };

                tracing::warn!(slot = slot.slot, %cause, delay_ms = delay.as_millis(), "results not published, trying again");
                self.attempt.metrics.trouble(&cause);
                if self.attempt.is_over() {
                    return Ok(());
                }

                std::thread::sleep(delay);
                delay = (delay * 2).min(LAST_DELAY);
            }
        }
        Ok(())
    }
}

impl SlotPublisher {
    /// Commits a progress if the slot has none that never expires. If a later start finds no
    /// progress, it then follows that the progress was lost. A slot without any progress starts
    /// from `committed`.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn keep_progress(
        &mut self,
        lineage: &Lineage,
        committed: EventTimeMs,
    ) -> Result<(), PublishError> {
        if self.is_kept {
            return Ok(());
        }

        let known = Progress {
            line: lineage.line(),
            before: committed,
        };
        let progress = self.progress.unwrap_or(known);
        self.publisher.commit(&progress.to_bytes())?;
        self.progress = Some(progress);
        self.is_kept = true;

        Ok(())
    }

    /// Publishes the slot's uncommitted results of the batch in one transaction. Commits nothing if
    /// there are none.
    fn commit<K: Key, A: Aggregate>(
        &mut self,
        batch: &Batch<K, A>,
        writer: &RowWriter<K, A>,
    ) -> Result<(), PublishError> {
        let mut sent = 0_usize;
        let mut output = Output::default();
        let since = self
            .progress
            .map_or(0, |progress| writer.lineage.committed_before(progress));

        for (_, results) in batch.range(since..) {
            for row in results
                .rows
                .iter()
                .flatten()
                .filter(|row| writer.slots.of_key(&row.key) == self.slot)
            {
                self.publisher.send(writer.record(row, &mut output))?;
                sent += 1;
            }
            for record in results
                .outgoing
                .iter()
                .filter(|record| record.slot == self.slot)
            {
                record.with_headers(|headers| self.publisher.send(record.as_new(headers)))?;
                sent += 1;
            }
        }

        if let Some((last, _)) = batch.last_key_value()
            && sent > 0
        {
            let progress = writer.lineage.progress(*last);
            self.publisher.commit(&progress.to_bytes())?;
            self.progress = Some(progress);
        }

        Ok(())
    }
}

impl<K, A> RowWriter<K, A> {
    /// Creates the writer of a job's rows for the current line of its history.
    pub fn of(pipeline: &Pipeline<K, A>, slots: Slots, lineage: &Lineage) -> Self {
        let Destination { topic, encode } = pipeline.results.clone();
        Self {
            topic,
            encode,
            slots,
            lineage: lineage.clone(),
        }
    }

    fn record<'a>(&'a self, row: &Row<K, A>, output: &'a mut Output) -> NewRecord<'a> {
        output.key.clear();
        output.value.clear();
        (self.encode)(row, output);

        NewRecord {
            topic: &self.topic,
            partition: None,
            key: Some(&output.key),
            value: Some(&output.value),
            headers: &[],
        }
    }
}

impl Outgoing {
    fn with_headers<R>(&self, each: impl FnOnce(&[(&str, &[u8])]) -> R) -> R {
        let headers: Vec<(&str, &[u8])> = self
            .headers
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        each(&headers)
    }

    fn as_new<'a>(&'a self, headers: &'a [(&'a str, &'a [u8])]) -> NewRecord<'a> {
        NewRecord {
            topic: &self.topic,
            partition: None,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers,
        }
    }
}
