//! `bench analytics-writes`: the rows a second that replicas of analytics write into DynamoDB Local,
//! their write units, and the monthly cost of this and other layouts, reads of a user's history included.
//!
//! The rows are published to a real Kafka, and written by the real service. The units are those that
//! DynamoDB Local reports to the service, and for the same data in the other layouts.
//! DynamoDB Local is one process on the same machine, with its tables in memory, so it limits the
//! rows a second long before DynamoDB would; units do not depend on the machine.

mod bill;
mod chunks;
mod failure;
mod layouts;
mod merged;
mod replicas;
mod rows;
mod tables;

use std::time::{Duration, Instant};

use events::{ANALYTICS_RESULTS, ANALYTICS_SUMMARIES};
use record_log::{Delivery, NewRecord, RecordLog};

use bill::Prices;
use chunks::Written;
pub use failure::AnalyticsWritesError;
use failure::Result;
use replicas::Replicas;
use rows::{HOUR_MS, MINUTE_MS, count};
use tables::Tables;

use crate::counterparts::{Cache, Counterpart, Launch, Server, dynamodb, kafka};
use crate::generate;
use crate::machine;
use crate::peers::Peer;
use crate::results::{Measure, Measurement, Table, number};

/// The start of the first window, in milliseconds. Any minute will do.
const FIRST_WINDOW_MS: u64 = 1_767_225_600_000;
/// The users of the window before the measured one. When it is written, every partition has an
/// owner.
const WARM_UP_USERS: u64 = 600;

/// Measures the writes of replicas of analytics, and the costs of layouts of their rows.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Users who order in each minute.
    #[arg(long, default_value_t = 100_000)]
    users: u64,
    /// Users of the minute that is written; the costs are always for `--users`.
    #[arg(long, default_value_t = 100_000)]
    written: u64,
    /// Numbers of replicas, comma separated.
    #[arg(long, default_value = "1,2,3", value_delimiter = ',')]
    replicas: Vec<u16>,
    /// Partitions of the topic of results.
    #[arg(long, default_value_t = 6)]
    partitions: u32,
    #[command(flatten)]
    prices: Prices,
}

/// A window of rows to be written.
struct Window {
    start_ms: u64,
    users: u64,
}

impl Measurement for Args {
    const NAME: &'static str = "analytics-writes";
    type Error = AnalyticsWritesError;

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Kafka, Peer::DynamoDb]
    }

    fn measure(self) -> Result<Vec<Table>> {
        let cache = Cache::open()?;
        let folder = cache.scratch("analytics-writes")?;
        let kafka = kafka::start(&cache, folder.path())?;
        let dynamodb = Server::start(in_memory(dynamodb::launch(&cache, folder.path())?))?;
        let stores = [
            Counterpart::Kafka.flag(),
            kafka.address(),
            Counterpart::Dynamodb.flag(),
            dynamodb.address(),
        ];
        println!("{}", machine::describe());

        let log = generate::kafka(kafka.address())?;
        generate::create(&*log, ANALYTICS_RESULTS, self.partitions)?;
        generate::create(&*log, ANALYTICS_SUMMARIES, 1)?;

        let tables = Tables::at(dynamodb.address())?;
        let mut written = Vec::new();
        let mut start_ms = FIRST_WINDOW_MS;
        let measures = [
            Measure::rate("rows a second", "1/s"),
            Measure::new("write units", ""),
        ];
        let mut table = Table::new("Rows that replicas of analytics write", &measures);
        for replicas in &self.replicas {
            let replicas = Replicas::start(folder.path(), &stores, *replicas)?;
            let units = self.write_window(&*log, &replicas, start_ms, &mut table)?;
            let bytes = chunks::bytes(&tables, start_ms + MINUTE_MS)?;
            written.push(Written {
                replicas: replicas.len(),
                rows: self.written,
                units,
                bytes,
            });
            // Chunks of small batches are by hour.
            start_ms += HOUR_MS;
        }

        let sizes = layouts::measure(&tables, FIRST_WINDOW_MS)?;
        bill::print(&sizes, &written, self.users, &self.prices);
        Ok(vec![table])
    }
}

impl Args {
    /// Lets the replicas write a window, prints the rows a second, and returns the write units.
    fn write_window(
        &self,
        log: &dyn RecordLog,
        replicas: &Replicas,
        start_ms: u64,
        table: &mut Table,
    ) -> Result<f64> {
        let warm_up = Window {
            start_ms,
            users: WARM_UP_USERS,
        };
        self.publish(log, &warm_up)?;
        replicas.wait_until_written(warm_up.users)?;
        let before = replicas.written()?;
        let units_before = replicas.units()?;

        let window = Window {
            start_ms: start_ms + MINUTE_MS,
            users: self.written,
        };
        let began = Instant::now();
        self.publish(log, &window)?;
        replicas.wait_until_written(warm_up.users + window.users)?;
        let took = began.elapsed();

        let units = replicas.units()? - units_before;
        let shares: Vec<f64> = std::iter::zip(replicas.written()?, before)
            .map(|(after, before)| after - before)
            .collect();
        println!(
            "{} replicas: {} rows in {:.1} s, {:.0} rows a second, {units:.0} write units; by replica {shares:?}",
            shares.len(),
            window.users,
            took.as_secs_f64(),
            per_second(window.users, took)
        );
        let settings = [
            ("replicas", number(replicas.len())),
            ("rows", number(window.users)),
        ];
        let samples = [per_second(window.users, took), units];
        table.add("analytics", &settings, &samples);
        Ok(units)
    }

    fn publish(&self, log: &dyn RecordLog, window: &Window) -> Result<()> {
        let mut publisher = log.publisher("bench-analytics-writes", Delivery::AtLeastOnce)?;
        for user_id in 1..=window.users {
            let value = serde_json::to_vec(&count(user_id, window.start_ms))
                .expect("a count is plain data");
            let partition = u32::try_from(user_id % u64::from(self.partitions));

            publisher.send(NewRecord {
                topic: ANALYTICS_RESULTS,
                partition: Some(partition.expect("partitions are few")),
                key: Some(user_id.to_string().as_bytes()),
                value: Some(&value),
                headers: &[],
            })?;
        }
        Ok(publisher.commit(&[])?)
    }
}

/// Keeps the tables in memory. With tables on a disk, DynamoDB Local waits for the disk at each
/// row.
fn in_memory(mut launch: Launch) -> Launch {
    let on_disk = launch.arguments.iter().position(|one| one == "-dbPath");
    let folder = on_disk.map(|at| launch.arguments.drain(at..=at + 1));
    drop(folder);
    launch.arguments.push("-inMemory".into());
    launch
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a figure for people has few digits"
)]
fn per_second(rows: u64, took: Duration) -> f64 {
    rows as f64 / took.as_secs_f64()
}
