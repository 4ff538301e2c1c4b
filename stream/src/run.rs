//! The life of a job: attempt after attempt, until it has read to the end, is asked to stop, or fails for good.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use record_log::{LogError, Offset, PublishError, RecordLog};
use timely::{CommunicationConfig, Config, WorkerConfig};
use tokio::runtime::Runtime;

use crate::aggregate::{Aggregate, Key};
use crate::attempt::{Attempt, JobError, Stop};
use crate::checkpoint::manifest::{Fingerprint, Manifest};
use crate::checkpoint::part;
use crate::checkpoint::recover::{self, Checkpoint};
use crate::checkpoint::store::CheckpointStore;
use crate::cut::{Intake, Start};
use crate::dataflow;
use crate::flow::ClosedPane;
use crate::job::Pipeline;
use crate::metrics::Metrics;
use crate::pane::EventTimeMs;
use crate::settings::Settings;
use crate::sink::committer::SlotPublisher;
use crate::source::Clock;
use crate::source::partitions::{Limits, Partitions};
use crate::worker::{Own, Shared};
use crate::{monitor, topics};

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
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    })
}

impl<K: Key, A: Aggregate> Run<K, A> {
    /// A job on the system's clock, with its checkpoints where its settings say.
    ///
    /// # Errors
    /// [`JobError::Store`] when the checkpoints' address cannot be used.
    pub fn new(pipeline: Pipeline<K, A>, settings: Settings, log: Arc<dyn RecordLog>) -> Result<Self, JobError> {
        let store = CheckpointStore::open(&settings.checkpoints, pipeline.name())?;
        let metrics = Metrics::new(pipeline.name());
        Ok(Self { pipeline, settings, log, store, metrics, clock: system_clock() })
    }

