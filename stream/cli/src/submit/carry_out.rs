//! Carries out a plan, step by step. If a step fails, carries out the rollback of the plan.

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::answers::is_ready;
use super::files::{copy, write_own};
use super::log_end;
use super::pid;
use super::plan::{Action, Background, Plan, Rollback, Step, Surroundings, shell};
use super::processes::{is_alive, pid_of};
use super::terminal::Terminal;

/// The interval of checks while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The longest time until a killed process has ended.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// The interval at which a command is repeated.
const REPEAT_EVERY: Duration = Duration::from_secs(5);

/// The failure of a step.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("`{command}` ended with {code}")]
    Failed { command: String, code: String },
    #[error("{what} took longer than {} s", limit.as_secs())]
    TooLong { what: String, limit: Duration },
    #[error("{0}")]
    Refused(String),
    #[error("process {pid} ended before it was ready; {} ends with: {line}", log.display())]
    Ended {
        pid: u32,
        log: PathBuf,
        line: String,
    },
}

/// The failure of a plan, and the state that it leaves.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The plan starts and ends no process of this machine, and has no rollback.
    #[error(transparent)]
    Failed(StepError),
    /// The state before the plan lasts, or was restored.
    #[error("{failure}; {state}")]
    Undone {
        failure: StepError,
        state: &'static str,
    },
    /// The plan has no rollback.
    #[error("{failure}; {left}")]
    Left { failure: StepError, left: String },
    /// The rollback failed, too.
    #[error("{failure}; and then, to restore the former state: {second}; {left}; {mend}")]
    NotUndone {
        failure: StepError,
        second: Box<StepError>,
        left: String,
        mend: String,
    },
}

/// Processes that were started, each with its log.
type Started = Vec<(Child, PathBuf)>;

/// Carries out the steps. Calls `report` with the description of each before it is taken.
pub fn carry_out(plan: &Plan, report: &mut dyn FnMut(&str)) -> Result<(), PlanError> {
    let mut started = Started::new();
    for (at, step) in plan.steps.iter().enumerate() {
        report(&step.about);
        let Err(failure) = take(step, &mut started) else {
            continue;
        };

        return Err(match &plan.rollback {
            None if plan.pids().is_empty() => PlanError::Failed(failure),
            None => PlanError::Left {
                failure,
                left: left(plan),
            },
            Some(rollback) if at < rollback.from => PlanError::Undone {
                failure,
                state: rollback.before,
            },
            Some(rollback) => {
                if !rollback.steps.is_empty() {
                    report(&format!("{failure}; restores the former state"));
                }
                undo(plan, rollback, failure, &mut started, report)
            }
        });
    }

    Ok(())
}

/// Carries out the rollback after `failure`. Returns the state that is left.
fn undo(
    plan: &Plan,
    rollback: &Rollback,
    failure: StepError,
    started: &mut Started,
    report: &mut dyn FnMut(&str),
) -> PlanError {
    // A process whose end led to the rollback must not fail its steps, too.
    started.retain_mut(|(child, _)| matches!(child.try_wait(), Ok(None)));

    for step in &rollback.steps {
        report(&step.about);
        if let Err(second) = take(step, started) {
            return PlanError::NotUndone {
                failure,
                second: Box::new(second),
                left: left(plan),
                mend: rollback.mend.clone(),
            };
        }
    }

    PlanError::Undone {
        failure,
        state: rollback.end,
    }
}

/// Names the processes of the plan that live, and the command that ends them.
fn left(plan: &Plan) -> String {
    let living = plan.pids().into_iter().filter_map(pid_of);
    let living: Vec<String> = living.map(|pid| pid.as_raw_nonzero().to_string()).collect();
    if living.is_empty() {
        return "no process of the job runs".to_owned();
    }

    format!(
        "the processes with the ids {} still run: `kill -KILL -- -{}` ends them, and the next start goes on from the last \
         checkpoint",
        living.join(", "),
        living.join(" -")
    )
}

