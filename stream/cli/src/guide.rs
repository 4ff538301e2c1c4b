//! # Your first job on your Kafka in ten minutes
//!
//! The job of this page reads orders, and publishes the revenue of each shop and minute. Everything
//! on this page compiles as it stands.
//!
//! ## 1. Two files
//!
//! `Cargo.toml` names the engine, the command line and the record log:
//!
//! ```toml
//! [package]
//! name = "revenue"
//! version = "0.1.0"
//! edition = "2024"
//!
//! [dependencies]
//! record-log = { path = "../tidemark/stream/record-log" }
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! stream = { path = "../tidemark/stream/engine" }
//! stream-cli = { path = "../tidemark/stream/cli" }
//! ```
//!
//! `src/main.rs` is the job:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::time::Duration;
//!
//! use record_log::Record;
//! use serde::Deserialize;
//! use stream::{Count, Job, JobError, Pipeline, Rejected, Sum, Windows};
//!
//! #[derive(Deserialize)]
//! struct Order {
//!     shop: String,
//!     cents: u64,
//!     time_ms: u64,
//! }
//!
//! /// Reads an order, and returns its event time. Rejected records go to a topic of dead letters.
//! fn order(record: &Record<'_>) -> Result<(u64, Order), Rejected> {
//!     let value = record.value.unwrap_or_default();
//!     let order: Order = serde_json::from_slice(value).map_err(Rejected::because)?;
//!     Ok((order.time_ms, order))
//! }
//!
//! fn revenue(job: Job) -> Result<Pipeline<String, (Sum, Count)>, JobError> {
//!     Ok(job
//!         .source("orders", order)
//!         .window(Windows::tumbling(Duration::from_secs(60))?)
//!         .aggregate(|order: Order| [(order.shop, (Sum(order.cents), Count(1)))])
//!         .sink("revenue", |row, output| {
//!             let (Sum(cents), Count(orders)) = row.aggregate;
//!             let start = row.window_start;
//!             output.key.extend(format!("{} {start}", row.key).bytes());
//!             output.value.extend(format!("{start} {} {orders} {cents}", row.key).bytes());
//!         }))
//! }
//!
//! fn main() -> ExitCode {
//!     stream_cli::main("revenue", revenue)
//! }
//! ```
//!
//! ## 2. Run it on a file
//!
//! A file has one record a line. Without a Kafka, results are printed:
//!
//! ```text
//! $ cat orders.ndjson
//! {"shop":"north","cents":1999,"time_ms":1795341600000}
//! {"shop":"north","cents":501,"time_ms":1795341601000}
//! {"shop":"south","cents":700,"time_ms":1795341660000}
//! no order
//! $ cargo run -- --input orders.ndjson
//! 1795341600000 north 2 2500
//! 1795341660000 south 1 700
//! 1 rejected record was not counted; the first: expected ident at line 1 column 2: no order
//! ```
//!
//! ## 3. Run it on your Kafka
//!
//! ```text
//! $ cargo run --release -- --brokers kafka-1:9092 --checkpoints file:///var/lib/revenue --status-address 127.0.0.1:9090
//! ```
//!
//! It reads `orders` from its oldest record, creates the topics `revenue`, `orders-late` and
//! `orders-dead-letter`, and publishes each window when its event time has passed. Stop it, kill it,
//! start it again: it goes on from its checkpoint, and no result is lost or doubled. A consumer of
//! `revenue` reads committed records (`isolation.level=read_committed`).
//!
//! Properties such as `--property security.protocol=SASL_SSL` configure the login. `supervise` before the flags starts
//! the job again whenever it dies. <http://127.0.0.1:9090> shows its state.
//!
//! ## 4. Fill the past from files
//!
//! `--input` and `--brokers` together read the files and publish to Kafka, with the same guarantee:
//!
//! ```text
//! $ cargo run --release -- --input file:///exports/orders --brokers kafka-1:9092 --checkpoints file:///var/lib/revenue-2025 --job revenue-2025
//! ```
//!
//! - Each file of the folder is a partition; they are read side by side. The job ends when it has
//!   read all of them.
//! - A file that begins with a header, such as a CSV file, needs `--input-header`. A record is one
//!   line, so a quoted field must not contain the end of a line.
//! - Records have no key and no headers. Their time in the log is that of the file's last change,
//!   as a producer's time: event times come from the record.
//! - Files must not change while they are read. A job that was stopped goes on in the middle of a
//!   file; to add files to such a job, give them names that come last.
//!
//! ## 5. Write files
//!
//! With `--output` the job publishes to files in a folder or a bucket, and needs no right to write to Kafka:
//!
//! ```text
//! $ cargo run --release -- --brokers kafka-1:9092 --checkpoints gs://shop/checkpoints --output gs://shop/results
//! gs://shop/results/revenue/20261122T100000.000Z/000000000041-revenue-sink-0.ndjson
//! {"key":"north 1795341600000","value":"1795341600000 north 2 2500"}
//! ```
//!
//! - Each topic is a folder. The folder of the results has a folder for each window, named by its start in UTC;
//!   sessions, summaries, late records and dead letters are in their topic's folder itself. With `--input`, a job reads
//!   and writes only files.
//! - A line is a record: key, value (JSON objects and arrays as they are, other text as a string), and its headers as a list
//!   of pairs if it has any. A null value is a tombstone.
//! - Results are exactly once by file name: a file is one transaction of one worker, appears whole or not at all, and
//!   never changes, even if a process dies. A program that remembers the names of the files that it has loaded loads
//!   every record once.
//! - A correction is another file in the window's folder, and so are the rows that a job writes again after it lost a
//!   checkpoint. Of two records with the same key, the one in the file with the greater name is valid, as the later
//!   record is in a topic.
//! - Nothing deletes files. You may move or delete them; a start creates the files of each worker's newest transaction again,
//!   under the same names, if they are not there. `_transactions` has a few objects and belongs to the job: to begin anew,
//!   delete it together with all other folders.
//! - Two jobs may share a folder if their topics have different names.
//! - With `--output-format parquet` (feature `parquet` of `stream-cli`) a file has a column for each field of the values that
//!   are JSON objects, besides `_key`, `_value` for other values, and `_headers`. The columns of a file follow from its rows,
//!   so readers unite the columns of several files by name. In DuckDB, where the last of several rows of a key is valid:
//!
//! ```text
//! select * from read_parquet('results/visit-counts/*/*.parquet', union_by_name = true, filename = true)
//!   qualify row_number() over (partition by _key order by parse_filename(filename) desc) = 1
//! ```
//!
//!   A tombstone is a row with a key and nothing else. The format may change at any start.
//!
//! ## 6. Run it on generated records
//!
//! A program may have a function that makes records ([`Program::generator`](crate::Program::generator)), for tests,
//! demonstrations and benchmarks without a Kafka. `examples/nexmark` has one:
//!
//! ```text
//! $ nexmark --query q5 --generate 1000000                                     prints the results
//! $ nexmark --query q5 --generate endless --generate-rate 5000 --output file:///tmp/auctions
//! ```
//!
//! Record n of a partition is a function of the seed (`--generate-seed`), the partition and n. So each run reads the same
//! records, and a job that was killed goes on at the record that its checkpoint names.
//!
//! ## 7. Further features
//!
//! - Filter, map, jobs without a window, and rows derived from a window's rows (second windows, joins, top-k):
//!   [`stages`].
//! - Skip rows, and add headers to them: [`Output::skip`](stream::Output::skip),
//!   [`Output::headers`](stream::Output::headers).
//! - The first keys of each window, a record for each rank: [`Pipeline::top`](stream::Pipeline::top).
//! - The distinct keys of each window: aggregate `()`, so that each key has one row and nothing else.
//! - Several topics in one job, their union, and joins of two topics by key and window: [`joins`].
//! - Days of a time zone: [`Windows::offset`](stream::Windows::offset).
//! - State and timers by key, for rules that windows cannot express: [`process_functions`].
//! - Savepoints, changes of a job that has a checkpoint, and the content of one: [`operating`].
//! - A whole set of queries: `examples/nexmark`, with a table of those that cannot be expressed.

pub mod joins;
pub mod operating;
pub mod process_functions;
pub mod stages;