    /// Runs the job on this thread and its workers' until it has read to the end or is asked to stop. A log or store that
    /// goes away ends an attempt, not the job: the next one goes on from the checkpoint.
    ///
    /// # Errors
    /// [`JobError`] when going on cannot help, or would do harm.
    pub fn run(&self, stop: &Stop) -> Result<(), JobError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| JobError::Worker(error.to_string()))?;
        let mut delay = FIRST_DELAY;
        while !stop.is_requested() {
            let begun = std::time::Instant::now();
            match self.attempt(&runtime, stop) {
                Ok(Ending::Done) => return Ok(()),
                Ok(Ending::PartitionsAdded) => tracing::warn!("partitions were added, starting again to take them in"),
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, delay_ms = delay.as_millis(), "the attempt ended, starting again");
                    wait(delay, stop);
                    delay = if begun.elapsed() > HEALTHY { FIRST_DELAY } else { (delay * 2).min(LAST_DELAY) };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One life. The order of the first steps is [`recover`]'s.
    fn attempt(&self, runtime: &Runtime, stop: &Stop) -> Result<Ending, JobError> {
        topics::ensure(self.log.as_ref(), &self.pipeline)?;
        let partitions =
            topics::await_partitions(self.log.as_ref(), &self.pipeline.topic, self.settings.until_end, stop)?;
        let Some(partitions) = partitions else { return Ok(Ending::Done) };
        let fingerprint = Fingerprint::new(&self.pipeline.topic, &self.pipeline.windows, self.settings.sink_slots);
        let Some(number) = until_stopped(runtime, stop, self.store.claim_attempt())? else { return Ok(Ending::Done) };
        let publishers = self.open_slots()?;
        let newest = until_stopped(runtime, stop, recover::newest(&self.store, number, &fingerprint))?;
        let Some(checkpoint) = newest else { return Ok(Ending::Done) };
        let adopted = recover::adopt(checkpoint.as_ref(), number, self.pipeline.name(), &fingerprint);
        let published = until_stopped(runtime, stop, self.store.create_manifest(&adopted))?;
        let Some(()) = published else { return Ok(Ending::Done) };
        self.metrics.attempt_began(number);
        tracing::info!(attempt = number, boundary_ms = adopted.boundary, partitions, "the attempt begins");

        let attempt = Attempt::new(number, runtime.handle().clone(), self.metrics.clone(), Stop::default());
        let attempt = Arc::new(attempt);
        let owned = self.share_out(partitions, &adopted, checkpoint, publishers)?;
        let shared = Shared {
            pipeline: self.pipeline.clone(),
            attempt: Arc::clone(&attempt),
            store: self.store.clone(),
            adopted,
            allowed_lateness_ms: millis(self.settings.allowed_lateness),
            clock: Arc::clone(&self.clock),
        };
        let watch = monitor::watch(
            Arc::clone(&self.log),
            self.pipeline.topic.clone(),
            partitions,
            Arc::clone(&attempt),
            stop.clone(),
        );
        let outcome = execute(shared, owned);
        let partitions_added = watch.end();
        self.metrics.attempt_ended();
        attempt.failure().map_or(Ok(()), Err)?;
        outcome?;
        Ok(if partitions_added { Ending::PartitionsAdded } else { Ending::Done })
    }

    /// Opens the publishers of all slots: that fences every earlier attempt.
    fn open_slots(&self) -> Result<Vec<SlotPublisher>, LogError> {
        let (job, delivery) = (self.pipeline.name(), self.settings.guarantee.into());
        thread::scope(|scope| {
            let open = |slot| {
                move || {
                    let publisher = self.log.publisher(&format!("{job}-sink-{slot}"), delivery)?;
                    Ok(SlotPublisher { slot, publisher })
                }
            };
            let opening: Vec<_> = (0..self.settings.sink_slots.count()).map(|slot| scope.spawn(open(slot))).collect();
            opening.into_iter().map(|thread| thread.join().expect("opening a publisher does not panic")).collect()
        })
    }

    /// Gives every worker its partitions, its slots, and its share of the checkpoint.
    fn share_out(
        &self,
        partitions: u32,
        adopted: &Manifest,
        checkpoint: Option<Checkpoint>,
        publishers: Vec<SlotPublisher>,
    ) -> Result<Vec<Own<K, A>>, JobError> {
        let workers = usize::from(self.settings.workers);
        let starts = self.starts(partitions, adopted)?;
        let ends = if self.settings.until_end { Some(self.ends()?) } else { None };
        let mut restored = self.restored(adopted.boundary, checkpoint, workers)?;
        let mut slots: Vec<Vec<SlotPublisher>> = (0..workers).map(|_| Vec::new()).collect();
        for publisher in publishers {
            slots[publisher.slot as usize % workers].push(publisher);
        }
        let windows_end = restored.iter().flatten().map(|pane| pane.arrival + self.pipeline.windows.size_ms()).max();
        let mut owned = Vec::new();
        for (worker, slots) in slots.into_iter().enumerate() {
            let own =
                starts.iter().filter(|(id, _)| **id as usize % workers == worker).map(|(id, start)| (*id, *start));
            let mut partitions = self.partitions(adopted.boundary, own.collect(), ends.clone())?;
            partitions.expect_windows_until(windows_end.unwrap_or(0));
            owned.push(Own { partitions, restored: std::mem::take(&mut restored[worker]), slots });
        }
        Ok(owned)
    }

    fn partitions(
        &self,
        boundary: EventTimeMs,
        starts: Vec<(u32, Start)>,
        ends: Option<BTreeMap<u32, Offset>>,
    ) -> Result<Partitions<K, A>, JobError> {
        let from: Vec<_> = starts.iter().map(|(id, start)| (*id, start.resume)).collect();
        let reader = self.log.reader(&self.pipeline.topic, &from)?;
        let (windows, settings) = (self.pipeline.windows, &self.settings);
        let disorder_ms = millis(settings.disorder);
        let intake = Intake::new(windows, millis(settings.allowed_lateness), disorder_ms, boundary, starts);
        // The slowest partition must be able to read on until its watermark passes its oldest open pane.
        let needed = disorder_ms / windows.pane_ms() + 2;
        let limits = Limits {
            windows,
            max_future_skew_ms: millis(settings.max_future_skew),
            max_open_panes: usize::from(settings.max_open_panes) + usize::try_from(needed).unwrap_or(usize::MAX / 2),
        };
        Ok(Partitions::new(intake, reader, Arc::clone(&self.pipeline.decode), limits, ends))
    }

    /// Where each partition is taken up: where the checkpoint says, or at its oldest record.
    fn starts(&self, partitions: u32, adopted: &Manifest) -> Result<BTreeMap<u32, Start>, JobError> {
        let ranges = self.log.offsets(&self.pipeline.topic)?;
        let range = |id: u32| ranges.get(id as usize).copied();
        let mut starts: BTreeMap<u32, Start> = BTreeMap::new();
        for id in 0..partitions {
            let oldest = range(id).map_or(0, |range| range.start);
            starts.insert(id, Start { resume: oldest, cut: 0, newest: None });
        }
        for cut in adopted.partitions.iter().filter(|cut| cut.cut > 0) {
            let held = range(cut.partition).map_or((0, 0), |range| (range.start, range.end));
            if cut.resume < held.0 || cut.cut > held.1 {
                return Err(JobError::Position(format!(
                    "the checkpoint reads partition {} of {:?} from offset {} and has counted up to {}, but the log holds {} to {}: \
                     the topic was deleted, recreated or has expired. Restore it, or start over under another --job name",
                    cut.partition, self.pipeline.topic, cut.resume, cut.cut, held.0, held.1
                )));
            }
            starts.insert(cut.partition, Start { resume: cut.resume, cut: cut.cut, newest: cut.newest });
        }
        Ok(starts)
    }

    fn ends(&self) -> Result<BTreeMap<u32, Offset>, LogError> {
        let ranges = self.log.offsets(&self.pipeline.topic)?;
        Ok((0..).zip(ranges).map(|(id, range)| (id, range.end)).collect())
    }

    /// The panes of the checkpoint, dealt out to the workers. It does not matter which one sends what.
    fn restored(
        &self,
        boundary: EventTimeMs,
        checkpoint: Option<Checkpoint>,
        workers: usize,
    ) -> Result<Vec<Vec<ClosedPane<K, A>>>, JobError> {
        let mut dealt: Vec<Vec<ClosedPane<K, A>>> = (0..workers).map(|_| Vec::new()).collect();
        let parts = checkpoint.map(|checkpoint| checkpoint.parts).unwrap_or_default();
        for (index, bytes) in parts.into_iter().enumerate() {
            let panes = part::read(&bytes, boundary).map_err(|error| JobError::Position(error.to_string()))?;
            dealt[index % workers].extend(panes);
        }
        Ok(dealt)
    }
}

