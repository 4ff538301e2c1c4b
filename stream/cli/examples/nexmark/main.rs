//! Queries of the benchmark Nexmark, on events of its auction house.
//!
//! ```text
//! cargo run -p stream-cli --example nexmark -- --query q5                          on 20,000 events in memory
//! cargo run -p stream-cli --example nexmark -- --query q5 --generate 1000000       on events that are made as they are read
//! cargo run -p stream-cli --example nexmark -- generate --events 1000000 > nexmark.ndjson
//! cargo run -p stream-cli --example nexmark -- --query q5 --input nexmark.ndjson   on events in a file
//! cargo run -p stream-cli --example nexmark -- --query q5 --job nexmark-q5 --brokers localhost:9092
//! ```
//!
//! Query q8 reads persons and auctions from topics of their own. With `--input`, these are two files, or links to
//! the one with all events, in a folder: `nexmark-persons` and `nexmark-auctions`.
//!
//! `queries.rs` lists the queries that a job can express, and why it cannot express the others.

mod events;
#[cfg(test)]
mod generator;
#[cfg(test)]
mod oracle;
mod queries;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use queries::Query;
use record_log::generated::GeneratedRecord;
use stream::{AnyPipeline, Job, JobError};
use stream_cli::{CommandError, JobDefinition, Program, SampleRecord};

/// The job's own flags.
#[derive(Clone, Debug, clap::Args)]
struct Nexmark {
    /// The query
    #[arg(long, env = "NEXMARK_QUERY", value_enum, default_value = "q5")]
    query: Query,
}

impl JobDefinition for Nexmark {
    const NAME: &'static str = "nexmark";
    const ABOUT: &'static str = "Runs a query of Nexmark";

    fn define(&self, job: Job) -> Result<AnyPipeline, JobError> {
        self.query.define(job)
    }
}

/// The flags of the command `generate`.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Generate {
    /// Number of events
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,

    /// Number of the first event
    #[arg(long, default_value_t = 0)]
    from: u64,

    /// Seed of their random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Prints events as NDJSON.
fn generate(flags: Generate) -> Result<u8, CommandError> {
    let failed = |error: io::Error| CommandError::Other(error.into());
    let mut out = BufWriter::new(io::stdout().lock());
    for number in flags.from..flags.from + flags.events {
        out.write_all(&json(&events::event(flags.seed, number)))
            .and_then(|()| out.write_all(b"\n"))
            .map_err(failed)?;
    }

    out.flush().map_err(failed)?;
    Ok(0)
}

fn json(event: &events::Event) -> Vec<u8> {
    serde_json::to_vec(event).expect("an event is plain data")
}

/// Returns 20,000 events: 400 seconds.
fn sample() -> Vec<SampleRecord> {
    let record = |number: u64| SampleRecord {
        key: number.to_string().into_bytes(),
        value: json(&events::event(1, number)),
    };
    (0..20_000).map(record).collect()
}

/// Returns an event as a record. All topics have all events, and queries read those that they need.
fn generated(_: &str, seed: u64, number: u64) -> GeneratedRecord {
    let event = events::event(seed, number);
    GeneratedRecord {
        key: number.to_string().into_bytes(),
        value: json(&event),
        time_ms: event.date_time_ms(),
    }
}

fn main() -> ExitCode {
    Program::<Nexmark>::default()
        .sample(sample)
        .sample_of(events::PERSONS, sample)
        .sample_of(events::AUCTIONS, sample)
        .generator(generated)
        .command("generate", "Prints events as NDJSON", generate)
        .main()
}
