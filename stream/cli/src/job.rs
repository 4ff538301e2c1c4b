//! A job's definition and settings, as flags.

use std::fmt::Debug;
use std::sync::Arc;

use clap::Args;
use record_log::RecordLog;
use stream::{AnyPipeline, AnyRun, Job, JobError};

use crate::job_name;
use crate::settings::SettingsFlags;

/// The definition of a job from flags of its own.
///
/// ```
/// use std::time::Duration;
/// use record_log::Record;
/// use stream::{AnyPipeline, Count, Job, JobError, Output, Windows};
/// use stream_cli::JobDefinition;
///
/// #[derive(Clone, Debug, clap::Args)]
/// struct Visits {
///     /// Topic that visits are read from
///     #[arg(long, env = "VISITS_TOPIC", default_value = "visits")]
///     topic: String,
/// }
///
/// impl JobDefinition for Visits {
///     const NAME: &'static str = "visits";
///     const ABOUT: &'static str = "Counts visits";
///
///     fn define(&self, job: Job) -> Result<AnyPipeline, JobError> {
///         let job = job
///             .source(&self.topic, |record: &Record<'_>| Ok((record.log_time_ms, ())))
///             .window(Windows::tumbling(Duration::from_secs(60))?)
///             .aggregate(|()| [(0_u64, Count(1))])
///             .sink("visit-counts", |row, output: &mut Output| {
///                 output.value.extend(row.aggregate.0.to_string().bytes());
///             });
///         Ok(job.into())
///     }
/// }
///
/// let flags = ["visits", "--topic", "visits-of-today", "--workers", "4"];
/// # use clap::Parser;
/// # #[derive(clap::Parser)]
/// # struct Line { #[command(flatten)] job: stream_cli::JobSettings<Visits> }
/// # let settings = Line::parse_from(flags).job;
/// assert_eq!((&*settings.job, settings.settings.workers), ("visits", 4));
/// assert_eq!(settings.define()?.source_topics(), ["visits-of-today"]);
/// # Ok::<(), JobError>(())
/// ```
///
/// Its program is `Program::<Visits>::default().main()`.
pub trait JobDefinition: Args + Clone + Debug {
    /// The program's name, and the job's unless `--job` sets another one.
    const NAME: &'static str;
    /// A sentence for the program's help.
    const ABOUT: &'static str;

    /// Completes the given job, which has its name already.
    ///
    /// # Errors
    /// [`JobError::Settings`] if the flags contradict each other.
    fn define(&self, job: Job) -> Result<AnyPipeline, JobError>;
}

/// The settings of a job: its name, its own flags, and how it is run.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub struct JobSettings<D: JobDefinition> {
    /// The job's name; checkpoints and transactions belong to it
    #[arg(long, env = "TIDEMARK_JOB", default_value = D::NAME, value_name = "NAME", value_parser = job_name::parse)]
    pub job: String,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub own: D,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub settings: SettingsFlags,
}

impl<D: JobDefinition> JobSettings<D> {
    /// Defines the job.
    ///
    /// # Errors
    /// See [`JobDefinition::define`].
    pub fn define(&self) -> Result<AnyPipeline, JobError> {
        self.own.define(Job::new(&self.job))
    }

    /// Returns the job on this log, ready to run.
    ///
    /// # Errors
    /// [`JobError::Settings`], [`JobError::Store`].
    pub fn on(&self, log: Arc<dyn RecordLog>) -> Result<AnyRun, JobError> {
        self.define()?.on(self.settings.clone().into(), log)
    }
}

/// The flags of a job that has none of its own.
#[derive(Clone, Copy, Debug, Args)]
#[group(skip)]
pub struct NoFlags {}

impl JobDefinition for NoFlags {
    const NAME: &'static str = "job";
    const ABOUT: &'static str = "Runs a stream job, exactly once, from Kafka to Kafka";

    /// Fails: a job without flags of its own is defined by its program's function.
    fn define(&self, _: Job) -> Result<AnyPipeline, JobError> {
        Err(JobError::Settings(
            "the program does not define a job: create it with Program::of".to_owned(),
        ))
    }
}
