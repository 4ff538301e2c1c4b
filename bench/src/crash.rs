//! `bench crash`: the job as several processes on real Kafka, under load, while processes, broker
//! and object store fail.
//!
//! Every few seconds a process of the job gets SIGKILL, or SIGSTOP for a while, or the object store
//! is unavailable for a while, or the broker is killed and comes back. Only supervisors restart
//! processes. In the end every count is compared with the content of the input topic.

mod company;
pub(crate) mod load;
mod trouble;

use std::thread;
use std::time::{Duration, Instant};

use events::{ORDERS, OrderCreated, Timestamp, WindowCount};
use record_log::RecordLog;

use crate::compare::{Verdict, compare};
use crate::counterparts::{Cache, Server, kafka};
use crate::generate;
use crate::job::{Job, RunError, run_name};
use crate::machine;
use crate::oracle::{self, Expected};
use crate::orders::{OrderSettings, Spread};
use crate::read::{self, ReadError};
use company::Company;
use trouble::{Trouble, Troubles};

/// Windows are short, so that there is a new result soon after every kill.
pub(crate) const WINDOW: Duration = Duration::from_millis(500);
/// Partitions of the input.
const PARTITIONS: u32 = 4;
/// The disorder of the events, and of the job's setting.
pub(crate) const DISORDER: Duration = Duration::from_millis(200);
/// The time limit for counting every order, from the end of the load on.
const COUNTED_WITHIN: Duration = Duration::from_secs(120);
/// The interval at which the counts are compared until every order is counted.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Kills processes of the job, its broker and its object store under load, and compares every count
/// with the input.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Duration of the load and the faults.
    #[arg(long = "for", default_value = "2m", value_parser = humantime::parse_duration, value_name = "DURATION")]
    duration: Duration,
    /// Processes of the job.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=16))]
    processes: u16,
    /// Workers of each process.
    #[arg(long, default_value_t = 2)]
    workers: u16,
    /// Orders a second.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Number of users that order.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
    /// Seed of every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The reason why there was no comparison, or its finding.
#[derive(Debug, thiserror::Error)]
pub enum CrashError {
    /// The results differ from the expected ones.
    #[error("the results are not exact; the processes' logs are in {0}")]
    NotExact(String),
    /// Not everything was counted in time.
    #[error(
        "{0} s after the load the results do not count every order; the processes' logs are in {1}"
    )]
    NotCounted(u64, String),
    /// A process failed, or did not end when it was stopped.
    #[error("process {0} {1}")]
    Ended(u16, String),
    /// The run failed before the comparison.
    #[error(transparent)]
    Run(RunError),
}

impl<E: Into<RunError>> From<E> for CrashError {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

impl Args {
    /// Runs and prints the verdict.
    ///
    /// # Errors
    /// [`CrashError::NotExact`] if a count is wrong; other errors if there was no comparison.
    pub fn run(self) -> Result<(), CrashError> {
        let cache = Cache::open()?;
        let folder = cache.scratch("crash")?;
        let mut broker = kafka::start(&cache, &folder.path().join("kafka"))?;
        let run = run_name();
        let address = broker.address().to_owned();
        let input = format!("{ORDERS}-{run}");
        let workers = self.workers.into();

        let job = Job {
            brokers: &address,
            run: &run,
            input: &input,
            workers,
            folder: folder.path(),
        };

        let log = generate::kafka(broker.address())?;
        println!("{}", machine::describe());
        println!("{self:?}");

        let orders = self.orders();
        generate::create(&*log, job.input, PARTITIONS)?;
        let company = Company::start(&job, self.processes)?;

        let troubles = thread::scope(|scope| {
            let load = scope
                .spawn(|| load::publish(&*log, job.input, self.rate, orders.records_from_now()));
            let troubles = Troubles::make(&self, &company, &mut broker, folder.path());
            load.join().expect("the load does not panic")?;
            troubles
        })?;

        let outcome = self
            .outcome(&*log, &job, &troubles)
            .and_then(|()| company.stop());
        outcome.inspect_err(|_| drop(folder.keep()))
    }

