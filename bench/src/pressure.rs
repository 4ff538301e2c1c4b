//! `bench pressure`: more input than the job can process at once, a sink that accepts no output,
//! and bad input.
//!
//! Each case is a backlog that the job reads to its end. The memory that this takes is measured; it
//! must not grow with the backlog. Every count is checked.

use std::thread::sleep;
use std::time::Duration;

use clap::ValueEnum;
use events::{ORDERS, OrderCreated, Timestamp};
use record_log::RecordLog;

use crate::compare::{Verdict, compare};
use crate::counterparts::{Broker, Cache, kafka};
use crate::generate::{self, Target};
use crate::job::{Job, RunError, run_name};
use crate::machine::{self, mib};
use crate::oracle;
use crate::orders::{Made, OrderSettings, Spread};
use crate::peers::Peer;
use crate::process::Ended;
use crate::read;
use crate::results::{Measure, Measurement, Table, number};

/// The window of the job's default settings.
const WINDOW_MS: u64 = 60_000;
const PARTITIONS: u32 = 4;
/// The partition that is busier than the others, or further behind.
const ODD: u32 = PARTITIONS - 1;
/// The factor by which it is busier.
const BUSIER: u64 = 10;
/// The second day of 2025.
const START_MS: u64 = 1_735_776_000_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Event time that a backlog covers.
const SPAN: Duration = Duration::from_secs(30 * 60);

/// Measures the job's memory on backlogs, uneven partitions, a sink that stalls and bad records, and
/// checks every count.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Orders of each case.
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    orders: u64,
    /// Number of users that order.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
    /// Only these cases, comma separated.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Case::Even, Case::Busy, Case::Behind, Case::Stalled, Case::Fifth, Case::Bad])]
    cases: Vec<Case>,
    /// Time for which a stalled sink accepts almost nothing.
    #[arg(long, default_value = "1m", value_parser = humantime::parse_duration)]
    stall: Duration,
    /// Workers of the job.
    #[arg(long, default_value_t = 2)]
    workers: u32,
}

/// The defect of the input or output.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Case {
    /// No defect: all partitions hold the same number of orders, of the same time.
    Even,
    /// One partition holds ten times as many orders as each of the others, of the same time.
    Busy,
    /// One partition holds the orders of the day before.
    Behind,
    /// Kafka accepts almost no results for a while.
    Stalled,
    /// A fifth of the records are not orders.
    Fifth,
    /// No record is an order.
    Bad,
}

impl Case {
    /// Returns the share of records that are not orders.
    fn malformed(self) -> f64 {
        match self {
            Self::Even | Self::Busy | Self::Behind | Self::Stalled => 0.0,
            Self::Fifth => 0.2,
            Self::Bad => 1.0,
        }
    }
}

/// The reason why there are no figures, or bad ones.
#[derive(Debug, thiserror::Error)]
pub enum PressureError {
    /// The results differ from the expected ones.
    #[error("the results are not exact")]
    NotExact,
    /// The sink did not stall.
    #[error("the job was done before the sink took results again")]
    NotStalled,
    /// The run failed before the comparison.
    #[error(transparent)]
    Run(RunError),
}

impl<E: Into<RunError>> From<E> for PressureError {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

impl Measurement for Args {
    const NAME: &'static str = "pressure";
    type Error = PressureError;

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Kafka]
    }

    /// Fails with [`PressureError::NotExact`] if a count is wrong.
    fn measure(self) -> Result<Vec<Table>, PressureError> {
        let cache = Cache::open()?;
        println!("{}", machine::describe());
        println!(
            "{:<10} {:>12} {:>8} {:>12} {:>9}",
            "case", "orders", "wall s", "CPU-s/1 M", "peak MiB"
        );

        let measures = [
            Measure::new("CPU time per million orders", "s"),
            Measure::new("peak memory", "MiB"),
            Measure::new("duration", "s"),
        ];
        let mut table = Table::new("The job under pressure", &measures);
        let measured = self
            .cases
            .iter()
            .map(|case| self.run_case(*case, &cache, &mut table))
            .collect::<Result<Vec<_>, _>>()?;

        if measured.iter().all(Verdict::is_exact) {
            Ok(vec![table])
        } else {
            Err(PressureError::NotExact)
        }
    }
}

