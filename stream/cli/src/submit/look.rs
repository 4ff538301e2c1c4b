//! Shows the state and the logs of a job at its place, by the commands of that place. Changes nothing.

use std::process::{Command, Output, Stdio};

use super::applications::RegionFlags;
use super::machines::{ZoneFlags, question};
use super::plan::shell;
use crate::commands::print;
use crate::error::CommandError;

/// The exit code of ssh if it does not reach the machine.
const UNREACHABLE: i32 = 255;

/// Prints the state of each machine of the job. Returns 1 unless the job works on all.
pub fn machines(at: &ZoneFlags, job: &str) -> Result<u8, CommandError> {
    let listed = answer(&at.list(job, "value(name,status)"))?;
    let mut works = !listed.is_empty();
    if listed.is_empty() {
        print(&format!(
            "job {job} has no machines in {}: `submit gce` starts it\n",
            at.zone
        ))?;
    }

    for line in listed.lines() {
        let (machine, status) = line.split_once('\t').unwrap_or((line, ""));
        let state = match status {
            "RUNNING" => match output(&at.ssh(machine, &question()))?.status.code() {
                Some(0) => "works".to_owned(),
                Some(UNREACHABLE) => "runs and cannot be reached by ssh".to_owned(),
                _ => "runs and is not ready".to_owned(),
            },
            status => format!("does not run, its state is {status}"),
        };

        works &= state == "works";
        print(&format!("machine {machine} {state}\n"))?;
    }

    Ok(u8::from(!works))
}

/// Prints the state of the job in Dataproc. Returns 1 unless it runs there once.
pub fn applications(at: &RegionFlags, job: &str) -> Result<u8, CommandError> {
    let listed = answer(&at.list(job, "value(reference.jobId,status.state)"))?;
    let states: Vec<(&str, &str)> = listed
        .lines()
        .map(|line| line.split_once('\t').unwrap_or((line, "")))
        .collect();

    for (id, state) in &states {
        print(&format!("job {id} in Dataproc is {state}\n"))?;
    }

    match states.as_slice() {
        [(_, "RUNNING")] => return Ok(0),
        [] => print(&format!(
            "job {job} is not active in {}: `submit dataproc` starts it\n",
            at.region
        ))?,
        [_] => {}
        _ => print("the job is active more than once: `cancel dataproc` ends all of them\n")?,
    }

    Ok(1)
}

/// Follows the logs of the job's machines.
pub fn logs_of_machines(at: &ZoneFlags, job: &str) -> Result<u8, CommandError> {
    let machines = answer(&at.list(job, "value(name)"))?;
    let follow = "sudo journalctl -u order-analytics -n 100 -f";
    let commands = machines.lines().map(|machine| at.ssh(machine, follow));
    let none = format!("job {job} has no machines in {}", at.zone);
    all(commands.collect(), none)
}

/// Follows the output of the job's client in Dataproc.
pub fn logs_of_applications(at: &RegionFlags, job: &str) -> Result<u8, CommandError> {
    let ids = answer(&at.list(job, "value(reference.jobId)"))?;
    let commands = ids.lines().map(|id| at.wait(id));
    let none = format!("job {job} is not active in {}", at.region);
    all(commands.collect(), none)
}

/// Runs the commands at the same time, until all have ended. Fails with `none` if there are none.
pub fn all(commands: Vec<Vec<String>>, none: String) -> Result<u8, CommandError> {
    if commands.is_empty() {
        return Err(CommandError::Other(none.into()));
    }

    let mut running = Vec::new();
    for command in commands {
        let child = Command::new(&command[0]).args(&command[1..]).spawn();
        running.push(child.map_err(cannot_run(&command))?);
    }

    let mut code = 0;
    for mut child in running {
        let status = child
            .wait()
            .map_err(CommandError::system("cannot wait for a command"))?;
        code |= u8::from(!status.success());
    }
    Ok(code)
}

/// Returns the standard output of a command that succeeds. Its errors appear on this terminal.
pub fn answer(command: &[String]) -> Result<String, CommandError> {
    let output = output(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }

    let failed = format!("`{}` ended with {}", shell(command), output.status);
    Err(CommandError::Other(failed.into()))
}

/// Returns whether a command succeeds.
pub fn succeeds(command: &[String]) -> Result<bool, CommandError> {
    Ok(output(command)?.status.success())
}

fn output(command: &[String]) -> Result<Output, CommandError> {
    let mut program = Command::new(&command[0]);
    program.args(&command[1..]).stderr(Stdio::inherit());
    program.output().map_err(cannot_run(command))
}

fn cannot_run(command: &[String]) -> impl FnOnce(std::io::Error) -> CommandError + use<> {
    let program = command[0].clone();
    move |error| CommandError::Other(format!("cannot run {program}: {error}").into())
}