fn take(step: &Step, started: &mut Started) -> Result<(), StepError> {
    match &step.action {
        Action::Run(command) => run(&mut program(command), command),
        Action::RunWith {
            command,
            surroundings,
        } => run(surround(&mut program(command), surroundings), command),
        Action::RunUnless { check, write } => {
            let mut question = program(check);
            question.stdout(Stdio::null()).stderr(Stdio::null());
            match question.status().map_err(in_step(&check[0]))?.success() {
                true => Ok(()),
                false => run(&mut program(write), write),
            }
        }
        Action::RunUntil { command, limit } => run_until(command, *limit, started),
        Action::Each {
            list,
            command,
            none,
        } => each(list, command, none.as_deref()),
        Action::Absent { list, reason } => match lines(list)?.join(" ") {
            found if found.is_empty() => Ok(()),
            found => Err(StepError::Refused(reason.replace("{}", &found))),
        },
        Action::Gone { list, limit } => await_none(list, *limit),
        Action::Copy { from, to } => copy(from, to).map_err(in_step(&to.display().to_string())),
        Action::Record { path, installed } => {
            let text = serde_json::to_string_pretty(installed).unwrap_or_default();
            write_own(path, &text).map_err(in_step(&path.display().to_string()))
        }
        Action::Script { path, content } => {
            write_own(path, content).map_err(in_step(&path.display().to_string()))
        }
        Action::Hidden { path, content, .. } => {
            write_own(path, &content.0).map_err(in_step(&path.display().to_string()))
        }
        Action::Start(background) => {
            let child = start(background).map_err(in_step(&background.command[0]))?;
            started.push((child, background.log.clone()));
            Ok(())
        }
        Action::Stop { pids, limit } => stop(pids, *limit, started),
        Action::End { pids, limit } => end(pids, *limit, started),
        Action::Free { addresses } => addresses.iter().try_for_each(free),
        Action::Ready { address, limit } => await_ready(*address, *limit, started),
    }
}

/// Gives a program the surroundings of its job, and none of the other variables of this terminal.
fn surround<'a>(program: &'a mut Command, surroundings: &Surroundings) -> &'a mut Command {
    let Terminal { folder, inherited } = &surroundings.terminal;
    let values = inherited
        .iter()
        .filter_map(|name| Some((name, env::var_os(name)?)));
    program
        .env_clear()
        .envs(values)
        .envs(surroundings.variables.iter());

    if !folder.as_os_str().is_empty() {
        program.current_dir(folder);
    }

    program
}

fn in_step(what: &str) -> impl FnOnce(io::Error) -> StepError + use<> {
    let what = what.to_owned();
    move |source| StepError::Io { what, source }
}

fn program(command: &[String]) -> Command {
    let mut program = Command::new(&command[0]);
    program.args(&command[1..]);
    program
}

fn run(program: &mut Command, command: &[String]) -> Result<(), StepError> {
    let status = program.status().map_err(in_step(&command[0]))?;
    if status.success() {
        return Ok(());
    }
    Err(StepError::Failed {
        command: shell(command),
        code: status.to_string(),
    })
}

/// Returns the lines that a command prints.
fn lines(command: &[String]) -> Result<Vec<String>, StepError> {
    let mut listing = program(command);
    let output = listing.stderr(Stdio::inherit()).output();
    let output = output.map_err(in_step(&command[0]))?;
    if !output.status.success() {
        return Err(StepError::Failed {
            command: shell(command),
            code: output.status.to_string(),
        });
    }

    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}

/// Runs a command for each line of a list, in order.
fn each(list: &[String], command: &[String], none: Option<&str>) -> Result<(), StepError> {
    let lines = lines(list)?;
    if let Some(none) = none.filter(|_| lines.is_empty()) {
        return Err(StepError::Refused(none.to_owned()));
    }

    for line in &lines {
        let word = |word: &String| if word == "{}" { line } else { word }.clone();
        let command: Vec<String> = command.iter().map(word).collect();
        run(&mut program(&command), &command)?;
    }

    Ok(())
}

fn run_until(command: &[String], limit: Duration, started: &mut Started) -> Result<(), StepError> {
    repeat(command, limit, || {
        all_live(started)?;
        let mut question = program(command);
        question.stdout(Stdio::null()).stderr(Stdio::null());
        let status = question.status().map_err(in_step(&command[0]))?;
        Ok(status.success())
    })
}

/// Waits until a list that succeeds prints no line.
fn await_none(list: &[String], limit: Duration) -> Result<(), StepError> {
    repeat(list, limit, || match lines(list) {
        Ok(lines) => Ok(lines.is_empty()),
        Err(StepError::Failed { .. }) => Ok(false),
        Err(error) => Err(error),
    })
}

