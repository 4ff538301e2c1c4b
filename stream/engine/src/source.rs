//! The source: reads the partitions of one worker and sends the aggregated records, pane by pane.
//!
//! ```text
//! partitions ──▶ decode ──▶ cut.rs: on time? ──▶ fold.rs: per key and pane ──▶ entries ──▶
//!                   │            │                                             crossings ─▶
//!                   └────────────┴── rejected, too late ──▶ the side outputs of this worker
//! ```
//!
//! 1. The source reads a batch from each partition that may be read. A partition that is far ahead
//!    of the committed results waits: that bounds memory and keeps the partitions aligned. All
//!    partitions wait while too many side outputs are not published.
//! 2. When the watermark of all its partitions has passed a boundary, the source sends the panes
//!    before the boundary and the crossing, and advances its capability to the boundary. The
//!    frontier of all workers' capabilities is the watermark.
//! 3. The source is scheduled again when there is something to read, when event time is about to
//!    reach the next boundary, and otherwise periodically.

mod admission;
mod alarm;
pub mod fold;
pub mod limits;
mod on_time;
mod open;
pub mod partitions;
pub mod position;
mod ticks;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use record_log::LogError;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{OutputBuilder, OutputBuilderSession};
use timely::dataflow::{ProbeHandle, Scope, StreamVec};

use crate::aggregate::{Aggregate, Key};
use crate::attempt::Attempt;
use crate::clock::Clock;
use crate::cut::Crossing;
use crate::error::JobError;
use crate::flow::{ClosedPane, Entry};
use crate::frontier::boundary_at;
use crate::inputs::Inputs;
use crate::metrics::families::Retried;
use crate::metrics::operators::{Activity, OperatorName};
use crate::milestones::Milestone;
use crate::pane::EventTimeMs;
use crate::watermark::Claim;
use crate::worker::Shared;
use crate::worker_progress::{SharedProgress, WorkerProgress};
use alarm::{Alarm, TICK};
use fold::Group;
use partitions::{Moment, Partitions};
use ticks::Ticks;

/// The outputs of the source: entries and crossings.
pub type SourceOutputs<'scope, K, A> = (
    StreamVec<'scope, EventTimeMs, Entry<K, A>>,
    StreamVec<'scope, EventTimeMs, Crossing>,
);

/// The source of one worker.
pub struct Source<K, A> {
    partitions: Partitions<K, A>,
    /// The closed panes of the checkpoint that this worker sends.
    restored: Vec<ClosedPane<K, A>>,
    inputs: Inputs,
    /// The length of a pane.
    pane_ms: u64,
    workers: SharedProgress,
    /// The boundary up to which results are committed.
    committed: ProbeHandle<EventTimeMs>,
    clock: Clock,
    /// The time of a job without a window; none if the job goes by event time.
    ticks: Option<Ticks>,
    attempt: Arc<Attempt>,
    /// The boundary that the source crosses last; none before that.
    last_boundary: Rc<Cell<Option<EventTimeMs>>>,
    /// True if the last poll failed because the log was unavailable.
    is_away: bool,
}

/// The capabilities of the outputs, always at the same boundary.
struct Capabilities {
    entries: Capability<EventTimeMs>,
    crossings: Capability<EventTimeMs>,
}

/// The activated outputs.
struct Outputs<'a, K: 'static, A: 'static> {
    entries: OutputBuilderSession<'a, EventTimeMs, CapacityContainerBuilder<Vec<Entry<K, A>>>>,
    crossings: OutputBuilderSession<'a, EventTimeMs, CapacityContainerBuilder<Vec<Crossing>>>,
}

/// The next step of a source.
enum Next {
    /// Run again at once: there may be more to read.
    ReadOn,
    /// Run again after this time, or earlier if there is something to read.
    Wait(Duration),
    /// End.
    End,
}

