//! `bench exact`: sends orders through the real job on real Kafka, and compares every count with
//! the oracle.

use events::ORDERS;
use record_log::RecordLog;

use crate::compare::{Verdict, compare};
use crate::counterparts::{Broker, Cache};
use crate::generate::{self, Target};
use crate::job::{Job, RunError, run_name};
use crate::oracle;
use crate::orders::{OrderSettings, Value};
use crate::read::{self, ReadError};

/// The window of the job's default settings.
const WINDOW_MS: u64 = 60_000;

/// Generates orders, lets `order-analytics` count them, and compares each count with an independent
/// computation.
#[derive(Debug, clap::Parser)]
pub struct Args {
    #[command(flatten)]
    orders: OrderSettings,
    /// Kafka's brokers as `host:port`, comma separated; if absent, a broker is started.
    #[arg(long, env = "TIDEMARK_BROKERS")]
    brokers: Option<String>,
    /// Partitions of the input topic.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Workers of the job.
    #[arg(long, default_value_t = 2)]
    workers: u32,
    /// The job's client of Kafka: rdkafka or native.
    #[arg(long, env = "TIDEMARK_CLIENT", default_value = "native")]
    client: String,
}

/// The reason why the comparison failed or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExactError {
    /// The results differ from the expected ones.
    #[error("the results are not exact")]
    NotExact,
    /// The run failed before the comparison.
    #[error(transparent)]
    Run(RunError),
}

impl<E: Into<RunError>> From<E> for ExactError {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

impl Args {
    /// Runs and prints the verdict.
    ///
    /// # Errors
    /// [`ExactError::NotExact`] if a count is wrong; other errors if there was no comparison.
    pub fn run(self) -> Result<(), ExactError> {
        let cache = Cache::open()?;
        let folder = cache.scratch("exact")?;
        let broker = Broker::given_or_started(self.brokers.as_deref(), &cache, folder.path())?;
        let log = generate::kafka(broker.address())?;
        let run = run_name();
        let input = format!("{ORDERS}-{run}");
        println!("publishing {} records to {input:?}", self.orders.orders);

        let target = Target {
            topic: &input,
            partitions: self.partitions,
            rate: None,
        };
        generate::publish(&*log, target, self.orders.records())?;

        let job = Job {
            brokers: broker.address(),
            run: &run,
            input: &input,
            workers: self.workers,
            folder: folder.path(),
        };
        let ended = job.run_to_end(&["--client", &self.client])?;

        println!(
            "order-analytics: {:.1} s, {:.1} CPU-s",
            ended.wall.as_secs_f64(),
            ended.cpu.as_secs_f64()
        );

        let verdict = self.verdict(&*log, &job)?;
        println!("{verdict}");
        if verdict.is_exact() {
            Ok(())
        } else {
            Err(ExactError::NotExact)
        }
    }

    /// Compares every topic that the job writes with the oracle. No generated order is too late to
    /// be counted.
    fn verdict(&self, log: &dyn RecordLog, job: &Job<'_>) -> Result<Verdict, ReadError> {
        let expected = oracle::counts(self.orders.good(), WINDOW_MS);
        let mut verdict = compare(&expected, read::all_json(log, &job.output())?, WINDOW_MS);
        verdict.compare_summaries(&expected, read::all_json(log, &job.summaries())?);

        let malformed = self
            .orders
            .records()
            .filter(|made| matches!(made.value, Value::Malformed(_)))
            .count();

        verdict.compare_number(
            "dead letters",
            malformed as u64,
            read::count(log, &job.dead_letters())?,
        );

        verdict.compare_number("orders too late", 0, read::count(log, &job.late())?);
        Ok(verdict)
    }
}
