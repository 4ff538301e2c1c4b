//! The commands of `order-analytics`. Each returns the exit code of the process.

use std::io::Write;

use anyhow::{Context, bail};
use record_log::LogSettings;
use stream::checkpoint::inspect;
use stream::checkpoint::recover;
use stream::checkpoint::store::CheckpointStore;
use stream::clock::system_clock;
use stream::supervise::{show_life, supervise};
use stream::{Stop, status};

use crate::cli::{CheckpointsArguments, Cli, Client, Command, RunArguments};

/// Runs the command.
pub fn run(Cli { command, run }: Cli) -> anyhow::Result<u8> {
    match command {
        None => work(run),
        Some(Command::Supervise(run)) => keep_working(*run),
        Some(Command::Checkpoints(arguments)) => checkpoints(&arguments),
        Some(Command::StartOver(run)) => start_over(*run),
    }
}

fn work(
    RunArguments {
        brokers,
        client,
        properties,
        status_address,
        log,
        members,
        job,
    }: RunArguments,
) -> anyhow::Result<u8> {
    tracing_subscriber::fmt()
        .with_env_filter(log)
        .with_writer(std::io::stderr)
        .init();

    show_life(members.silence_limit).context("cannot show signs of life")?;
    let members = members.join()?;
    let settings = match client {
        Client::Rdkafka => LogSettings::Kafka {
            brokers,
            properties,
        },
        Client::Native => LogSettings::NativeKafka {
            brokers,
            properties,
        },
    };
    let log = record_log::open(&settings)?;
    let run = job.on(log)?.together(members)?;
    let stop = Stop::default();
    let metrics = run.metrics.clone();
    stop.request_on_signals()
        .context("cannot listen for signals")?;
    status_address.map_or(Ok(()), |address| status::serve(address, metrics))?;
    run.run(&stop).context("the job ended")?;

    Ok(0)
}

fn keep_working(run: RunArguments) -> anyhow::Result<u8> {
    tracing_subscriber::fmt()
        .with_env_filter(run.log)
        .with_writer(std::io::stderr)
        .init();

    let stop = Stop::default();
    stop.request_on_signals()
        .context("cannot listen for signals")?;

    // The first argument is `supervise`; all others are the job's.
    let arguments: Vec<_> = std::env::args_os().skip(2).collect();
    let stop_timeout = run.job.settings.stop_timeout;
    supervise(&arguments, run.members.silence_limit, stop_timeout, &stop)
        .context("cannot start the job's process")
}

fn checkpoints(arguments: &CheckpointsArguments) -> anyhow::Result<u8> {
    let store = open(&arguments.checkpoints, &arguments.job)?;
    let report = inspect::run(&arguments.command, &store, system_clock()())?;
    std::io::stdout().write_all(report.text.as_bytes())?;
    Ok(u8::from(!report.is_sound))
}

fn start_over(RunArguments { job, .. }: RunArguments) -> anyhow::Result<u8> {
    let store = open(&job.settings.checkpoints, &job.job)?;
    let fingerprint = job.fingerprint()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(recover::start_over(&store, &fingerprint))?;

    writeln!(
        std::io::stdout(),
        "the next start of {:?} reads {:?} from its oldest record",
        job.job,
        job.input_topic
    )?;

    Ok(0)
}

fn open(url: &str, job: &str) -> anyhow::Result<CheckpointStore> {
    if url.starts_with("memory:") {
        bail!(
            "checkpoints in memory are gone with their process: say where they lie by --checkpoints"
        );
    }
    Ok(CheckpointStore::open(url, job)?)
}
