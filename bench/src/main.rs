//! `bench`: the harness's commands.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

/// Tidemark's harness: starts real counterparts, generates orders, runs the real programs and checks what they did.
#[derive(Debug, Parser)]
#[command(name = "bench", version, arg_required_else_help = true)]
enum Bench {
    /// Runs every check and test there is against the real counterparts.
    Verify(bench::verify::Args),
    /// Starts, stops and shows Apache Kafka, MariaDB and DynamoDB Local.
    Counterparts(bench::counterparts::Args),
    /// Writes generated orders to a topic.
    Generate(bench::generate::Args),
    /// Holds every count of the job, over orders generated for it, against an independent computation.
    Exact(bench::exact::Args),
    /// Shops on the real platform, kills it, and sees that nothing acknowledged is lost or counted twice.
    EndToEnd(bench::end_to_end::Args),
}

fn main() -> ExitCode {
    match run(Bench::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Bench) -> Result<(), Box<dyn Error>> {
    match command {
        Bench::Verify(args) => args.run()?,
        Bench::Counterparts(args) => args.run()?,
        Bench::Generate(args) => args.run()?,
        Bench::Exact(args) => args.run()?,
        Bench::EndToEnd(args) => args.run()?,
    }
    Ok(())
}
