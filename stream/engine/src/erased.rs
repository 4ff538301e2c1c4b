//! Jobs whose types of keys and aggregates are erased. They are for a program that chooses among jobs when it runs, and
//! for everything that handles any job alike, such as a command line.

use std::io::Write;
use std::sync::Arc;

use record_log::{RecordLog, TopicSpec};

use crate::aggregate::{Aggregate, Key};
use crate::attempt::Stop;
use crate::checkpoint::inspect::{InspectError, content};
use crate::checkpoint::manifest::Fingerprint;
use crate::checkpoint::recover;
use crate::checkpoint::store::{CheckpointStore, ManifestId};
use crate::cluster::{ClusterError, Members};
use crate::error::JobError;
use crate::job::Pipeline;
use crate::metrics::Metrics;
use crate::run::Run;
use crate::settings::Settings;
use crate::stages;
use crate::topics;

/// A complete job of any types, which can be run.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use record_log::{Record, simulated::SimulatedLog};
/// use stream::{AnyPipeline, AnyRun, Count, Job, Output, Settings, Stop, Windows};
///
/// let job = Job::new("visits")
///     .source("visits", |record: &Record<'_>| Ok((record.log_time_ms, ())))
///     .window(Windows::tumbling(Duration::from_secs(60))?)
///     .aggregate(|()| [(0_u64, Count(1))])
///     .sink("visit-counts", |row, output: &mut Output| {
///         output.value.extend(row.aggregate.0.to_string().bytes());
///     });
/// let job = AnyPipeline::from(job);
///
/// assert_eq!((job.name(), job.results_topic()), ("visits", "visit-counts"));
/// let run: AnyRun = job.on(Settings::default(), Arc::new(SimulatedLog::default()))?;
/// # let stop = Stop::default();
/// # stop.request();
/// # run.run(&stop)?;
/// # Ok::<(), stream::JobError>(())
/// ```
pub struct AnyPipeline(Box<dyn ErasedPipeline>);

/// A run of a job of any types.
pub struct AnyRun {
    /// The job's metrics.
    pub metrics: Metrics,
    /// The store of the job's checkpoints.
    pub store: CheckpointStore,
    run: Box<dyn ErasedRun>,
}

trait ErasedPipeline: Send {
    fn name(&self) -> &str;
    fn source_topics(&self) -> Vec<String>;
    fn side_topics(&self) -> [Vec<String>; 2];
    fn results_topic(&self) -> &str;
    fn view_topics(&self) -> Vec<String>;
    fn published_topics(&self, settings: &Settings) -> Vec<TopicSpec>;
    fn fingerprint(&self) -> Fingerprint;
    fn read_checkpoint(
        &self,
        store: &CheckpointStore,
        checkpoint: Option<ManifestId>,
        output: &mut dyn Write,
    ) -> Result<(), InspectError>;
    fn on(self: Box<Self>, settings: Settings, log: Arc<dyn RecordLog>)
    -> Result<AnyRun, JobError>;
}

trait ErasedRun: Send + Sync {
    fn together(self: Box<Self>, members: Members) -> Result<Box<dyn ErasedRun>, ClusterError>;
    fn run(&self, stop: &Stop) -> Result<(), JobError>;
}

impl<K: Key, A: Aggregate> From<Pipeline<K, A>> for AnyPipeline {
    fn from(pipeline: Pipeline<K, A>) -> Self {
        Self(Box::new(pipeline))
    }
}

impl AnyPipeline {
    /// Returns the job's name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Returns the topics that the job reads: at least one.
    pub fn source_topics(&self) -> Vec<String> {
        self.0.source_topics()
    }

    /// Returns the topics that the job publishes late records to.
    pub fn late_topics(&self) -> Vec<String> {
        let [late, _] = self.0.side_topics();
        late
    }

    /// Returns the topics that the job publishes rejected records to.
    pub fn dead_letter_topics(&self) -> Vec<String> {
        let [_, dead_letters] = self.0.side_topics();
        dead_letters
    }

    /// Returns the topic that the job publishes its results to.
    pub fn results_topic(&self) -> &str {
        self.0.results_topic()
    }

    /// Returns the topics that the job publishes summaries, rankings and stages to, and those of branches.
    pub fn view_topics(&self) -> Vec<String> {
        self.0.view_topics()
    }

