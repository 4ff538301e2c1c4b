//! The life of a job: attempt after attempt, until it has read to the end, is asked to stop, or fails for good.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use record_log::RecordLog;
use timely::communication::AllocatorBuilder;
use timely::execute::execute_from;
use timely::{CommunicationConfig, WorkerConfig};
use tokio::runtime::Runtime;

use crate::aggregate::{Aggregate, Key};
use crate::attempt::{Attempt, JobError, Stop};
use crate::checkpoint::store::CheckpointStore;
use crate::cluster::mesh::Mesh;
use crate::cluster::{ClusterError, Members};
use crate::job::Pipeline;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::source::Clock;
use crate::worker::{Own, Shared};
use crate::{dataflow, monitor};

/// A job, and everything that it runs on.
pub struct Run<K, A> {
    /// What it does.
    pub pipeline: Pipeline<K, A>,
    /// How it is run.
    pub settings: Settings,
    /// Where its records come from and its results go.
    pub log: Arc<dyn RecordLog>,
    /// Where its checkpoints go.
    pub store: CheckpointStore,
    /// What it measures.
    pub metrics: Metrics,
    /// The clock, in milliseconds since the epoch.
    pub clock: Clock,
    /// The processes that run it, if there are several.
    pub members: Option<Members>,
}

/// Delays between attempts: doubled from the first to the last.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(10);
/// An attempt that lived so long begins the delays anew.
const HEALTHY: Duration = Duration::from_secs(60);
/// How long a worker sleeps at most before it looks whether the attempt is over.
const LONGEST_PARK: Duration = Duration::from_millis(100);

/// How an attempt ended that did not fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    /// Everything was read, or somebody asked to stop.
    Done,
    /// The topic has more partitions than the attempt knows.
    PartitionsAdded,
}

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    })
}

impl<K: Key, A: Aggregate> Run<K, A> {
    /// A job on the system's clock, with its checkpoints where its settings say.
    ///
    /// # Errors
    /// [`JobError::Store`] when the checkpoints' address cannot be used.
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

    /// The same job as one of several processes, if there are several.
    ///
    /// # Errors
    /// [`ClusterError::Membership`] when the processes could not share their checkpoints.
    pub fn together(self, members: Option<Members>) -> Result<Self, ClusterError> {
        if members.is_some() && self.settings.checkpoints.starts_with("memory:") {
            let reason = "several processes need --checkpoints in a store that all of them reach, not in memory";
            return Err(ClusterError::Membership(reason.to_owned()));
        }
        Ok(Self { members, ..self })
    }

    /// Runs the job on this thread and its workers' until it has read to the end or is asked to stop. A log or store that
    /// goes away ends an attempt, not the job: the next one goes on from the checkpoint. One of several processes ends with
    /// its attempt.
    ///
    /// # Errors
    /// [`JobError`] when going on cannot help, would do harm, or is for all processes to do together.
    pub fn run(&self, stop: &Stop) -> Result<(), JobError> {
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
                // The others wait for it: a process alone that was superseded ends for good, or the two would fight for ever.
                Err(error) if error.is_superseded() && self.members.is_some() => {
                    return Err(ClusterError::LeftBehind(Box::new(error)).into());
                }
                Err(error) => return Err(error),
            }
        }

        Ok(())
    }

    /// One life.
    fn attempt(&self, runtime: &Runtime, stop: &Stop) -> Result<Ending, JobError> {
        let begun = until_stopped(runtime, stop, self.begin(stop))?;
        let Some(mut beginning) = begun.flatten() else {
            return Ok(Ending::Done);
        };

        let number = beginning.number;
        self.metrics.attempt_began(number);
        self.metrics
            .expect_answers_within(self.settings.answer_limit);

        let boundary_ms = beginning.adopted.boundary;
        tracing::info!(
            attempt = number,
            boundary_ms,
            partitions = beginning.partitions,
            "the attempt begins"
        );

        let attempt = Attempt::new(
            number,
            runtime.handle().clone(),
            self.metrics.clone(),
            Stop::default(),
        );
        let attempt = Arc::new(attempt);
        let owned = self.assign(&mut beginning)?;

        let watch = monitor::watch(
            Arc::clone(&self.log),
            self.pipeline.topic.clone(),
            beginning.partitions,
            Arc::clone(&attempt),
            stop.clone(),
        );

        let shared = Shared {
            pipeline: self.pipeline.clone(),
            attempt: Arc::clone(&attempt),
            store: self.store.clone(),
            adopted: beginning.adopted,
            clock: Arc::clone(&self.clock),
        };
        let outcome = self.execute(shared, owned, beginning.mesh);
        let partitions_added = watch.end();
        self.metrics.attempt_ended();
        attempt.failure().map_or(Ok(()), Err)?;
        outcome?;

        Ok(if partitions_added {
            Ending::PartitionsAdded
        } else {
            Ending::Done
        })
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
        if attempt.is_over() {
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
        let owned: Vec<Mutex<Option<Own<K, A>>>> =
            owned.into_iter().map(|own| Mutex::new(Some(own))).collect();

        let guards = execute_from(
            builders,
            Box::new(()),
            WorkerConfig::default(),
            move |worker| {
                let _guard = shared.attempt.guard("a worker");
                let own = owned[worker.index() - first]
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                dataflow::build(worker, &shared, own.expect("each worker starts once"));

                while !shared.attempt.is_over() && worker.has_dataflows() {
                    worker.step_or_park(Some(LONGEST_PARK));
                }

                for dataflow in worker.installed_dataflows() {
                    worker.drop_dataflow(dataflow);
                }
            },
        );
        let outcomes = guards.map_err(JobError::Worker)?.join();

        outcomes
            .into_iter()
            .collect::<Result<Vec<()>, String>>()
            .map_err(JobError::Worker)?;

        Ok(())
    }
}

/// Waits for work on the store, which does not give up by itself; none when somebody asks to stop.
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