/// Builds the source's operator.
pub fn read<'scope, K: Key, A: Aggregate>(
    scope: Scope<'scope, EventTimeMs>,
    mut source: Source<K, A>,
) -> SourceOutputs<'scope, K, A> {
    let mut builder = OperatorBuilder::new("read".to_owned(), scope);
    let address = builder.operator_info().address;
    let activator = scope.activator_for(Rc::clone(&address));
    let (entries, entry_stream) = builder.new_output();
    let (crossings, crossing_stream) = builder.new_output();
    let mut entries = OutputBuilder::from(entries);
    let mut crossings = OutputBuilder::from(crossings);
    source.workers.listen(activator.clone());
    source
        .partitions
        .wake_by(scope.worker().sync_activator_for(address.to_vec()));

    let metrics = &source.attempt.metrics;
    let timer = metrics.timer(OperatorName::Read, scope.index());

    builder.build(move |initial| {
        let mut capabilities = Capabilities::new(initial);
        let mut alarm = Alarm::default();
        move |_| {
            let Some(held) = &mut capabilities else {
                return;
            };

            let mut outputs = Outputs {
                entries: entries.activate(),
                crossings: crossings.activate(),
            };

            timer.turn(Activity::Busy);
            let next = source.run(held, &mut outputs);
            timer.turn(source.activity_until(&next));

            match next {
                Next::ReadOn => activator.activate(),
                Next::Wait(wait) if alarm.set(Instant::now(), wait) => {
                    activator.activate_after(wait);
                }
                Next::Wait(_) => {}
                Next::End => capabilities = None,
            }
        }
    });

    (entry_stream, crossing_stream)
}

impl<K: Key, A: Aggregate> Source<K, A> {
    /// Creates a source that sends the restored panes and then the records that it reads.
    /// `committed` is at the boundary up to which results are committed.
    pub fn new(
        shared: &Shared<K, A>,
        partitions: Partitions<K, A>,
        restored: Vec<ClosedPane<K, A>>,
        workers: SharedProgress,
        committed: ProbeHandle<EventTimeMs>,
    ) -> Self {
        let clock = Arc::clone(&shared.clock);
        let attempt = Arc::clone(&shared.attempt);
        let pane_ms = shared.pipeline.windows.pane_ms();
        let ticks = shared.pipeline.pass_through.as_ref();
        let ticks = ticks.map(|_| Ticks::from(partitions.capability(), pane_ms, clock()));
        Self {
            partitions,
            restored,
            inputs: shared.pipeline.inputs.clone(),
            pane_ms,
            workers,
            committed,
            clock,
            ticks,
            attempt,
            last_boundary: Rc::default(),
            is_away: false,
        }
    }

    /// Returns the cell for the boundary that the source crosses last. It is none until the source has read to the end.
    pub fn last_boundary(&self) -> Rc<Cell<Option<EventTimeMs>>> {
        Rc::clone(&self.last_boundary)
    }

    fn run(&mut self, held: &mut Capabilities, outputs: &mut Outputs<'_, K, A>) -> Next {
        if self.attempt.is_over() {
            return Next::End;
        }

        self.restored
            .drain(..)
            .for_each(|pane| outputs.send_restored(held, pane));
        held.downgrade(self.partitions.capability());

        if self.attempt.is_draining() || self.workers.is_draining() {
            return self.drain();
        }

        let records = self.poll();
        let (target, is_last) = self.target();
        if let Some((crossing, leaving)) = target.and_then(|time| self.partitions.advance(time)) {
            for mut group in leaving {
                outputs.send(held, &mut group);
                self.partitions.reuse(group);
            }

            let to = crossing.to;
            Milestone::Crossed.log(to);
            outputs.crossings.session(&held.crossings).give(crossing);
            held.downgrade(to);
            self.attempt
                .metrics
                .crossed(self.workers.own(), to, self.partitions.open_entries());
        }

        if is_last {
            let last = self.partitions.capability();
            self.last_boundary.set(Some(last));
            self.workers.end();
            return Next::End;
        }

        if records > 0 {
            Next::ReadOn
        } else {
            Next::Wait(self.until_boundary(target))
        }
    }

    /// Returns the activity until the source runs again.
    fn activity_until(&self, next: &Next) -> Activity {
        match next {
            Next::ReadOn | Next::End => Activity::Idle,
            Next::Wait(_) if self.attempt.is_draining() => Activity::AwaitsCommits,
            Next::Wait(_) => self.partitions.held_by().unwrap_or(Activity::AwaitsRecords),
        }
    }

    /// Returns the time until event time may reach the next boundary. At the end of partitions event
    /// time advances as the clock does.
    fn until_boundary(&self, reached: Option<EventTimeMs>) -> Duration {
        let boundary = self.partitions.capability() + self.pane_ms;
        let left_ms = match &self.ticks {
            Some(ticks) => Some(ticks.left_ms()),
            None => reached.map(|reached| boundary.saturating_sub(reached)),
        };
        alarm::wait(left_ms)
    }

