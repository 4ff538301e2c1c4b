//! `bench exact`: orders through the real job on real Kafka, and every count held against the oracle.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use events::{ANALYTICS_RESULTS, ANALYTICS_SUMMARIES, ORDERS, ORDERS_DEAD_LETTER, ORDERS_LATE};
use record_log::{LogError, RecordLog};

use crate::binaries::{self, NotBuilt};
use crate::compare::{Verdict, compare};
use crate::counterparts::{Broker, Cache, CounterpartError};
use crate::generate::{self, GenerateError, Target};
use crate::oracle;
use crate::orders::{OrderSettings, Value};
use crate::process::{Ended, Lifetime, Process};
use crate::read::{self, ReadError};

/// The window of the job's default settings.
const WINDOW_MS: u64 = 60_000;
/// A job that has not ended by then hangs.
const JOB_LIMIT: Duration = Duration::from_secs(600);

/// Generates orders, has `order-analytics` count them, and compares each count with an independent computation.
#[derive(Debug, clap::Parser)]
pub struct Args {
    #[command(flatten)]
    orders: OrderSettings,
    /// Kafka's brokers as `host:port`, comma separated; a fresh one is started when absent.
    #[arg(long, env = "TIDEMARK_BROKERS")]
    brokers: Option<String>,
    /// Partitions of the input topic.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Workers of the job.
    #[arg(long, default_value_t = 2)]
    workers: u32,
}

/// Why there is no verdict, or a bad one.
#[derive(Debug, thiserror::Error)]
pub enum ExactError {
    /// The results are not what they must be.
    #[error("the results are not exact")]
    NotExact,
    /// The job did not end well.
    #[error("order-analytics {0}; it said:\n{1}")]
    Job(String, String),
    /// The job could not be run.
    #[error("order-analytics cannot be run: {0}")]
    NotRun(#[from] std::io::Error),
    /// The job is not there.
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
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
}

/// One run of the job over what a topic holds.
pub struct Job<'a> {
    /// Kafka's brokers.
    pub brokers: &'a str,
    /// A name that no other run has: the job's, and part of its topics' names.
    pub run: &'a str,
    /// The topic to be read.
    pub input: &'a str,
    /// How many workers.
    pub workers: u32,
    /// An empty folder for checkpoints and what the job says.
    pub folder: &'a Path,
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

    /// Runs the job until it has read what the topic held at the start.
    ///
    /// # Errors
    /// [`ExactError`] when it is missing, fails or hangs.
    pub fn run(&self) -> Result<Ended, ExactError> {
        let said = self.folder.join("order-analytics.log");
        let mut command = Command::new(binaries::find("order-analytics")?);
        command.args(["--brokers", self.brokers, "--input-topic", self.input, "--output-topic", &self.output()]);
        command.args(["--summary-topic", &self.summaries(), "--dead-letter-topic", &self.dead_letters()]);
        command.args(["--late-topic", &self.late()]);
        command.args(["--job", self.run, "--until-end", "--workers", &self.workers.to_string()]);
        command.args(["--checkpoints", &format!("file://{}", self.folder.join("checkpoints").display())]);
        let log = std::fs::File::create(&said)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut process = Process::start(command, Lifetime::OfItsThread)?;
        let failed = |how: String| {
            let said = std::fs::read_to_string(&said).unwrap_or_default();
            ExactError::Job(how, said)
        };
        match process.wait_for(JOB_LIMIT)? {
            Some(ended) if ended.status.success() => Ok(ended),
            Some(ended) => Err(failed(format!("ended with {}", ended.status))),
            None => Err(failed(format!("did not end within {} s", JOB_LIMIT.as_secs()))),
        }
    }
}

impl Args {
    /// Runs and prints the verdict.
    ///
    /// # Errors
    /// [`ExactError::NotExact`] when a count is wrong; others when it did not come to a verdict.
    pub fn run(self) -> Result<(), ExactError> {
        let cache = Cache::open()?;
        let folder = cache.scratch("exact")?;
        let broker = Broker::given_or_started(self.brokers.as_deref(), &cache, folder.path())?;
        let log = generate::kafka(broker.address())?;
        let run = run_name();
        let input = format!("{ORDERS}-{run}");
        println!("publishing {} records to {input:?}", self.orders.orders);
        let target = Target { topic: &input, partitions: self.partitions, rate: None };
        generate::publish(&*log, target, self.orders.records())?;
        let job =
            Job { brokers: broker.address(), run: &run, input: &input, workers: self.workers, folder: folder.path() };
        let ended = job.run()?;
        println!("order-analytics: {:.1} s, {:.1} CPU-s", ended.wall.as_secs_f64(), ended.cpu.as_secs_f64());
        let verdict = self.verdict(&*log, &job)?;
        println!("{verdict}");
        if verdict.is_exact() { Ok(()) } else { Err(ExactError::NotExact) }
    }

    /// Holds every topic that the job writes against the oracle. No order of ours is too late to be counted.
    fn verdict(&self, log: &dyn RecordLog, job: &Job<'_>) -> Result<Verdict, ReadError> {
        let expected = oracle::counts(self.orders.good(), WINDOW_MS);
        let mut verdict = compare(&expected, read::all_json(log, &job.output())?, WINDOW_MS);
        verdict.compare_summaries(&expected, read::all_json(log, &job.summaries())?);
        let malformed = self.orders.records().filter(|made| matches!(made.value, Value::Malformed(_))).count();
        verdict.compare_number("dead letters", malformed as u64, read::count(log, &job.dead_letters())?);
        verdict.compare_number("orders too late", 0, read::count(log, &job.late())?);
        Ok(verdict)
    }
}

/// A name for one run that no other run has.
pub fn run_name() -> String {
    format!("bench-{}-{}", std::process::id(), events::Timestamp::now().as_ms())
}