/// Repeats a question about `command` until its answer is yes.
fn repeat(
    command: &[String],
    limit: Duration,
    mut is_so: impl FnMut() -> Result<bool, StepError>,
) -> Result<(), StepError> {
    let deadline = Instant::now() + limit;
    while !is_so()? {
        if Instant::now() > deadline {
            return Err(StepError::TooLong {
                what: shell(command),
                limit,
            });
        }
        thread::sleep(REPEAT_EVERY);
    }
    Ok(())
}

/// Starts a program in a session of its own, so that the end of a terminal does not reach it.
fn start(background: &Background) -> io::Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&background.log)?;

    let mut program = Command::new("setsid");
    program.args(&background.command);

    let child = surround(&mut program, &background.surroundings)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;

    pid::write(&background.pid, child.id())?;
    Ok(child)
}

/// Ends the processes by SIGTERM.
fn stop(pids: &[PathBuf], limit: Duration, started: &mut Started) -> Result<(), StepError> {
    let running: Vec<Pid> = pids.iter().filter_map(|file| pid_of(file)).collect();
    for pid in &running {
        signal(*pid, kill_process(*pid, Signal::TERM))?;
    }

    if !await_end(&running, limit, started)? {
        return Err(StepError::TooLong {
            what: "the drain of the job".to_owned(),
            limit,
        });
    }

    forget(pids)
}

/// Ends the processes, and kills those that take longer than `limit`.
fn end(pids: &[PathBuf], limit: Duration, started: &mut Started) -> Result<(), StepError> {
    match stop(pids, limit, started) {
        Err(StepError::TooLong { .. }) => {}
        ended => return ended,
    }

    // Each process leads a group of its own, which contains its children.
    let running: Vec<Pid> = pids.iter().filter_map(|file| pid_of(file)).collect();
    for pid in &running {
        signal(*pid, kill_process_group(*pid, Signal::KILL))?;
    }

    if !await_end(&running, KILL_LIMIT, started)? {
        return Err(StepError::TooLong {
            what: "the end of the killed processes".to_owned(),
            limit: KILL_LIMIT,
        });
    }

    forget(pids)
}

/// Fails if the signal was not sent, unless the process has ended meanwhile.
fn signal(pid: Pid, sent: rustix::io::Result<()>) -> Result<(), StepError> {
    match sent {
        Err(error) if is_alive(pid) => Err(in_step("cannot end the job's process")(error.into())),
        _ => Ok(()),
    }
}

/// Waits until the processes have ended. Returns whether they have within `limit`.
fn await_end(running: &[Pid], limit: Duration, started: &mut Started) -> Result<bool, StepError> {
    let deadline = Instant::now() + limit;
    while running.iter().any(|pid| is_alive(*pid)) {
        if Instant::now() > deadline {
            return Ok(false);
        }
        thread::sleep(LOOK_EVERY);
    }

    // These processes ended on request: `await_ready` must not report them as failed.
    started.retain_mut(|(child, _)| matches!(child.try_wait(), Ok(None)));
    Ok(true)
}

fn forget(pids: &[PathBuf]) -> Result<(), StepError> {
    for file in pids.iter().filter(|file| file.exists()) {
        fs::remove_file(file).map_err(in_step(&file.display().to_string()))?;
    }
    Ok(())
}

/// Fails if a program listens at the address: its answers would be taken for those of the job.
fn free(address: &SocketAddr) -> Result<(), StepError> {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(StepError::Refused(format!(
            "another program listens at {address}, where this job serves its status: end it, or name another \
             --status-address; each process takes the next port"
        ))),
        Err(error) => Err(in_step(&format!("cannot listen at {address}"))(error)),
        Ok(_) => Ok(()),
    }
}

fn await_ready(
    address: SocketAddr,
    limit: Duration,
    started: &mut Started,
) -> Result<(), StepError> {
    let deadline = Instant::now() + limit;
    while !is_ready(address) {
        all_live(started)?;
        if Instant::now() > deadline {
            return Err(StepError::TooLong {
                what: format!("the job at {address} to be ready"),
                limit,
            });
        }
        thread::sleep(LOOK_EVERY);
    }

    Ok(())
}

/// Fails if a process that was started has ended.
fn all_live(started: &mut Started) -> Result<(), StepError> {
    for (child, log) in started.iter_mut() {
        let ended = child.try_wait();
        if ended
            .map_err(in_step("cannot wait for the job's process"))?
            .is_some()
        {
            return Err(StepError::Ended {
                pid: child.id(),
                line: log_end::reason(log),
                log: log.clone(),
            });
        }
    }
    Ok(())
}