    /// Reads no further. The attempt ends when all workers have committed closed windows. Until then
    /// no capability moves: the next attempt reads the records of open windows again.
    fn drain(&mut self) -> Next {
        let is_committed = |boundary| boundary_at(&self.committed) >= boundary;
        let is_done = self.workers.drains_to().is_some_and(is_committed)
            && self.partitions.has_no_side_outputs();
        let boundary = self.partitions.capability();
        self.workers
            .announce(WorkerProgress::Draining { boundary, is_done });

        if self.workers.all_drained() {
            self.attempt.end_drained();
        }
        Next::Wait(TICK)
    }

    /// Reads a batch from each partition, and returns the number of records.
    fn poll(&mut self) -> u64 {
        let moment = Moment {
            committed: boundary_at(&self.committed),
            all_at_end_ms: self.all_claim().end_as_of_ms(),
            now_ms: (self.clock)(),
        };

        let (batch, error) = match self.partitions.poll(moment) {
            Ok(batch) => (batch, None),
            Err((batch, error)) => (batch, Some(error)),
        };
        self.attempt.metrics.read(batch);
        for (source, log_time_type) in self.partitions.log_time_types() {
            self.attempt.metrics.log_time_type(*source, *log_time_type);
        }
        // A job without a window goes by its clock.
        let all = match &self.ticks {
            Some(_) => Claim::none(),
            None => self.all_claim(),
        };
        for position in self.partitions.positions(all) {
            self.attempt.metrics.position(position);
        }

        if let Some(partition) = self.partitions.foreign() {
            self.attempt.fail(JobError::Position(format!(
                "{} holds other records than those that the checkpoint has counted: the topic was \
                 deleted and recreated. Restore it, or start over",
                self.inputs.name_of(partition)
            )));
        }

        self.note(error);
        batch.records
    }

    /// Notes whether the log is available. An outage is logged once, when it begins.
    fn note(&mut self, error: Option<LogError>) {
        match error {
            None => self.is_away = false,
            Some(error @ LogError::Unavailable(_)) => {
                self.attempt.metrics.retries(Retried::Read);
                if !std::mem::replace(&mut self.is_away, true) {
                    tracing::warn!(%error, "reading waits for the record log");
                    self.attempt.metrics.trouble(error);
                }
            }
            Some(error) => self.attempt.fail(error),
        }
    }

    /// Returns the combined claim of all workers.
    fn all_claim(&self) -> Claim {
        self.partitions.claim().and(self.workers.others())
    }

    /// Returns the event time to which this worker may advance, and whether that is the end of the job. Announces this
    /// worker's progress to the others.
    fn target(&mut self) -> (Option<EventTimeMs>, bool) {
        let claim = match &mut self.ticks {
            Some(ticks) => Claim::at(ticks.at((self.clock)(), self.workers.furthest())),
            None => self.partitions.claim(),
        };
        let progress = self
            .partitions
            .finished()
            .map_or(WorkerProgress::Reading(claim), WorkerProgress::Finished);
        self.workers.announce(progress);

        if let Some(end) = self.workers.all_finished() {
            return (Some(end), true);
        }

        // A worker whose partitions are all empty, idle or read to the end follows the other
        // workers.
        let claim = if claim.is_active() {
            claim
        } else {
            self.all_claim()
        };
        (claim.reached(), false)
    }
}

impl<K: Key, A: Aggregate> Outputs<'_, K, A> {
    /// Sends the entries of a group, a few thousand bytes at a time.
    fn send(&mut self, held: &Capabilities, group: &mut Group<K, A>) {
        self.entries
            .session(&held.entries.delayed(&group.arrival()))
            .give_iterator(group.drain());
    }

    fn send_restored(&mut self, held: &Capabilities, mut pane: ClosedPane<K, A>) {
        if !pane.entries.is_empty() {
            self.entries
                .session(&held.entries.delayed(&pane.arrival))
                .give_container(&mut pane.entries);
        }
    }
}

impl Capabilities {
    /// Takes the initial capabilities of the operator: one for each output, in order.
    fn new(initial: Vec<Capability<EventTimeMs>>) -> Option<Self> {
        let [entries, crossings] = initial.try_into().ok()?;
        Some(Self { entries, crossings })
    }

    fn downgrade(&mut self, boundary: EventTimeMs) {
        self.entries.downgrade(&boundary);
        self.crossings.downgrade(&boundary);
    }
}
