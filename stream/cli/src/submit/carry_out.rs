//! Carries out a plan, step by step. If a step fails, carries out the rollback of the plan.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::plan::{Action, Background, Plan, Step, shell};

/// The interval of checks while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The interval at which a command is repeated.
const REPEAT_EVERY: Duration = Duration::from_secs(5);
/// The time limit of a request to the health route.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The failure of a step.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("`{command}` ended with {code}")]
    Failed { command: String, code: String },
    #[error("{what} took longer than {} s", limit.as_secs())]
    TooLong { what: String, limit: Duration },
    #[error("process {pid} ended before it was ready; the last line of {}: {line}", log.display())]
    Ended {
        pid: u32,
        log: PathBuf,
        line: String,
    },
}

/// Processes that were started, each with its log.
type Started = Vec<(Child, PathBuf)>;

/// Carries out the steps. Calls `report` with the description of each before it is taken.
pub fn carry_out(plan: &Plan, report: &mut dyn FnMut(&str)) -> Result<(), StepError> {
    let mut started = Started::new();
    for (at, step) in plan.steps.iter().enumerate() {
        report(&step.about);
        let Err(error) = take(step, &mut started) else {
            continue;
        };

        let rollback = plan.rollback.as_ref();
        if let Some(rollback) = rollback.filter(|rollback| at >= rollback.from) {
            report(&format!("{error}; restores the former state"));
            for step in &rollback.steps {
                report(&step.about);
                take(step, &mut started)?;
            }
        }

        return Err(error);
    }

    Ok(())
}

fn take(step: &Step, started: &mut Started) -> Result<(), StepError> {
    match &step.action {
        Action::Run(command) => run(&mut program(command), command),
        Action::RunWith { command, variables } => {
            run(program(command).envs(variables.iter()), command)
        }
        Action::RunUnless { check, write } => {
            let mut question = program(check);
            question.stdout(Stdio::null()).stderr(Stdio::null());
            match question.status().map_err(in_step(&check[0]))?.success() {
                true => Ok(()),
                false => run(&mut program(write), write),
            }
        }
        Action::RunUntil { command, limit } => run_until(command, *limit),
        Action::Copy { from, to } => copy(from, to).map_err(in_step(&to.display().to_string())),
        Action::Record { path, installed } => {
            let text = serde_json::to_string_pretty(installed).unwrap_or_default();
            write_own(path, &text).map_err(in_step(&path.display().to_string()))
        }
        Action::Script { path, content } => {
            write_own(path, content).map_err(in_step(&path.display().to_string()))
        }
        Action::Start(background) => {
            let child = start(background).map_err(in_step(&background.command[0]))?;
            started.push((child, background.log.clone()));
            Ok(())
        }
        Action::Stop { pids, limit } => stop(pids, *limit, started),
        Action::Ready { address, limit } => await_ready(*address, *limit, started),
    }
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

fn run_until(command: &[String], limit: Duration) -> Result<(), StepError> {
    let deadline = Instant::now() + limit;
    loop {
        let mut question = program(command);
        question.stdout(Stdio::null()).stderr(Stdio::null());
        if question.status().map_err(in_step(&command[0]))?.success() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(StepError::TooLong {
                what: shell(command),
                limit,
            });
        }
        thread::sleep(REPEAT_EVERY);
    }
}

/// Copies a file to a path that contains the hash of its content. A file with that path has the same content, so it is not
/// written again.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(Path::new("/")))?;

    // A copy that was interrupted never has the final path.
    let partial = to.with_extension(format!("partial-{}", std::process::id()));
    fs::copy(from, &partial)?;
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o755))?;
    fs::rename(partial, to)
}

/// Writes a file that only its owner may read.
fn write_own(path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    let partial = path.with_extension("partial");

    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(partial, path)
}

/// Starts a program in a session of its own, so that the end of a terminal does not reach it.
fn start(background: &Background) -> io::Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&background.log)?;

    // Only the variables of the job are passed on, and none of this terminal's settings.
    let mut program = Command::new("setsid");
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEMARK_") {
            program.env_remove(name);
        }
    }

    let child = program
        .args(&background.command)
        .envs(background.variables.iter())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;

    write_own(&background.pid, &child.id().to_string())?;
    Ok(child)
}

fn stop(pids: &[PathBuf], limit: Duration, started: &mut Started) -> Result<(), StepError> {
    let deadline = Instant::now() + limit;
    let running: Vec<Pid> = pids.iter().filter_map(|file| pid_of(file)).collect();
    for pid in &running {
        // The signal cannot be sent to a process that has drained and ended meanwhile.
        if let Err(error) = kill_process(*pid, Signal::TERM)
            && is_alive(*pid)
        {
            return Err(in_step("cannot end the job's process")(error.into()));
        }
    }

    while running.iter().any(|pid| is_alive(*pid)) {
        for (child, _) in started.iter_mut() {
            // A child of this process remains in the process table until it is waited for.
            child
                .try_wait()
                .map_err(in_step("cannot wait for the job's process"))?;
        }
        if Instant::now() > deadline {
            return Err(StepError::TooLong {
                what: "the drain of the job".to_owned(),
                limit,
            });
        }
        thread::sleep(LOOK_EVERY);
    }

    // These processes ended on request: `await_ready` must not report them as failed.
    started.retain_mut(|(child, _)| matches!(child.try_wait(), Ok(None)));
    for file in pids.iter().filter(|file| file.exists()) {
        fs::remove_file(file).map_err(in_step(&file.display().to_string()))?;
    }
    Ok(())
}

/// Reads a process id from a file. Returns none if there is no such file or process.
pub fn pid_of(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    let pid = Pid::from_raw(text.trim().parse().ok()?)?;
    is_alive(pid).then_some(pid)
}

fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

fn await_ready(
    address: SocketAddr,
    limit: Duration,
    started: &mut Started,
) -> Result<(), StepError> {
    let deadline = Instant::now() + limit;
    while !is_ready(address) {
        for (child, log) in started.iter_mut() {
            if child
                .try_wait()
                .map_err(in_step("cannot wait for the job's process"))?
                .is_some()
            {
                return Err(StepError::Ended {
                    pid: child.id(),
                    line: last_line(log),
                    log: log.clone(),
                });
            }
        }
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

/// Returns whether the job at this address is ready.
pub fn is_ready(address: SocketAddr) -> bool {
    health(address).is_ok_and(|answer| {
        answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200")
    })
}

/// Returns the reply of the health route.
fn health(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(
        stream,
        "GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or_default().to_owned()
}
