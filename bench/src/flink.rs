//! Apache Flink as a peer: the same counts, tuned by hand, in one Java process
//! (`peers/flink/OrderCounts.java`).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use events::ANALYTICS_RESULTS;
use record_log::{Cleanup, LogError, RecordLog, TopicSpec};

use crate::counterparts::{self, Cache, CounterpartError, JAVA};
use crate::process::{Ended, Lifetime, Process};

const POM: &str = include_str!("../peers/flink/pom.xml");
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/flink/OrderCounts.java");
const LIMIT: Duration = Duration::from_secs(1_200);

/// The reason why Flink did not run.
#[derive(Debug, thiserror::Error)]
pub enum FlinkError {
    /// Java or Flink's jars are not available.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// The topic for the results cannot be created.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The job failed or hung.
    #[error("Flink failed; the end of its output:\n{0}")]
    Failed(String),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The compiled job.
pub struct Flink {
    jars: PathBuf,
    classes: PathBuf,
}

impl Flink {
    /// Fetches Flink and compiles the job into `folder`.
    ///
    /// # Errors
    /// [`FlinkError::Counterpart`].
    pub fn prepare(cache: &Cache, folder: &Path) -> Result<Self, FlinkError> {
        counterparts::provision(JAVA)?;
        let jars = counterparts::jars(cache, "flink", POM)?;
        let classes = folder.join("flink-classes");
        let mut javac = Command::new("javac");

        javac
            .arg("-cp")
            .arg(jars.join("*"))
            .arg("-d")
            .arg(&classes)
            .arg(SOURCE);

        counterparts::run_silently("javac", javac)?;
        Ok(Self { jars, classes })
    }

    /// Returns the topic with the counts of a run.
    pub fn output(run: &str) -> String {
        format!("{ANALYTICS_RESULTS}-flink-{run}")
    }

    /// Runs the job over the records of `input`.
    ///
    /// # Errors
    /// [`FlinkError`].
    pub fn run(&self, log: &dyn RecordLog, job: &crate::job::Job<'_>) -> Result<Ended, FlinkError> {
        let output = Self::output(job.run);
        log.ensure_topics(&[TopicSpec {
            name: output.clone(),
            partitions: 4,
            cleanup: Cleanup::CompactAndDelete,
            retention: Duration::from_secs(7 * 24 * 60 * 60),
        }])?;

        let said = job.folder.join("flink.log");
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);

        command.args([
            "--add-opens=java.base/java.util=ALL-UNNAMED",
            "--add-opens=java.base/java.lang=ALL-UNNAMED",
        ]);

        command.arg("-cp").arg(format!(
            "{}:{}",
            self.classes.display(),
            self.jars.join("*").display()
        ));

        command.args([
            "OrderCounts",
            job.brokers,
            job.input,
            &output,
            &job.workers.to_string(),
        ]);

        command.arg(format!(
            "file://{}",
            job.folder.join("flink-checkpoints").display()
        ));

        let file = File::create(&said)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);

        let ended = Process::start(command, Lifetime::OfItsThread)?.wait_for(LIMIT)?;
        match ended {
            Some(ended) if ended.status.success() => Ok(ended),
            _ => Err(FlinkError::Failed(counterparts::tail(
                &std::fs::read_to_string(&said)?,
            ))),
        }
    }
}
