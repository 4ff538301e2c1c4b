//! `bench`: the harness's commands.

use clap::Parser;

/// Tidemark's harness: starts real counterparts, generates orders, runs the real programs and checks what they did.
#[derive(Debug, Parser)]
#[command(name = "bench", version, arg_required_else_help = true)]
enum Bench {
    /// Starts, stops and shows Apache Kafka, MariaDB and DynamoDB Local.
    Counterparts(bench::counterparts::Args),
    /// Writes generated orders to a topic.
    Generate(bench::generate::Args),
}

fn main() -> anyhow::Result<()> {
    match Bench::parse() {
        Bench::Counterparts(args) => args.run()?,
        Bench::Generate(args) => args.run()?,
    }
    Ok(())
}
