//! The commands that every job has. Each returns the exit code of the process.

use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use stream::{
    AnyPipeline, CheckpointStore, CheckpointsCommand, Job, JobError, Membership, Metrics, Settings,
    Stop, system_clock,
};

use crate::announcement;
use crate::checkpoints::CheckpointsVerb;
use crate::error::CommandError;
use crate::flags::{CheckpointsFlags, Client, RunFlags};
use crate::generator::Generator;
use crate::job::JobDefinition;
use crate::job_name;
use crate::settings::UnreadableBatchesFlag;
use crate::status::{self, StatusPages};
use crate::supervise;

/// The interval between two checks for a request to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The time that the job has to end by itself when nothing is left to be committed.
const END_WITHIN: Duration = Duration::from_secs(1);

/// Runs the job until it is stopped or, if so configured, until it has read to the ends.
pub fn work<D: JobDefinition>(
    flags: RunFlags<D>,
    generator: Option<&Generator>,
    define: impl FnOnce(&RunFlags<D>) -> Result<AnyPipeline, CommandError>,
) -> Result<u8, CommandError> {
    flags.start_logs();

    let stop = Stop::default();
    supervise::show_life(flags.members.silence_limit, &stop)
        .map_err(CommandError::system("cannot show signs of life"))?;
    let members = Membership::from(flags.members.clone()).join()?;
    check_client(flags.records.client, flags.job.settings.unreadable_batches)?;
    let pipeline = define(&flags)?;
    let topics = pipeline.source_topics();
    let log = flags.records.open_with(&topics, generator)?;
    let settings = Settings {
        until_end: flags.job.settings.until_end || flags.records.ends(),
        ..flags.job.settings.into()
    };

    announcement::announce(&pipeline, &flags.records, &settings);
    let run = pipeline.on(settings, log)?.together(members)?;

    request_on_signals(&stop)?;
    end_where_a_server_is_waited_for(&stop, run.metrics.clone())?;
    let pages = StatusPages {
        metrics: run.metrics.clone(),
        store: run.store.clone(),
    };
    status::open(flags.status_address, flags.members.process, pages)?;

    run.run(&stop).map_err(CommandError::Ended)?;
    announcement::report_end(&stop);

    Ok(0)
}

/// Checks that a client of Kafka can do what is to become of unreadable batches.
fn check_client(client: Client, batches: UnreadableBatchesFlag) -> Result<(), JobError> {
    if (client, batches) == (Client::Rdkafka, UnreadableBatchesFlag::SetAside) {
        return Err(JobError::Settings(
            "--unreadable-batches set-aside needs --client native: librdkafka does not show where a damaged batch ends"
                .to_owned(),
        ));
    }
    Ok(())
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
    let store = open_existing(&flags.checkpoints, &flags.job)?;
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
            to: {
                // The target may be a new folder, which is not created for a checkpoint that does not exist.
                let show = CheckpointsCommand::Show { checkpoint, json };
                show.run(&store, system_clock()())?;
                target(&to, &flags.checkpoints, &flags.job)?
            },
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
        job => {
            let job = job_name::parse(job).map_err(|error| {
                CommandError::Other(format!("--to names no job and no URL: {error}").into())
            })?;
            open(url, &job)
        }
    }
}

/// Lets the next start read everything again.
pub fn start_over(pipeline: &AnyPipeline, checkpoints: &str) -> Result<u8, CommandError> {
    let store = open_existing(checkpoints, pipeline.name())?;
    pipeline.start_over(&store)?;
    print(&format!(
        "the next start of {:?} reads its topics from their oldest records, with the settings of that start\n",
        pipeline.name(),
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
    request_on_signals(&stop)?;

    Ok(stop)
}

/// Lets SIGINT and SIGTERM request the stop. A supervisor passes on both as SIGTERM.
fn request_on_signals(stop: &Stop) -> Result<(), CommandError> {
    let listening = match supervise::is_supervised() {
        true => stop.request_on_termination(),
        false => stop.request_on_signals(),
    };
    listening.map_err(CommandError::system("cannot listen for signals"))
}

/// Ends the process soon after a second request to stop, even if the job waits for a server that does not answer. While
/// no attempt runs, the first request ends it, too: there is nothing to commit.
fn end_where_a_server_is_waited_for(stop: &Stop, metrics: Metrics) -> Result<(), CommandError> {
    let stop = stop.clone();
    let watch = move || {
        let mut idle_since = None;
        while !stop.is_immediate() {
            std::thread::sleep(LOOK_EVERY);
            let is_idle = stop.is_requested() && !metrics.status(system_clock()()).is_running;
            idle_since = is_idle.then(|| idle_since.unwrap_or_else(Instant::now));
            if idle_since.is_some_and(|since| since.elapsed() >= END_WITHIN) {
                announcement::report_end(&stop);
                std::process::exit(0);
            }
        }
        std::thread::sleep(END_WITHIN);

        announcement::report_break();
        std::process::exit(0);
    };

    std::thread::Builder::new()
        .name("end at once".to_owned())
        .spawn(watch)
        .map(drop)
        .map_err(CommandError::system("cannot wait for a request to stop"))
}

/// Opens checkpoints that are there already: a mistyped path is an error, and creates nothing.
fn open_existing(url: &str, job: &str) -> Result<CheckpointStore, CommandError> {
    refuse_memory(url)?;
    Ok(CheckpointStore::open_existing(url, job)?)
}

fn open(url: &str, job: &str) -> Result<CheckpointStore, CommandError> {
    refuse_memory(url)?;
    Ok(CheckpointStore::open(url, job)?)
}

fn refuse_memory(url: &str) -> Result<(), CommandError> {
    if !url.starts_with("memory:") {
        return Ok(());
    }
    let reason = "checkpoints in memory are lost with their process: set --checkpoints to the place of stored ones";
    Err(CommandError::Other(reason.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_client_that_can_set_batches_aside_may_be_told_to() {
        use UnreadableBatchesFlag::{SetAside, Stop};
        for (client, batches) in [
            (Client::Native, SetAside),
            (Client::Native, Stop),
            (Client::Rdkafka, Stop),
        ] {
            check_client(client, batches).unwrap();
        }

        let refused = check_client(Client::Rdkafka, SetAside).unwrap_err();
        assert!(refused.to_string().contains("--client native"), "{refused}");
    }
}
