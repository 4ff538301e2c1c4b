//! Runs a job: starts attempt after attempt until the input is read to its end, a stop is
//! requested, or an attempt fails for good.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use record_log::{PublishError, RecordLog};
use timely::communication::{AllocatorBuilder, WorkerGuards};
use timely::execute::execute_from;
use timely::{CommunicationConfig, WorkerConfig};
use tokio::runtime::Runtime;

use crate::aggregate::{Aggregate, Key};
use crate::attempt::{Attempt, Stop};
use crate::checkpoint::recover::RecoverError;
use crate::checkpoint::store::{CheckpointStore, StoreError};
use crate::clock::{Clock, system_clock};
use crate::cluster::mesh::Mesh;
use crate::cluster::{ClusterError, Members};
use crate::dataflow;
use crate::error::JobError;
use crate::job::Pipeline;
use crate::metrics::Metrics;
use crate::monitor::{self, Stopping, Topics};
use crate::settings::Settings;
use crate::topics;
use crate::watchdog::Steps;
use crate::worker::{Own, Shared};

/// A job with everything it needs to run.
pub struct Run<K, A> {
    /// The job's definition: topics, windows, decoding and aggregation.
    pub pipeline: Pipeline<K, A>,
    /// The settings of the run.
    pub settings: Settings,
    /// The log that records are read from and results are published to.
    pub log: Arc<dyn RecordLog>,
    /// The store of the job's checkpoints.
    pub store: CheckpointStore,
    /// The job's metrics.
    pub metrics: Metrics,
    /// The clock, in milliseconds since the epoch.
    pub clock: Clock,
    /// The processes that run it, if there are several.
    pub members: Option<Members>,
}

/// The first and the last delay between attempts; the delay doubles in between.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(10);
/// An attempt that has lived longer than this resets the delay.
const HEALTHY: Duration = Duration::from_secs(60);
/// The longest time for which a worker parks before it checks whether the attempt is over.
const LONGEST_PARK: Duration = Duration::from_millis(100);

/// The end of an attempt without a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    /// The input was read to its end, or a stop was requested.
    Done,
    /// A source topic has more partitions than the attempt started with.
    PartitionsAdded,
}

impl<K: Key, A: Aggregate> Run<K, A> {
    /// Creates a job that uses the system clock and stores its checkpoints at the address in its
    /// settings.
    ///
    /// # Errors
    /// [`JobError::Store`] if the checkpoints' address cannot be used.
    pub fn new(
        pipeline: Pipeline<K, A>,
        settings: Settings,
        log: Arc<dyn RecordLog>,
    ) -> Result<Self, JobError> {
        let store = CheckpointStore::open(&settings.checkpoints, pipeline.name())?;
        let metrics = Metrics::new(pipeline.name());
        Ok(Self {
            pipeline,
            settings,
            log,
            store,
            metrics,
            clock: system_clock(),
            members: None,
        })
    }

    /// Makes the job one of several processes if `members` is some.
    ///
    /// # Errors
    /// [`ClusterError::Membership`] if there are several processes and the checkpoints are in
    /// memory.
    pub fn together(self, members: Option<Members>) -> Result<Self, ClusterError> {
        if members.is_some() && self.settings.checkpoints.starts_with("memory:") {
            let reason = "several processes need --checkpoints in a store that all of them reach, not in memory";
            return Err(ClusterError::Membership(reason.to_owned()));
        }
        Ok(Self { members, ..self })
    }

    /// Runs the job on this thread and its workers' threads until the input is read to its end or a
    /// stop is requested. On a stop, the job reads no further, commits closed windows, and ends
    /// within its stop timeout; on a second request it ends at once. If the log or the store fails,
    /// the attempt ends and the next one continues from the checkpoint. If the job has several
    /// processes, this one ends with its attempt.
    ///
    /// # Errors
    /// [`JobError`] if another attempt cannot help, would do harm, or has to be started by all
    /// processes together.
    pub fn run(&self, stop: &Stop) -> Result<(), JobError> {
        self.settings.validate()?;
        self.pipeline.validate()?;
        topics::validate(&self.pipeline)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| JobError::Worker(error.to_string()))?;
        let mut delay = FIRST_DELAY;