    /// Returns the settings of orders whose event times follow the clock.
    fn orders(&self) -> OrderSettings {
        OrderSettings {
            orders: u64::from(self.rate) * self.duration.as_secs(),
            users: self.users,
            spread: Spread::Zipf,
            start: Timestamp::now(),
            span: self.duration,
            disorder: DISORDER,
            late: 0.001,
            malformed: 0.001,
            seed: self.seed,
        }
    }

    fn outcome(
        &self,
        log: &dyn RecordLog,
        job: &Job<'_>,
        troubles: &[Trouble],
    ) -> Result<(), CrashError> {
        let (verdict, results) = await_verdict(log, job)?;
        trouble::report(troubles, &results);

        println!("{verdict}");
        if verdict.is_exact() {
            Ok(())
        } else {
            Err(CrashError::NotExact(job.folder.display().to_string()))
        }
    }
}

/// Waits until every order of the input is counted, and compares all records that the job has
/// written. Also returns the counts, each with its time in the log.
pub(crate) fn await_verdict(
    log: &dyn RecordLog,
    job: &Job<'_>,
) -> Result<(Verdict, Vec<(WindowCount, u64)>), CrashError> {
    let (expected, malformed) = input(log, job)?;
    await_counts(log, job, &expected)?;
    let results = results(log, job)?;

    let counts = results.iter().map(|(count, _)| count.clone()).collect();
    let mut verdict: Verdict = compare(&expected, counts, window_ms());
    verdict.compare_summaries(&expected, read::all_json(log, &job.summaries())?);

    verdict.compare_number(
        "dead letters",
        malformed,
        read::count(log, &job.dead_letters())?,
    );

    verdict.compare_number("orders too late", 0, read::count(log, &job.late())?);
    Ok((verdict, results))
}

/// Returns the expected results of the records on the input topic, and the number of those that are not orders.
fn input(log: &dyn RecordLog, job: &Job<'_>) -> Result<(Vec<Expected>, u64), ReadError> {
    let mut orders = Vec::new();
    let mut malformed = 0;
    read::all(
        log,
        job.input,
        &mut |record| match serde_json::from_slice::<OrderCreated>(record.value.unwrap_or_default())
        {
            Ok(order) => orders.push(order),
            Err(_) => malformed += 1,
        },
    )?;

    Ok((oracle::counts(orders.into_iter(), window_ms()), malformed))
}

/// Returns the counts, each with its log time.
fn results(log: &dyn RecordLog, job: &Job<'_>) -> Result<Vec<(WindowCount, u64)>, ReadError> {
    read::all_json_with_times(log, &job.output())
}

/// Waits until the newest revisions count all orders.
fn await_counts(
    log: &dyn RecordLog,
    job: &Job<'_>,
    expected: &[Expected],
) -> Result<(), CrashError> {
    let begun = Instant::now();
    let wanted = expected.iter().map(|row| row.order_count).sum::<u64>();
    while begun.elapsed() < COUNTED_WITHIN {
        let counts = results(log, job)?
            .into_iter()
            .map(|(count, _)| count)
            .collect();

        if compare(expected, counts, window_ms()).orders_counted >= wanted {
            println!(
                "everything is counted {:.1} s after the load",
                begun.elapsed().as_secs_f64()
            );
            return Ok(());
        }

        thread::sleep(LOOK_EVERY);
    }

    Err(CrashError::NotCounted(
        COUNTED_WITHIN.as_secs(),
        job.folder.display().to_string(),
    ))
}

fn window_ms() -> u64 {
    u64::try_from(WINDOW.as_millis()).expect("a short time")
}

/// Kills the broker and starts it again.
fn restart(broker: &mut Server) -> Result<(), CrashError> {
    Ok(broker.restart()?)
}