    /// Returns the topics that the job publishes to, as it creates those that are missing.
    pub fn published_topics(&self, settings: &Settings) -> Vec<TopicSpec> {
        self.0.published_topics(settings)
    }

    /// Returns the job on this log, ready to run, as [`Run::new`] does.
    ///
    /// # Errors
    /// [`JobError::Store`] if the checkpoints' address cannot be used.
    pub fn on(self, settings: Settings, log: Arc<dyn RecordLog>) -> Result<AnyRun, JobError> {
        self.0.on(settings, log)
    }

    /// Lets the next start read the source topics from their oldest records and replace all results. The job
    /// must not be running.
    ///
    /// # Errors
    /// [`JobError::Store`].
    pub fn start_over(&self, store: &CheckpointStore) -> Result<(), JobError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| JobError::Worker(error.to_string()))?;
        runtime.block_on(recover::start_over(store, &self.0.fingerprint()))?;

        Ok(())
    }

    /// Writes the content of a checkpoint of this job to `output` as NDJSON: a line for the checkpoint, a line for
    /// each entry (its pane, the pane at which it arrived, key and aggregate), and a last one with their numbers.
    /// Without a checkpoint, the newest is read. One part at a time is in memory.
    ///
    /// # Errors
    /// [`InspectError`].
    pub fn read_checkpoint(
        &self,
        store: &CheckpointStore,
        checkpoint: Option<ManifestId>,
        output: &mut dyn Write,
    ) -> Result<(), InspectError> {
        self.0.read_checkpoint(store, checkpoint, output)
    }
}

impl AnyRun {
    /// Makes the job one of several processes if `members` is some, as [`Run::together`] does.
    ///
    /// # Errors
    /// [`ClusterError::Membership`].
    pub fn together(self, members: Option<Members>) -> Result<Self, ClusterError> {
        let run = match members {
            Some(members) => self.run.together(members)?,
            None => self.run,
        };

        Ok(Self { run, ..self })
    }

    /// Runs the job, as [`Run::run`] does.
    ///
    /// # Errors
    /// [`JobError`].
    pub fn run(&self, stop: &Stop) -> Result<(), JobError> {
        self.run.run(stop)
    }
}

impl<K: Key, A: Aggregate> ErasedPipeline for Pipeline<K, A> {
    fn name(&self) -> &str {
        &self.name
    }

    fn source_topics(&self) -> Vec<String> {
        self.inputs.names().map(str::to_owned).collect()
    }

    fn side_topics(&self) -> [Vec<String>; 2] {
        [self.inputs.late_topics(), self.inputs.dead_letter_topics()]
            .map(|topics| topics.into_iter().map(str::to_owned).collect())
    }

    fn results_topic(&self) -> &str {
        &self.results.topic
    }

    fn view_topics(&self) -> Vec<String> {
        let branches = self.branches().iter().map(String::as_str);
        self.views().chain(branches).map(str::to_owned).collect()
    }

    fn published_topics(&self, settings: &Settings) -> Vec<TopicSpec> {
        topics::published(self, settings)
    }

    fn fingerprint(&self) -> Fingerprint {
        topics::fingerprint(&self.inputs, &self.windows)
            .reaching(stages::reach_ms(&self.stages))
            .processing(self.process_settings())
    }

    fn read_checkpoint(
        &self,
        store: &CheckpointStore,
        checkpoint: Option<ManifestId>,
        output: &mut dyn Write,
    ) -> Result<(), InspectError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(content::write::<K, A>(store, checkpoint, output))
    }

    fn on(
        self: Box<Self>,
        settings: Settings,
        log: Arc<dyn RecordLog>,
    ) -> Result<AnyRun, JobError> {
        let run = Run::new(*self, settings, log)?;
        Ok(AnyRun {
            metrics: run.metrics.clone(),
            store: run.store.clone(),
            run: Box::new(run),
        })
    }
}

impl<K: Key, A: Aggregate> ErasedRun for Run<K, A> {
    fn together(self: Box<Self>, members: Members) -> Result<Box<dyn ErasedRun>, ClusterError> {
        Ok(Box::new(Self::together(*self, Some(members))?))
    }

    fn run(&self, stop: &Stop) -> Result<(), JobError> {
        Self::run(self, stop)
    }
}
