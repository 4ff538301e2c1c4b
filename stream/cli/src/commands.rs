//! The commands that every job has. Each returns the exit code of the process.

use std::io::{BufWriter, Write};

use stream::{
    AnyPipeline, CheckpointStore, CheckpointsCommand, Job, JobError, Membership, Settings, Stop,
    system_clock,
};

use crate::checkpoints::CheckpointsVerb;
use crate::error::CommandError;
use crate::flags::{CheckpointsFlags, RunFlags};
use crate::generator::Generator;
use crate::job::JobDefinition;
use crate::status;
use crate::supervise;

/// Runs the job until it is stopped or, if so configured, until it has read to the ends.
pub fn work<D: JobDefinition>(
    flags: RunFlags<D>,
    generator: Option<&Generator>,
    define: impl FnOnce(&RunFlags<D>) -> Result<AnyPipeline, CommandError>,
) -> Result<u8, CommandError> {
    flags.start_logs();

    supervise::show_life(flags.members.silence_limit)
        .map_err(CommandError::system("cannot show signs of life"))?;
    let members = Membership::from(flags.members.clone()).join()?;
    let pipeline = define(&flags)?;
    let topics = pipeline.source_topics();
    let log = flags.records.open_with(&topics, generator)?;
    let settings = Settings {
        until_end: flags.job.settings.until_end || flags.records.ends(),
        ..flags.job.settings.into()
    };
    let run = pipeline.on(settings, log)?.together(members)?;

    let stop = stop_on_signals()?;
    if let Some(address) = flags.status_address {
        status::serve(address, run.metrics.clone())?;
    }
    run.run(&stop).map_err(CommandError::Ended)?;

    Ok(0)
}

/// Runs the job in a process of its own, again and again.
pub fn keep_working<D: JobDefinition>(flags: &RunFlags<D>) -> Result<u8, CommandError> {
    flags.start_logs();
    let stop = stop_on_signals()?;

    // The first argument is `supervise`; all others are the job's.
    let arguments: Vec<_> = std::env::args_os().skip(2).collect();
    let stop_timeout = flags.job.settings.stop_timeout;
    supervise::supervise(&arguments, flags.members.silence_limit, stop_timeout, &stop)
        .map_err(CommandError::system("cannot start the job's process"))
}

/// Lists, shows, verifies, prunes, copies or reads checkpoints.
pub fn checkpoints<D: JobDefinition>(
    flags: CheckpointsFlags<D>,
    define: impl FnOnce(&D, Job) -> Result<AnyPipeline, JobError>,
) -> Result<u8, CommandError> {
    let store = open(&flags.checkpoints, &flags.job)?;
    let command = match flags.command {
        CheckpointsVerb::List { json } => CheckpointsCommand::List { json },
        CheckpointsVerb::Show { checkpoint, json } => CheckpointsCommand::Show { checkpoint, json },
        CheckpointsVerb::Verify { json } => CheckpointsCommand::Verify { json },
        CheckpointsVerb::Prune {
            keep,
            dry_run,
            json,
        } => CheckpointsCommand::Prune {
            keep,
            dry_run,
            json,
        },
        CheckpointsVerb::Copy {
            checkpoint,
            to,
            json,
        } => CheckpointsCommand::Copy {
            checkpoint,
            to: target(&to, &flags.checkpoints, &flags.job)?,
            json,
        },
        CheckpointsVerb::Read { checkpoint, own } => {
            let pipeline = define(&own, Job::new(&flags.job))?;
            let mut output = BufWriter::new(std::io::stdout().lock());
            pipeline.read_checkpoint(&store, checkpoint, &mut output)?;
            return Ok(0);
        }
    };
    let report = command.run(&store, system_clock()())?;
    print(&report.text)?;

    Ok(u8::from(!report.is_sound))
}

/// Returns the target of a copy: another job at the same URL, or the same job at another URL.
fn target(to: &str, url: &str, job: &str) -> Result<CheckpointStore, CommandError> {
    match to {
        url if url.contains("://") => open(url, job),
        "" => Err(CommandError::Other(
            "--to is empty: name another job, or a URL".into(),
        )),
        job => open(url, job),
    }
}

/// Lets the next start read everything again.
pub fn start_over(pipeline: &AnyPipeline, checkpoints: &str) -> Result<u8, CommandError> {
    let store = open(checkpoints, pipeline.name())?;
    pipeline.start_over(&store)?;
    print(&format!(
        "the next start of {:?} reads {:?} from the oldest record\n",
        pipeline.name(),
        pipeline.source_topics().join(", ")
    ))?;

    Ok(0)
}

/// Writes to standard output.
pub fn print(text: &str) -> Result<(), CommandError> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(CommandError::system("cannot write the answer"))
}

/// Returns a stop that SIGINT and SIGTERM request.
pub fn stop_on_signals() -> Result<Stop, CommandError> {
    let stop = Stop::default();
    stop.request_on_signals()
        .map_err(CommandError::system("cannot listen for signals"))?;

    Ok(stop)
}

fn open(url: &str, job: &str) -> Result<CheckpointStore, CommandError> {
    if url.starts_with("memory:") {
        let reason = "checkpoints in memory are gone with their process: say where they lie by --checkpoints";
        return Err(CommandError::Other(reason.into()));
    }

    Ok(CheckpointStore::open(url, job)?)
}
