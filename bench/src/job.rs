//! `order-analytics` as the harness runs it: on topics and a checkpoint folder of its own, that no other run has.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use events::{ANALYTICS_RESULTS, ANALYTICS_SUMMARIES, ORDERS_DEAD_LETTER, ORDERS_LATE};
use record_log::LogError;

use crate::binaries::{self, NotBuilt};
use crate::counterparts::CounterpartError;
use crate::generate::GenerateError;
use crate::process::{Ended, Lifetime, Process};
use crate::read::ReadError;

/// A job that has not ended by then hangs.
const LIMIT: Duration = Duration::from_secs(600);

/// A job over one topic.
pub struct Job<'a> {
    /// Kafka's brokers.
    pub brokers: &'a str,
    /// The job's name, and part of its topics' names.
    pub run: &'a str,
    /// The topic to be read.
    pub input: &'a str,
    /// How many workers each process has.
    pub workers: u32,
    /// A folder for checkpoints and what the job says, empty at first.
    pub folder: &'a Path,
}

/// Why the job did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It did not end well.
    #[error("order-analytics {0}; it said:\n{1}")]
    Ended(String, String),
    /// It could not be run.
    #[error("order-analytics cannot be run: {0}")]
    NotRun(#[from] std::io::Error),
    /// It is not there.
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
}

/// Why a command that runs the job on real Kafka came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The job failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// There is no Kafka.
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
    /// The system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Job<'_> {
    /// The topic with the counts.
    pub fn output(&self) -> String {
        format!("{ANALYTICS_RESULTS}-{}", self.run)
    }

    /// The topic with the totals per window.
    pub fn summaries(&self) -> String {
        format!("{ANALYTICS_SUMMARIES}-{}", self.run)
    }

    /// The topic with the records that are no orders.
    pub fn dead_letters(&self) -> String {
        format!("{ORDERS_DEAD_LETTER}-{}", self.run)
    }

    /// The topic with the orders that came too late to be counted.
    pub fn late(&self) -> String {
        format!("{ORDERS_LATE}-{}", self.run)
    }

    /// Where its checkpoints lie.
    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    /// Starts it, by way of a subcommand if one is given. What it says goes to `said` in its folder.
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

    /// Runs it until it has read what the topic held at the start.
    ///
    /// # Errors
    /// [`JobError`] when it is missing, fails or hangs.
    pub fn run_to_end(&self, settings: &[&str]) -> Result<Ended, JobError> {
        let said = "order-analytics.log";
        let mut process = self.start(None, &[&["--until-end"], settings].concat(), said)?;
        let failed = |how: String| {
            let said = std::fs::read_to_string(self.folder.join(said)).unwrap_or_default();
            JobError::Ended(how, said)
        };

        match process.wait_for(LIMIT)? {
            Some(ended) if ended.status.success() => Ok(ended),
            Some(ended) => Err(failed(format!("ended with {}", ended.status))),
            None => Err(failed(format!("did not end within {} s", LIMIT.as_secs()))),
        }
    }
}

/// A name for one run that no other run has.
pub fn run_name() -> String {
    format!(
        "bench-{}-{}",
        std::process::id(),
        events::Timestamp::now().as_ms()
    )
}
