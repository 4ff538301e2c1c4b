//! Measures the time and memory that files take. Each goes through the binary that Lambda starts, in
//! a process of its own.
//!
//! ```text
//! cargo bench -p file-processor                                      every kind of file, and a CSV of 5 GB
//! cargo bench -p file-processor -- --csv-bytes 1000000000 FILE…      files of your own as well
//! ```
//!
//! `TIDEMARK_TEST_BOOTSTRAP` names another binary, such as the one out of the zip that is deployed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on has failed"
)]

#[path = "../tests/it/long_csv.rs"]
mod long_csv;
#[path = "../tests/it/runtime_api.rs"]
mod runtime_api;
#[path = "../tests/it/samples.rs"]
mod samples;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use long_csv::{KEY, LongCsv};
use runtime_api::{Function, Taken, created};
use serde_json::{Value, json};

/// No server listens at this address, so no products are imported.
const NOWHERE: &str = "http://127.0.0.1:1";
/// A time limit for files of any length.
const LONG: Duration = Duration::from_secs(3600);
/// The memory for which Lambda gives a function one core.
const MIB_A_CORE: f64 = 1769.0;

/// Measures the file processor.
#[derive(Debug, Parser)]
struct Args {
    /// The length of the long CSV.
    #[arg(long, default_value_t = 5_000_000_000, value_name = "BYTES")]
    csv_bytes: u64,
    /// Further files to be measured.
    files: Vec<PathBuf>,
    /// `cargo bench` passes this flag. It has no effect.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    println!("| what | bytes | status | kind | what the metadata says | ms | peak memory |");
    println!("|---|--:|---|---|---|--:|--:|");

    let mut cold_starts = Vec::new();
    for sample in samples::all() {
        let (function, file) = read(sample.name, &sample.bytes).await;
        sample.check(&file);
        show(sample.what, &file, &function);
        cold_starts.extend(function.cold_start());
    }

    for path in args.files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (function, file) = read(&name, &std::fs::read(&path).unwrap()).await;
        show(&name, &file, &function);
    }

    cold_starts.sort();
    let least = cold_starts[0].as_millis();
    let most = cold_starts.last().unwrap().as_millis();
    println!(
        "\nfrom the start of the process to its first question for an event: {least} to {most} ms"
    );
    long(LongCsv::of_bytes(args.csv_bytes)).await;
}

async fn read(name: &str, bytes: &[u8]) -> (Function, Value) {
    let mut function = Function::start(NOWHERE).await;
    let outcome = function.upload(&format!("uploads/{name}"), bytes).await;
    let file = function.file(&outcome).await;
    (function, file)
}

fn show(what: &str, file: &Value, function: &Function) {
    let says = match &file["error"] {
        Value::Null => shown(&file["summary"]),
        error => format!(
            "{}: {}",
            error["reason"].as_str().unwrap(),
            error["detail"].as_str().unwrap()
        ),
    };

    let status = file["status"].as_str().unwrap();
    let kind = file["kind"].as_str().unwrap_or("-");
    let peak = function
        .taken()
        .map_or_else(|| "-".to_owned(), |taken| format!("{} MiB", mib(&taken)));

    println!(
        "| {what} | {} | {status} | {kind} | {says} | {} | {peak} |",
        file["size_bytes"], file["took_ms"]
    );
}

fn shown(summary: &Value) -> String {
    let is_short = |name: &str| !name.starts_with("first_") && name != "columns";
    let says = summary
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| is_short(name));

    says.map(|(name, value)| format!("{name} {value}"))
        .collect::<Vec<_>>()
        .join(", ")
}

async fn long(csv: LongCsv) {
    let mut function = csv.function().await;
    function.set_timeout(LONG);
    let began = Instant::now();
    let outcome = function.invoke(created(&json!({"key": KEY}))).await;
    let took = began.elapsed();
    let taken = function.taken();
    let file = function.file(&outcome).await;
    assert_eq!(file["summary"]["rows"], csv.rows, "{file}");

    println!(
        "a CSV of {} bytes, {} rows, from S3: {:.1} s",
        csv.bytes(),
        csv.rows,
        took.as_secs_f64()
    );

    let Some(taken) = taken else { return };
    let mb_a_second = csv.bytes() as f64 / 1e6 / taken.cpu.as_secs_f64();
    println!(
        "peak memory {} MiB, CPU {:.1} s: {mb_a_second:.0} MB a second",
        mib(&taken),
        taken.cpu.as_secs_f64()
    );

    for memory_mib in [512.0, MIB_A_CORE] {
        let share = f64::min(memory_mib / MIB_A_CORE, 1.0);
        let seconds = taken.cpu.as_secs_f64() / share;
        println!("at {memory_mib} MiB, {share:.2} of a core: {seconds:.0} s");
    }
}

fn mib(taken: &Taken) -> u64 {
    taken.peak_memory_bytes >> 20
}
