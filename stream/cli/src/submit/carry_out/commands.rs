//! Runs the external programs of a plan. An interruption ends them.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Course, StepError};
use crate::submit::plan::shell;

/// The interval of checks whether a program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The interval at which a command is repeated.
const REPEAT_EVERY: Duration = Duration::from_secs(5);
/// The time that an interrupted program has to end.
const END_LIMIT: Duration = Duration::from_secs(5);

pub(super) fn in_step(what: &str) -> impl FnOnce(io::Error) -> StepError + use<> {
    let what = what.to_owned();
    move |source| StepError::Io { what, source }
}

pub(super) fn program(command: &[String]) -> Command {
    let mut program = Command::new(&command[0]);
    program.args(&command[1..]);
    program
}

/// Runs a program to its end. Fails if it fails.
pub(super) fn run(
    program: &mut Command,
    command: &[String],
    course: &Course<'_>,
) -> Result<(), StepError> {
    let child = program.spawn().map_err(in_step(&command[0]))?;
    succeeded(wait(child, command, course)?, command)
}

/// Returns whether a program succeeds. Its output is not shown.
pub(super) fn succeeds(command: &[String], course: &Course<'_>) -> Result<bool, StepError> {
    let mut question = program(command);
    question.stdout(Stdio::null()).stderr(Stdio::null());
    let child = question.spawn().map_err(in_step(&command[0]))?;
    Ok(wait(child, command, course)?.success())
}

fn succeeded(status: ExitStatus, command: &[String]) -> Result<(), StepError> {
    match status.success() {
        true => Ok(()),
        false => Err(StepError::Failed {
            command: shell(command),
            code: status.to_string(),
        }),
    }
}

/// Waits until a program has ended. An interruption of the plan ends it.
fn wait(
    mut child: Child,
    command: &[String],
    course: &Course<'_>,
) -> Result<ExitStatus, StepError> {
    let failed = |error| in_step(&command[0])(error);
    while !course.is_interrupted() {
        if let Some(status) = child.try_wait().map_err(failed)? {
            // Ctrl-C reaches the program, too, and perhaps before this one.
            return match is_of_interrupt(status) && course.is_interruptible() {
                true => Err(StepError::Interrupted),
                false => Ok(status),
            };
        }
        thread::sleep(LOOK_EVERY);
    }

    end(&mut child).map_err(failed)?;
    Err(StepError::Interrupted)
}

fn is_of_interrupt(status: ExitStatus) -> bool {
    let interrupt = Signal::INT.as_raw();
    status.signal() == Some(interrupt) || status.code() == Some(128 + interrupt)
}

/// Ends a program that was interrupted.
fn end(child: &mut Child) -> io::Result<()> {
    let pid = Pid::from_child(child);
    if child.try_wait()?.is_none() {
        kill_process(pid, Signal::TERM)?;
    }

    let deadline = Instant::now() + END_LIMIT;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            break;
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Returns the lines that a command prints.
pub(super) fn lines(command: &[String], course: &Course<'_>) -> Result<Vec<String>, StepError> {
    let mut child = program(command)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(in_step(&command[0]))?;

    // A full pipe would keep the program from its end.
    let output = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        let read = output.map(|mut output| output.read_to_end(&mut text));
        read.transpose().map(|_| text)
    });
    succeeded(wait(child, command, course)?, command)?;

    let text = reader.join().expect("reading does not panic");
    let text = text.map_err(in_step(&command[0]))?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().map(str::to_owned).collect())
}

/// Runs a command for each line of a list, in order.
pub(super) fn each(
    list: &[String],
    command: &[String],
    none: Option<&str>,
    course: &Course<'_>,
) -> Result<(), StepError> {
    let lines = lines(list, course)?;
    if let Some(none) = none.filter(|_| lines.is_empty()) {
        return Err(StepError::Refused(none.to_owned()));
    }

    for line in &lines {
        let word = |word: &String| if word == "{}" { line } else { word }.clone();
        let command: Vec<String> = command.iter().map(word).collect();
        run(&mut program(&command), &command, course)?;
    }

    Ok(())
}

/// Repeats a command until it succeeds, while the processes that were started live.
pub(super) fn run_until(
    command: &[String],
    limit: Duration,
    course: &mut Course<'_>,
) -> Result<(), StepError> {
    repeat(command, limit, course, |course| {
        course.all_live()?;
        succeeds(command, course)
    })
}

/// Waits until a list that succeeds prints no line.
pub(super) fn await_none(
    list: &[String],
    limit: Duration,
    course: &mut Course<'_>,
) -> Result<(), StepError> {
    repeat(list, limit, course, |course| match lines(list, course) {
        Ok(lines) => Ok(lines.is_empty()),
        Err(StepError::Failed { .. }) => Ok(false),
        Err(error) => Err(error),
    })
}

/// Repeats a question about `command` until its answer is yes.
fn repeat(
    command: &[String],
    limit: Duration,
    course: &mut Course<'_>,
    mut is_so: impl FnMut(&mut Course<'_>) -> Result<bool, StepError>,
) -> Result<(), StepError> {
    let deadline = Instant::now() + limit;
    while !is_so(course)? {
        if Instant::now() > deadline {
            return Err(StepError::TooLong {
                what: shell(command),
                limit,
            });
        }
        course.pause(REPEAT_EVERY)?;
    }
    Ok(())
}