        while !stop.is_requested() {
            let begun = std::time::Instant::now();
            match self.attempt(&runtime, stop) {
                Ok(Ending::Done) => return Ok(()),
                Ok(Ending::PartitionsAdded) if self.members.is_some() => {
                    return Err(ClusterError::PartitionsAdded.into());
                }
                Ok(Ending::PartitionsAdded) => {
                    tracing::warn!("partitions were added, starting again to take them in");
                }
                Err(error) if error.is_passing() && self.members.is_none() => {
                    self.metrics.trouble(&error);
                    tracing::warn!(%error, delay_ms = delay.as_millis(), "the attempt ended, starting again");
                    stop.wait(delay);

                    delay = if begun.elapsed() > HEALTHY {
                        FIRST_DELAY
                    } else {
                        (delay * 2).min(LAST_DELAY)
                    };
                }
                // The other processes wait for this one, so it starts again. A single process that
                // was superseded ends for good; otherwise the two would fence each other for ever.
                Err(error) if error.is_superseded() && self.members.is_some() => {
                    return Err(ClusterError::LeftBehind(Box::new(error)).into());
                }
                Err(error) => return Err(error),
            }
        }

        Ok(())
    }

    /// Runs one attempt.
    fn attempt(&self, runtime: &Runtime, stop: &Stop) -> Result<Ending, JobError> {
        let begun = until_stopped(runtime, stop, self.begin(stop))?;
        let Some(mut recovered) = begun.flatten() else {
            return Ok(Ending::Done);
        };

        let number = recovered.number;
        self.metrics.attempt_began(number);
        self.metrics.count_retries_of(&self.store);
        self.metrics
            .expect_answers_within(self.settings.answer_limit);
        recovered.log_beginning();

        let attempt = Attempt::new(
            number,
            runtime.handle().clone(),
            self.metrics.clone(),
            Stop::default(),
        );
        let attempt = Arc::new(attempt);
        let owned = self.assign(&mut recovered)?;

        let watch = monitor::watch(
            Arc::clone(&self.log),
            self.topics(&recovered.partitions),
            Arc::clone(&attempt),
            Stopping {
                stop: stop.clone(),
                within: self.settings.stop_timeout,
            },
        );

        let shared = Shared {
            pipeline: self.pipeline.clone(),
            attempt: Arc::clone(&attempt),
            store: self.store.clone(),
            adopted: recovered.adopted,
            slots: self.settings.sink_slots,
            clock: Arc::clone(&self.clock),
        };
        let outcome = self.execute(shared, owned, recovered.mesh);
        let partitions_added = watch.end();
        self.metrics.attempt_ended();

        if let Some(error) = attempt.failure() {
            return Err(self.unless_superseded(runtime, stop, number, error)?);
        }
        outcome?;

        if attempt.is_drained() && !stop.is_requested() {
            return Err(ClusterError::Stopped.into());
        }

        Ok(if partitions_added {
            Ending::PartitionsAdded
        } else {
            Ending::Done
        })
    }

    /// Returns the error that ends attempt `own`, after this one. A publisher whose last commit is in doubt may have been
    /// fenced by a later attempt: that was claimed before it fenced anything, and must not be fenced in turn.
    fn unless_superseded(
        &self,
        runtime: &Runtime,
        stop: &Stop,
        own: u64,
        error: JobError,
    ) -> Result<JobError, StoreError> {
        if !matches!(error, JobError::Publish(PublishError::MayHaveHappened(_))) {
            return Ok(error);
        }

        let newest = until_stopped(runtime, stop, self.store.newest_attempt())?;
        Ok(match newest {
            Some(newest) if newest > own => RecoverError::Superseded { own, newest }.into(),
            _ => error,
        })
    }

    /// Returns the topics to watch over, where the source topics have these numbers of partitions.
    fn topics(&self, partitions: &[u32]) -> Topics {
        let kept = if self.settings.allow_compaction {
            Vec::new()
        } else {
            topics::kept(&self.pipeline)
        };

        Topics {
            inputs: self.pipeline.inputs.clone(),
            partitions: partitions.iter().map(|count| *count as usize).sum(),
            kept,
        }
    }

    /// Runs the workers until they are done or the attempt is over.
    fn execute(
        &self,
        shared: Shared<K, A>,
        owned: Vec<Own<K, A>>,
        mesh: Option<Mesh>,
    ) -> Result<(), JobError> {
        let attempt = Arc::clone(&shared.attempt);
        let workers = owned.len();
        let Some(mesh) = mesh else {
            let (builders, _) = CommunicationConfig::Process(workers)
                .try_build()
                .map_err(JobError::Worker)?;
            return self.work(builders, shared, owned);
        };

        let (builders, carriers) = mesh.connect(workers, &attempt)?;
        let outcome = self.work(builders, shared, owned);
        if attempt.is_over() && !attempt.is_drained() {
            carriers.cut();
        } else {
            carriers.finish();
        }

        outcome
    }

    fn work(
        &self,
        builders: Vec<AllocatorBuilder>,
        shared: Shared<K, A>,
        owned: Vec<Own<K, A>>,
    ) -> Result<(), JobError> {
        let first = self.own_workers().start;
        let attempt = Arc::clone(&shared.attempt);
        let steps = Steps::of_workers(owned.len());
        let counted = steps.clone();
        let owned: Vec<Mutex<Option<Own<K, A>>>> =
            owned.into_iter().map(|own| Mutex::new(Some(own))).collect();

        let guards = execute_from(
            builders,
            Box::new(()),
            WorkerConfig::default(),
            move |worker| {
                let _guard = shared.attempt.guard("a worker");
                let steps = counted.of(worker.index() - first);
                let own = owned[worker.index() - first]
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                dataflow::build(worker, &shared, own.expect("each worker starts once"));

                while !shared.attempt.is_over() && worker.has_dataflows() {
                    steps.begin();
                    worker.step_or_park(Some(LONGEST_PARK));
                }
                drop(steps);

                for dataflow in worker.installed_dataflows() {
                    worker.drop_dataflow(dataflow);
                }
            },
        );
        let guards = guards.map_err(JobError::Worker)?;
        let limit = self.settings.step_limit;

        match steps.watch(limit, || have_ended(&guards)) {
            None => join(guards),
            Some(worker) => {
                attempt.fail(JobError::Hung {
                    worker: first + worker,
                    limit,
                });
                // Dropping the guards would wait for the worker that hangs.
                std::mem::forget(guards);
                Ok(())
            }
        }
    }
}

fn have_ended(guards: &WorkerGuards<()>) -> bool {
    guards.guards().iter().all(JoinHandle::is_finished)
}

/// Waits for the workers' threads, which have done their work.
fn join(guards: WorkerGuards<()>) -> Result<(), JobError> {
    guards
        .join()
        .into_iter()
        .collect::<Result<(), String>>()
        .map_err(JobError::Worker)
}

/// Waits for work on the store, which retries without limit. Returns none if a stop is requested.
fn until_stopped<T, E>(
    runtime: &Runtime,
    stop: &Stop,
    work: impl Future<Output = Result<T, E>>,
) -> Result<Option<T>, E> {
    let asked = async {
        while !stop.is_requested() {
            tokio::time::sleep(LONGEST_PARK).await;
        }
    };

    runtime.block_on(async {
        tokio::select! {
            outcome = work => outcome.map(Some),
            () = asked => Ok(None),
        }
    })
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