impl Args {
    /// Measures a case. Each has a broker of its own, because a backlog fills the disk.
    fn run_case(
        &self,
        case: Case,
        cache: &Cache,
        table: &mut Table,
    ) -> Result<Verdict, PressureError> {
        let folder = cache.scratch("pressure")?;
        let broker = Broker::from(kafka::start(cache, &folder.path().join("kafka"))?);
        let log = generate::kafka(broker.address())?;
        let run = run_name();
        let input = format!("{ORDERS}-{run}");
        let backlog = Backlog::of(case, self.orders, self.users);

        generate::publish(
            &*log,
            Target {
                topic: &input,
                partitions: PARTITIONS,
                rate: None,
            },
            backlog.records(),
        )?;

        let job = Job {
            brokers: broker.address(),
            run: &run,
            input: &input,
            workers: self.workers,
            folder: folder.path(),
        };

        let ended = match case {
            Case::Stalled => self.run_stalled(&*log, &job, cache)?,
            _ => job.run_to_end(&[])?,
        };
        report(case, self.orders, &ended, table);

        let expected = oracle::counts(backlog.orders(), WINDOW_MS);
        let mut verdict = compare(&expected, read::all_json(&*log, &job.output())?, WINDOW_MS);
        verdict.compare_number("orders too late", 0, read::count(&*log, &job.late())?);

        let bad = self.orders - backlog.orders().count() as u64;
        let dead_letters = read::count(&*log, &job.dead_letters())?;
        verdict.compare_number("dead letters", bad, dead_letters);
        if !verdict.is_exact() {
            println!("{verdict}");
        }

        Ok(verdict)
    }

    /// Runs the job with a broker that lets each producer write one byte a second, which is a batch
    /// about every ten seconds. The limit is set before the job starts, because the job ends soon.
    fn run_stalled(
        &self,
        log: &dyn RecordLog,
        job: &Job<'_>,
        cache: &Cache,
    ) -> Result<Ended, PressureError> {
        kafka::limit_producers(cache, job.brokers, Some(1))?;
        std::thread::scope(|scope| {
            let running = scope.spawn(|| job.run_to_end(&[]));
            sleep(self.stall);
            let passed = read::count(log, &job.output())?;
            let has_ended = running.is_finished();
            kafka::limit_producers(cache, job.brokers, None)?;

            let ended = running.join().expect("running a child does not panic")?;
            println!(
                "{:<10} the sink took {passed} results in {} s",
                "",
                self.stall.as_secs()
            );

            if has_ended {
                Err(PressureError::NotStalled)
            } else {
                Ok(ended)
            }
        })
    }
}

/// The content of a topic; one partition of it may differ from the others.
struct Backlog {
    case: Case,
    most: OrderSettings,
    behind: OrderSettings,
}

impl Backlog {
    fn of(case: Case, orders: u64, users: u64) -> Self {
        let behind = if case == Case::Behind {
            orders / u64::from(PARTITIONS)
        } else {
            0
        };

        let settings = |orders, start_ms, seed| OrderSettings {
            orders,
            users,
            spread: Spread::Uniform,
            start: Timestamp::from_ms(start_ms).expect("a day in 2025"),
            span: SPAN,
            disorder: Duration::from_secs(5),
            late: 0.0,
            malformed: case.malformed(),
            seed,
        };

        Self {
            case,
            most: settings(orders - behind, START_MS, 1),
            behind: settings(behind, START_MS - DAY_MS, 2),
        }
    }

    fn records(&self) -> impl Iterator<Item = Made> {
        let placed = (0..).zip(self.most.records()).map(|(number, made)| Made {
            partition: self.place(number),
            ..made
        });
        placed.chain(self.behind.records().map(|made| Made {
            partition: Some(ODD),
            ..made
        }))
    }

    /// Returns the partition of the record with this number; none if its key decides.
    fn place(&self, number: u64) -> Option<u32> {
        let others = u64::from(ODD);
        let place = match self.case {
            Case::Even | Case::Stalled | Case::Fifth | Case::Bad => return None,
            Case::Behind => number % others,
            Case::Busy => (number % (others + BUSIER)).min(others),
        };
        Some(u32::try_from(place).expect("partitions are few"))
    }

    fn orders(&self) -> impl Iterator<Item = OrderCreated> {
        self.most.good().chain(self.behind.good())
    }
}

#[allow(clippy::cast_precision_loss, reason = "orders are far fewer than 2^53")]
fn report(case: Case, orders: u64, ended: &Ended, table: &mut Table) {
    let name = case
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned());
    let per_million = ended.cpu.as_secs_f64() / orders as f64 * 1e6;
    let samples = [
        per_million,
        mib(ended.peak_rss_bytes),
        ended.wall.as_secs_f64(),
    ];
    table.add(&name, &[("orders", number(orders))], &samples);

    println!(
        "{name:<10} {orders:>12} {:>8.1} {per_million:>12.2} {:>9.0}",
        ended.wall.as_secs_f64(),
        mib(ended.peak_rss_bytes)
    );
}
