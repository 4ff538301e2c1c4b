//! `order-analytics`: counts the orders of each user in one-minute windows, from Kafka to Kafka.

mod cli;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use cli::{Cli, Command, RunArguments};
use record_log::LogSettings;
use stream::cluster::EXIT_START_AGAIN;
use stream::supervise::supervise;
use stream::{JobError, Stop, status};

fn main() -> ExitCode {
    let Cli { command, run } = Cli::parse();
    let outcome = match command {
        None => work(run).map(|()| 0),
        Some(Command::Supervise(run)) => keep_working(*run),
    };
    outcome.map(ExitCode::from).unwrap_or_else(|error| {
        eprintln!("Error: {error:?}");
        let is_again = error.downcast_ref::<JobError>().is_some_and(JobError::is_for_a_new_start);
        ExitCode::from(if is_again { EXIT_START_AGAIN } else { 1 })
    })
}

fn work(RunArguments { brokers, properties, status_address, log, members, job }: RunArguments) -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter(log).with_writer(std::io::stderr).init();
    let members = members.join()?;
    let log = record_log::open(&LogSettings::Kafka { brokers, properties })?;
    let run = job.on(log)?.together(members)?;
    let (stop, metrics) = (Stop::default(), run.metrics.clone());
    stop.request_on_signals().context("cannot listen for signals")?;
    status_address.map_or(Ok(()), |address| status::serve(address, metrics))?;
    run.run(&stop).context("the job ended")
}

fn keep_working(run: RunArguments) -> anyhow::Result<u8> {
    tracing_subscriber::fmt().with_env_filter(run.log).with_writer(std::io::stderr).init();
    let stop = Stop::default();
    stop.request_on_signals().context("cannot listen for signals")?;
    // The first argument is `supervise`; all others are the job's.
    let arguments: Vec<_> = std::env::args_os().skip(2).collect();
    supervise(&arguments, &stop).context("cannot start the job's process")
}
