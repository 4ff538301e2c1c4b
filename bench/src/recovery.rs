//! `bench recovery`: the cost of checkpoints, and the time of a start from one, by the size of the
//! state.
//!
//! For each size the job counts one window of that many users and ends. All counts can still be
//! corrected, so the checkpoint contains all of them. Then the job starts again: it finds the
//! checkpoint, reads and verifies it, restores its state, finds nothing more to read, and ends.
//! This second run is measured.

use std::fs;
use std::path::Path;
use std::time::Duration;

use events::{ORDERS, Timestamp};

use crate::counterparts::{Broker, Cache};
use crate::generate::{self, Target};
use crate::job::{Job, RunError, run_name};
use crate::machine::{self, mib};
use crate::orders::{OrderSettings, Spread};
use crate::peers::Peer;
use crate::process::Ended;
use crate::results::{Measure, Measurement, Table, number};

/// Every order falls into one window of a minute.
const SPAN: Duration = Duration::from_secs(59);
/// The first minute of 2025.
const START_MS: u64 = 1_735_689_600_000;

/// Measures checkpoints and starts from them, by the size of the state.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Orders of each measurement, comma separated; nearly every order has a user of its own
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 1_000_000])]
    orders: Vec<u64>,
    /// Workers of the job.
    #[arg(long, default_value_t = 2)]
    workers: u32,
    /// Kafka's brokers as `host:port`, comma separated; if absent, a broker is started
    #[arg(long, env = "TIDEMARK_BROKERS")]
    brokers: Option<String>,
}

impl Measurement for Args {
    const NAME: &'static str = "recovery";
    type Error = RunError;

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Kafka]
    }

    fn measure(self) -> Result<Vec<Table>, RunError> {
        let cache = Cache::open()?;
        let folder = cache.scratch("recovery")?;
        let broker = Broker::given_or_started(self.brokers.as_deref(), &cache, folder.path())?;
        println!("{}", machine::describe());

        println!(
            "{:>12} {:>16} {:>14} {:>10} {:>10}",
            "orders", "checkpoint MiB", "again after s", "CPU-s", "peak MiB"
        );

        let measures = [
            Measure::new("checkpoint", "MiB"),
            Measure::new("start and end", "s"),
            Measure::new("CPU time", "s"),
            Measure::new("peak memory", "MiB"),
        ];
        let mut table = Table::new("Starts from a checkpoint", &measures);
        for orders in &self.orders {
            let (size_bytes, again) = self.start_again(*orders, broker.address(), folder.path())?;
            let wall = again.wall.as_secs_f64();
            let cpu = again.cpu.as_secs_f64();

            println!(
                "{orders:>12} {:>16.2} {wall:>14.2} {cpu:>10.2} {:>10.0}",
                mib(size_bytes),
                mib(again.peak_rss_bytes)
            );
            let samples = [mib(size_bytes), wall, cpu, mib(again.peak_rss_bytes)];
            table.add("order-analytics", &[("orders", number(*orders))], &samples);
        }

        Ok(vec![table])
    }
}

impl Args {
    fn start_again(
        &self,
        orders: u64,
        brokers: &str,
        folder: &Path,
    ) -> Result<(u64, Ended), RunError> {
        let run = format!("{}-{orders}", run_name());
        let input = format!("{ORDERS}-{run}");
        let made = OrderSettings {
            orders,
            users: orders.saturating_mul(20),
            spread: Spread::Uniform,
            start: Timestamp::from_ms(START_MS).expect("a day in 2025"),
            span: SPAN,
            disorder: Duration::ZERO,
            late: 0.0,
            malformed: 0.0,
            seed: 1,
        };

        let log = generate::kafka(brokers)?;
        generate::publish(
            &*log,
            Target {
                topic: &input,
                partitions: 4,
                rate: None,
            },
            made.records(),
        )?;

        let folder = folder.join(&run);
        fs::create_dir_all(&folder)?;
        let job = Job {
            brokers,
            run: &run,
            input: &input,
            workers: self.workers,
            folder: &folder,
        };
        job.run_to_end(&[])?;

        let size_bytes = size_of(&job.checkpoints())?;
        Ok((size_bytes, job.run_to_end(&[])?))
    }
}

/// Returns the size of all files below a folder, in bytes.
fn size_of(folder: &Path) -> std::io::Result<u64> {
    let mut size_bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        size_bytes += if metadata.is_dir() {
            size_of(&entry.path())?
        } else {
            metadata.len()
        };
    }

    Ok(size_bytes)
}
