//! `order-analytics` as the harness runs it: with topics and a checkpoint folder of its own for
//! each run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use events::{ANALYTICS_RESULTS, ANALYTICS_SUMMARIES, ORDERS_DEAD_LETTER, ORDERS_LATE};
use record_log::LogError;

use crate::binaries::{self, NotBuilt};
use crate::counterparts::CounterpartError;
use crate::generate::GenerateError;
use crate::process::{Ended, Lifetime, Process};
use crate::read::ReadError;

/// The time after which a job that has not ended counts as hung.
const LIMIT: Duration = Duration::from_secs(600);

/// A job over one topic.
pub struct Job<'a> {
    /// Kafka's brokers.
    pub brokers: &'a str,
    /// The job's name, and part of its topics' names.
    pub run: &'a str,
    /// The topic to be read.
    pub input: &'a str,
    /// The number of workers of each process.
    pub workers: u32,
    /// A folder for checkpoints and the job's output, empty at first.
    pub folder: &'a Path,
}

/// The reason why the job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It ended with an error.
    #[error("order-analytics {0}; its output:\n{1}")]
    Ended(String, String),
    /// It could not be run.
    #[error("order-analytics cannot be run: {0}")]
    NotRun(#[from] std::io::Error),
    /// It is not built.
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
}

/// The reason why a command that runs the job on real Kafka failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The job failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Kafka is not available.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// The orders could not be published.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The results could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Job<'_> {
    /// Returns the topic with the counts.
    pub fn output(&self) -> String {
        format!("{ANALYTICS_RESULTS}-{}", self.run)
    }

    /// Returns the topic with the totals per window.
    pub fn summaries(&self) -> String {
        format!("{ANALYTICS_SUMMARIES}-{}", self.run)
    }

    /// Returns the topic with the records that are not orders.
    pub fn dead_letters(&self) -> String {
        format!("{ORDERS_DEAD_LETTER}-{}", self.run)
    }

    /// Returns the topic with the orders that came too late to be counted.
    pub fn late(&self) -> String {
        format!("{ORDERS_LATE}-{}", self.run)
    }

    /// Returns the folder of its checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    /// Starts it, with a subcommand if one is given. Its output goes to the file `said` in its
    /// folder.
    ///
    /// # Errors
    /// [`JobError::NotBuilt`], [`JobError::NotRun`].
    pub fn start(
        &self,
        subcommand: Option<&str>,
        settings: &[&str],
        said: &str,
    ) -> Result<Process, JobError> {
        let mut command = Command::new(binaries::find("order-analytics")?);
        command.args(subcommand);
        command.args([
            "--brokers",
            self.brokers,
            "--input-topic",
            self.input,
            "--output-topic",
            &self.output(),
        ]);

        command.args([
            "--summary-topic",
            &self.summaries(),
            "--dead-letter-topic",
            &self.dead_letters(),
        ]);

        command.args([
            "--late-topic",
            &self.late(),
            "--job",
            self.run,
            "--workers",
            &self.workers.to_string(),
        ]);

        command
            .args([
                "--checkpoints",
                &format!("file://{}", self.checkpoints().display()),
            ])
            .args(settings);

        let log = File::create(self.folder.join(said))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);

        Ok(Process::start(command, Lifetime::OfItsThread)?)
    }

    /// Runs it until it has read all records that the topic held at the start.
    ///
    /// # Errors
    /// [`JobError`] if it is missing, fails or hangs.
    pub fn run_to_end(&self, settings: &[&str]) -> Result<Ended, JobError> {
        self.run_to_end_watched(settings, LIMIT, || {})
    }

    /// As [`Job::run_to_end`], and calls `look` repeatedly meanwhile.
    ///
    /// # Errors
    /// [`JobError`] if it is missing, fails or hangs.
    pub fn run_to_end_watched(
        &self,
        settings: &[&str],
        every: Duration,
        mut look: impl FnMut(),
    ) -> Result<Ended, JobError> {
        let said = "order-analytics.log";
        let mut process = self.start(None, &[&["--until-end"], settings].concat(), said)?;
        let failed = |how: String| {
            let said = std::fs::read_to_string(self.folder.join(said)).unwrap_or_default();
            JobError::Ended(how, said)
        };

        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            match process.wait_for(every)? {
                Some(ended) if ended.status.success() => return Ok(ended),
                Some(ended) => return Err(failed(format!("ended with {}", ended.status))),
                None => look(),
            }
        }
        Err(failed(format!("did not end within {} s", LIMIT.as_secs())))
    }
}

/// Returns a name that no other run has.
pub fn run_name() -> String {
    format!(
        "bench-{}-{}",
        std::process::id(),
        events::Timestamp::now().as_ms()
    )
}
