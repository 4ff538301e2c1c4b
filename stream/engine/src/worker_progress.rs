//! Worker progress: the claim of each worker's source, shared with all workers.
//!
//! A worker without events of its own must not hold the others back, but its capability would if it
//! stayed where it is. So the worker follows the least claim of the others. Claims travel in a
//! small dataflow of their own, whose time never advances. They only inform a worker when to move,
//! and move no frontier themselves.

use std::cell::RefCell;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::{Operator, operator::source};
use timely::dataflow::operators::vec::Broadcast;
use timely::scheduling::Activator;
use timely::worker::Worker;

use crate::pane::EventTimeMs;
use crate::watermark::Claim;

/// The progress of a worker.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum WorkerProgress {
    /// The worker is reading, with this claim of its partitions.
    Reading(Claim),
    /// The worker has read everything that it was to read. Its windows end by this boundary.
    Finished(EventTimeMs),
    /// The worker reads no further because the job is to stop.
    Draining {
        /// The boundary that it has reached.
        boundary: EventTimeMs,
        /// True if its part of everything before the least of all boundaries is committed.
        is_done: bool,
    },
}

/// The progress of all workers, as far as it is known here. Shared by the operators of one worker.
#[derive(Clone)]
pub struct SharedProgress(Rc<RefCell<Table>>);

struct Table {
    own: usize,
    all: Vec<WorkerProgress>,
    announced: Option<WorkerProgress>,
    /// This worker's progress as it has reached the others.
    echo: Option<WorkerProgress>,
    over: bool,
    sender: Option<Activator>,
    listener: Option<Activator>,
}

impl SharedProgress {
    /// Builds the dataflow that distributes worker progress.
    pub fn spread(worker: &mut Worker) -> Self {
        let own = worker.index();
        let peers = worker.peers();
        let all = vec![WorkerProgress::Reading(Claim::Unread); peers];

        let table = Table {
            own,
            all,
            announced: None,
            echo: None,
            over: false,
            sender: None,
            listener: None,
        };
        let shared = Self(Rc::new(RefCell::new(table)));
        worker.dataflow_named::<u64, _, _>("worker progress", |scope| shared.build(scope));

        shared
    }

    fn build<'scope>(&self, scope: Scope<'scope, u64>) {
        let sending = self.clone();
        let sent = source(scope, "announce", |capability, info| {
            let mut capability = Some(capability);
            sending.0.borrow_mut().sender = Some(scope.activator_for(info.address));
            move |output| {
                let mut table = sending.0.borrow_mut();
                if let (Some(capability), Some(progress)) = (&capability, table.announced.take()) {
                    output.session(capability).give((table.own, progress));
                }

                if table.over {
                    capability = None;
                }
            }
        });

        let hearing = self.clone();
        sent.container::<Vec<(usize, WorkerProgress)>>()
            .broadcast()
            .sink(Pipeline, "hear", move |(input, _)| {
                input.for_each(|_, heard| hearing.hear(heard));
            });
    }

    /// Returns the index of this worker.
    pub fn own(&self) -> usize {
        self.0.borrow().own
    }

    /// Sets the operator to schedule when another worker's progress changes.
    pub fn listen(&self, listener: Activator) {
        self.0.borrow_mut().listener = Some(listener);
    }

    /// Sends this worker's progress to all workers, if it has changed.
    pub fn announce(&self, progress: WorkerProgress) {
        let mut table = self.0.borrow_mut();
        let own = table.own;
        if table.all[own] != progress {
            table.all[own] = progress;
            table.announced = Some(progress);
            table.sender.iter().for_each(Activator::activate);
        }
    }

    /// Returns the combined claim of the other workers.
    pub fn others(&self) -> Claim {
        let table = self.0.borrow();
        let others = table
            .all
            .iter()
            .enumerate()
            .filter(|(worker, _)| *worker != table.own);

        let claims = others.map(|(_, progress)| match progress {
            WorkerProgress::Reading(claim) => *claim,
            WorkerProgress::Finished(_) | WorkerProgress::Draining { .. } => Claim::none(),
        });
        claims.fold(Claim::none(), Claim::and)
    }

    /// Returns the furthest time that another worker has reached.
    pub fn furthest(&self) -> Option<EventTimeMs> {
        let table = self.0.borrow();
        let reached = |progress: &WorkerProgress| match progress {
            WorkerProgress::Reading(claim) => claim.reached(),
            WorkerProgress::Finished(end) => Some(*end),
            WorkerProgress::Draining { boundary, .. } => Some(*boundary),
        };
        let others = (0..)
            .zip(&table.all)
            .filter(|(worker, _)| *worker != table.own);
        others.filter_map(|(_, progress)| reached(progress)).max()
    }

    /// Returns the boundary by which all windows end, once all workers have finished.
    pub fn all_finished(&self) -> Option<EventTimeMs> {
        let table = self.0.borrow();
        let ends: Option<Vec<_>> = table
            .all
            .iter()
            .map(|progress| match progress {
                WorkerProgress::Finished(end) => Some(*end),
                WorkerProgress::Reading(_) | WorkerProgress::Draining { .. } => None,
            })
            .collect();

        ends?.into_iter().max()
    }

    /// Returns whether some worker reads no further because the job is to stop.
    pub fn is_draining(&self) -> bool {
        let is_draining =
            |progress: &WorkerProgress| matches!(progress, WorkerProgress::Draining { .. });
        self.0.borrow().all.iter().any(is_draining)
    }

    /// Returns the least boundary that a worker has reached, once no worker reads any further.
    pub fn drains_to(&self) -> Option<EventTimeMs> {
        let boundary = |progress: &WorkerProgress| match progress {
            WorkerProgress::Draining { boundary, .. } => Some(*boundary),
            WorkerProgress::Reading(_) | WorkerProgress::Finished(_) => None,
        };

        let table = self.0.borrow();
        let boundaries: Option<Vec<_>> = table.all.iter().map(boundary).collect();
        boundaries?.into_iter().min()
    }

    /// Returns whether all workers have committed closed windows, and this worker's last
    /// announcement has reached the others.
    pub fn all_drained(&self) -> bool {
        let is_done = |progress: &WorkerProgress| {
            matches!(progress, WorkerProgress::Draining { is_done: true, .. })
        };

        let table = self.0.borrow();
        table.all.iter().all(is_done) && table.echo.as_ref().is_some_and(is_done)
    }

    /// Ends the dataflow.
    pub fn end(&self) {
        let mut table = self.0.borrow_mut();
        table.over = true;
        table.sender.iter().for_each(Activator::activate);
    }

    fn hear(&self, heard: &[(usize, WorkerProgress)]) {
        let mut table = self.0.borrow_mut();
        for (worker, progress) in heard {
            if *worker == table.own {
                table.echo = Some(*progress);
            } else {
                table.all[*worker] = *progress;
            }
        }
        table.listener.iter().for_each(Activator::activate);
    }
}
