//! Carries out a plan, step by step. If a step fails, carries out the rollback of the plan.
//!
//! A request to stop (Ctrl-C) ends the step that runs: a wait, or an external program. It is a failure of that step, so it
//! leads to the rollback. A second request ends the rollback, too. The message names the state that is left.

mod commands;

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
use stream::Stop;

use self::commands::{await_none, each, in_step, lines, program, run, run_until, succeeds};
use super::answers::is_ready;
use super::files::{copy, write_own};
use super::log_end;
use super::pid;
use super::plan::{Action, Background, Plan, Rollback, Step, Surroundings};
use super::processes::{is_alive, pid_of};
use super::terminal::Terminal;

/// The interval of checks while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The longest time until a killed process has ended.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The failure of a step.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error("interrupted")]
    Interrupted,
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
    /// The plan was interrupted, and has no rollback.
    #[error(
        "interrupted in step {number} of {count} ({step}), which may have taken effect{done}{rest}; `status` shows the job"
    )]
    Interrupted {
        number: usize,
        count: usize,
        step: String,
        done: String,
        rest: String,
    },
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

impl PlanError {
    /// Returns whether a request to stop ended the plan.
    pub fn is_interruption(&self) -> bool {
        let failure = match self {
            Self::Interrupted { .. } => return true,
            Self::Failed(failure)
            | Self::Undone { failure, .. }
            | Self::Left { failure, .. }
            | Self::NotUndone { failure, .. } => failure,
        };
        matches!(failure, StepError::Interrupted)
    }
}

/// Processes that were started, each with its log.
type Started = Vec<(Child, PathBuf)>;

/// The state of a plan that is carried out.
struct Course<'a> {
    started: Started,
    stop: &'a Stop,
    /// True if the rollback is carried out: it ends at the second request to stop.
    is_rollback: bool,
}

impl Course<'_> {
    fn is_interrupted(&self) -> bool {
        match self.is_rollback {
            true => self.stop.is_immediate(),
            false => self.stop.is_requested(),
        }
    }

    /// Returns whether the first request to stop ends the step.
    fn is_interruptible(&self) -> bool {
        !self.is_rollback
    }

    /// Waits for `pause`.
    ///
    /// # Errors
    /// [`StepError::Interrupted`] as soon as the plan is interrupted.
    fn pause(&self, pause: Duration) -> Result<(), StepError> {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.is_interrupted() {
            thread::sleep(pause.min(LOOK_EVERY));
        }

        match self.is_interrupted() {
            true => Err(StepError::Interrupted),
            false => Ok(()),
        }
    }

    /// Fails if a process that was started has ended.
    fn all_live(&mut self) -> Result<(), StepError> {
        for (child, log) in &mut self.started {
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

    /// Forgets the processes that have ended: their end must not fail later steps.
    fn forget_ended(&mut self) {
        self.started
            .retain_mut(|(child, _)| matches!(child.try_wait(), Ok(None)));
    }
}

/// Carries out the steps, until `stop` is requested. Calls `report` with the description of each before it is taken.
pub fn carry_out(plan: &Plan, stop: &Stop, report: &mut dyn FnMut(&str)) -> Result<(), PlanError> {
    let mut course = Course {
        started: Started::new(),
        stop,
        is_rollback: false,
    };

    for (at, step) in plan.steps.iter().enumerate() {
        report(&step.about);
        let taken = match course.is_interrupted() {
            true => Err(StepError::Interrupted),
            false => take(step, &mut course),
        };
        let Err(failure) = taken else {
            continue;
        };

        return Err(match &plan.rollback {
            None if plan.pids().is_empty() => ended_at(plan, at, failure),
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
                undo(plan, rollback, failure, &mut course, report)
            }
        });
    }

    Ok(())
}