/// Runs the workers until they are done or the attempt is over.
fn execute<K: Key, A: Aggregate>(shared: Shared<K, A>, owned: Vec<Own<K, A>>) -> Result<(), JobError> {
    let workers = owned.len();
    let owned: Vec<Mutex<Option<Own<K, A>>>> = owned.into_iter().map(|own| Mutex::new(Some(own))).collect();
    let config = Config { communication: CommunicationConfig::Process(workers), worker: WorkerConfig::default() };
    let guards = timely::execute(config, move |worker| {
        let _guard = shared.attempt.guard("a worker");
        let own = owned[worker.index()].lock().unwrap_or_else(PoisonError::into_inner).take();
        dataflow::build(worker, &shared, own.expect("each worker starts once"));
        while !shared.attempt.is_over() && worker.has_dataflows() {
            worker.step_or_park(Some(LONGEST_PARK));
        }
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    });
    let outcomes = guards.map_err(JobError::Worker)?.join();
    outcomes.into_iter().collect::<Result<Vec<()>, String>>().map_err(JobError::Worker)?;
    Ok(())
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

/// Going on from the checkpoint may help.
fn is_passing(error: &JobError) -> bool {
    match error {
        JobError::Log(LogError::Unavailable(_)) => true,
        JobError::Publish(error) => !matches!(error, PublishError::Fenced { .. }),
        _ => false,
    }
}

fn wait(delay: Duration, stop: &Stop) {
    let until = std::time::Instant::now() + delay;
    while std::time::Instant::now() < until && !stop.is_requested() {
        thread::sleep(Duration::from_millis(20).min(delay));
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
