//! The commands, each a module of its own.

use std::error::Error;

use clap::{CommandFactory, Parser};

use crate::results::Measured;

/// Tidemark's harness: starts real counterparts, generates orders, runs the real programs and
/// checks their results.
#[derive(Debug, Parser)]
#[command(name = "bench", version, arg_required_else_help = true)]
pub enum Command {
    /// Runs every check and test against the real counterparts.
    Verify(crate::verify::Args),
    /// Prints figures of the code by crate, and fails on files that import each other in a circle
    /// and on names used twice.
    Code(crate::code::Args),
    /// Counts the instructions of each stage of the hot path, and compares them with the budgets.
    Budgets(Measured<crate::budgets::Args>),
    /// Starts, stops and shows Apache Kafka, MariaDB and DynamoDB Local.
    Counterparts(crate::counterparts::Args),
    /// Writes generated orders to a topic.
    Generate(crate::generate::Args),
    /// Reads a topic to its end: the lower bound of any consumer's cost.
    Read(crate::read::Args),
    /// Compares every count of the job, over generated orders, with an independent computation.
    Exact(crate::exact::Args),
    /// Kills the job's processes, its broker and its object store under load, and compares every
    /// count with the input.
    Crash(crate::crash::Args),
    /// Cuts one of two brokers off from the job, then freezes it, and compares every count with the input.
    CutOff(crate::cut_off::Args),
    /// Publishes in transactions through a proxy that troubles their requests, and checks each by Kafka's Java client.
    Torn(crate::torn::Args),
    /// Shops on the real platform, kills it, and checks that nothing acknowledged is lost or counted twice.
    EndToEnd(crate::end_to_end::Args),
    /// Destroys everything but backups and the log, restores the platform, and checks that orders
    /// and counts agree.
    Drill(crate::drill::Args),
    /// Prints the orders of the topic as SQL, for a database that was restored from a backup.
    OrdersAsSql(crate::orders_as_sql::Args),
    /// Runs the storefront's scripts in Chromium on a fresh platform.
    Browser(crate::browser::Args),
    /// Runs the load test of k6, with two hundred customers, on a fresh platform where callers authenticate.
    Load(crate::load::Args),
    /// Measures CPU time and memory of the job on real Kafka, beside a bare reader.
    Throughput(Measured<crate::throughput::Args>),
    /// Measures the cost of a request in the gateway, beside nginx and a gateway in Flask.
    Gateway(Measured<crate::gateway::Args>),
    /// Floods a platform from one address, and measures the answers for a customer at another one.
    Overload(Measured<crate::overload::Args>),
    /// Measures the memory of each service in a process of its own, idle and after a little
    /// traffic.
    Idle(Measured<crate::idle::Args>),
    /// Measures searches of a catalogue of 100,000 products, and the memory of its index.
    Catalogue(Measured<crate::catalogue::Args>),
    /// Measures the rows that replicas of analytics write a second, and the costs of layouts of rows.
    AnalyticsWrites(Measured<crate::analytics_writes::Args>),
    /// Measures the time from a window's end until its results can be read.
    Latency(Measured<crate::latency::Args>),
    /// Measures the job's memory on backlogs, uneven partitions, a sink that stalls and bad
    /// records.
    Pressure(Measured<crate::pressure::Args>),
    /// Measures checkpoints, and starts from them, by the size of the state.
    Recovery(Measured<crate::recovery::Args>),
    /// Measures the checkpoints of a job that counts the sessions of a day.
    Sessions(Measured<crate::sessions::Args>),
    /// Runs chosen comparisons, or reads their kept results, and writes one page of tables and plots.
    Report(crate::report::Args),
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    /// The error that stopped the command, or that its check found.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Verify(args) => args.run()?,
            Self::Code(args) => args.run()?,
            Self::Budgets(args) => args.run()?,
            Self::Counterparts(args) => args.run()?,
            Self::Generate(args) => args.run()?,
            Self::Read(args) => args.run()?,
            Self::Exact(args) => args.run()?,
            Self::Crash(args) => args.run()?,
            Self::CutOff(args) => args.run()?,
            Self::Torn(args) => args.run()?,
            Self::EndToEnd(args) => args.run()?,
            Self::Drill(args) => args.run()?,
            Self::OrdersAsSql(args) => args.run()?,
            Self::Browser(args) => args.run()?,
            Self::Load(args) => args.run()?,
            Self::Throughput(args) => args.run()?,
            Self::Gateway(args) => args.run()?,
            Self::Overload(args) => args.run()?,
            Self::Idle(args) => args.run()?,
            Self::Catalogue(args) => args.run()?,
            Self::AnalyticsWrites(args) => args.run()?,
            Self::Latency(args) => args.run()?,
            Self::Pressure(args) => args.run()?,
            Self::Recovery(args) => args.run()?,
            Self::Sessions(args) => args.run()?,
            Self::Report(args) => args.run(Self::check_measuring)?,
        }
        Ok(())
    }

    /// Returns an error if the words are not a command with valid arguments that writes figures.
    fn check_measuring(words: &[String]) -> Result<(), String> {
        let name = words.first().map_or("", String::as_str);
        let all = Self::command();
        let writes_figures =
            |one: &&clap::Command| one.get_arguments().any(|flag| flag.get_id() == "json");
        let measuring = || all.get_subcommands().filter(writes_figures);

        if measuring().all(|one| one.get_name() != name) {
            let names: Vec<&str> = measuring().map(clap::Command::get_name).collect();
            return Err(format!(
                "`{name}` writes no figures; these do: {}",
                names.join(", ")
            ));
        }

        let line = std::iter::once("bench").chain(words.iter().map(String::as_str));
        let parsed = Self::try_parse_from(line.chain(["--json", "figures.json"]));
        parsed.map(drop).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        })
    }
}