/// Returns the failure of step `at` of a plan that neither has a rollback nor starts a process of this machine.
fn ended_at(plan: &Plan, at: usize, failure: StepError) -> PlanError {
    if !matches!(failure, StepError::Interrupted) {
        return PlanError::Failed(failure);
    }

    let named = |before: &str, steps: &[Step]| {
        let steps: Vec<&str> = steps.iter().map(|step| &*step.about).collect();
        match steps.is_empty() {
            true => String::new(),
            false => format!("; {before}: {}", steps.join(", ")),
        }
    };

    PlanError::Interrupted {
        number: at + 1,
        count: plan.steps.len(),
        step: plan.steps[at].about.clone(),
        done: named("done before", &plan.steps[..at]),
        rest: named("not done", &plan.steps[at + 1..]),
    }
}

/// Carries out the rollback after `failure`. Returns the state that is left.
fn undo(
    plan: &Plan,
    rollback: &Rollback,
    failure: StepError,
    course: &mut Course<'_>,
    report: &mut dyn FnMut(&str),
) -> PlanError {
    // A process whose end led to the rollback must not fail its steps, too.
    course.forget_ended();
    course.is_rollback = true;

    for step in &rollback.steps {
        report(&step.about);
        if let Err(second) = take(step, course) {
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

fn take(step: &Step, course: &mut Course<'_>) -> Result<(), StepError> {
    match &step.action {
        Action::Run(command) => run(&mut program(command), command, course),
        Action::RunWith {
            command,
            surroundings,
        } => run(
            surround(&mut program(command), surroundings),
            command,
            course,
        ),
        Action::RunUnless { check, write } => match succeeds(check, course)? {
            true => Ok(()),
            false => run(&mut program(write), write, course),
        },
        Action::RunUntil { command, limit } => run_until(command, *limit, course),
        Action::Each {
            list,
            command,
            none,
        } => each(list, command, none.as_deref(), course),
        Action::Absent { list, reason } => match lines(list, course)?.join(" ") {
            found if found.is_empty() => Ok(()),
            found => Err(StepError::Refused(reason.replace("{}", &found))),
        },
        Action::Gone { list, limit } => await_none(list, *limit, course),
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
            course.started.push((child, background.log.clone()));
            Ok(())
        }
        Action::Stop { pids, limit } => stop(pids, *limit, course),
        Action::End { pids, limit } => end(pids, *limit, course),
        Action::Free { addresses } => addresses.iter().try_for_each(free),
        Action::Ready { address, limit } => await_ready(*address, *limit, course),
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
fn stop(pids: &[PathBuf], limit: Duration, course: &mut Course<'_>) -> Result<(), StepError> {
    let running: Vec<Pid> = pids.iter().filter_map(|file| pid_of(file)).collect();
    for pid in &running {
        signal(*pid, kill_process(*pid, Signal::TERM))?;
    }

    if !await_end(&running, limit, course)? {
        return Err(StepError::TooLong {
            what: "the drain of the job".to_owned(),
            limit,
        });
    }

    forget(pids)
}

/// Ends the processes, and kills those that take longer than `limit`.
fn end(pids: &[PathBuf], limit: Duration, course: &mut Course<'_>) -> Result<(), StepError> {
    match stop(pids, limit, course) {
        Err(StepError::TooLong { .. }) => {}
        ended => return ended,
    }

    // Each process leads a group of its own, which contains its children.
    let running: Vec<Pid> = pids.iter().filter_map(|file| pid_of(file)).collect();
    for pid in &running {
        signal(*pid, kill_process_group(*pid, Signal::KILL))?;
    }

    if !await_end(&running, KILL_LIMIT, course)? {
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
fn await_end(running: &[Pid], limit: Duration, course: &mut Course<'_>) -> Result<bool, StepError> {
    let deadline = Instant::now() + limit;
    while running.iter().any(|pid| is_alive(*pid)) {
        if Instant::now() > deadline {
            return Ok(false);
        }
        course.pause(LOOK_EVERY)?;
    }

    // These processes ended on request: `await_ready` must not report them as failed.
    course.forget_ended();
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
    course: &mut Course<'_>,
) -> Result<(), StepError> {
    let deadline = Instant::now() + limit;
    while !is_ready(address) {
        course.all_live()?;
        if Instant::now() > deadline {
            return Err(StepError::TooLong {
                what: format!("the job at {address} to be ready"),
                limit,
            });
        }
        course.pause(LOOK_EVERY)?;
    }

    Ok(())
}
