//! A plan: the steps by which a job is submitted or ended, as data. `--dry-run` prints it, and `carry_out` carries it out.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::variables::{Installed, Variables};

/// The steps, and what is said when all are done.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// What is done if a step fails, from some step on.
    pub back: Option<Back>,
    /// The sentence that ends the plan.
    pub end: String,
    /// Where to look, each with its name.
    pub look: Vec<(&'static str, String)>,
}

/// The way back to what was there before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Back {
    /// The first step, counted from 0, after whose failure the way back is taken.
    pub from: usize,
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// What the step does, in words.
    pub about: String,
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Runs a program to its end; fails if it fails.
    Run(Vec<String>),
    /// Does the same with variables of the job.
    RunWith {
        command: Vec<String>,
        variables: Variables,
    },
    /// Runs `write` unless `check` succeeds: for what is created once and never changed.
    RunUnless {
        check: Vec<String>,
        write: Vec<String>,
    },
    /// Repeats a program until it succeeds.
    RunUntil {
        command: Vec<String>,
        limit: Duration,
    },
    /// Copies a file to a place that is named by its content, unless it is there.
    Copy { from: PathBuf, to: PathBuf },
    /// Writes what is installed to a file that only its owner may read.
    Record { path: PathBuf, installed: Installed },
    /// Writes a script.
    Script { path: PathBuf, content: String },
    /// Starts a program that goes on after this one, and writes its number.
    Start(Background),
    /// Asks the processes whose numbers these files hold to end, and waits for their ends.
    Stop { pids: Vec<PathBuf>, limit: Duration },
    /// Waits until the job at this status address is ready.
    Ready {
        address: SocketAddr,
        limit: Duration,
    },
}

/// A program that runs in the background.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Background {
    pub command: Vec<String>,
    pub variables: Variables,
    pub log: PathBuf,
    pub pid: PathBuf,
}

impl Step {
    pub fn new(about: impl Into<String>, action: Action) -> Self {
        Self {
            about: about.into(),
            action,
        }
    }

    /// A step that runs a program.
    pub fn run<I: Into<String>>(
        about: impl Into<String>,
        command: impl IntoIterator<Item = I>,
    ) -> Self {
        Self::new(about, Action::Run(words(command)))
    }
}

/// The words of a command.
pub fn words<I: Into<String>>(command: impl IntoIterator<Item = I>) -> Vec<String> {
    command.into_iter().map(Into::into).collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(formatter, "# {number}. {}", step.about)?;
            writeln!(formatter, "{}", step.action)?;
        }
        if let Some(back) = &self.back {
            writeln!(formatter, "# if a step from {} on fails:", back.from + 1)?;
            for step in &back.steps {
                writeln!(formatter, "# {}\n{}", step.about, step.action)?;
            }
        }
        for (name, place) in &self.look {
            writeln!(formatter, "# {name}: {place}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(command) => formatter.write_str(&shell(command)),
            Self::RunUnless { check, write } => {
                write!(formatter, "{} || {}", shell(check), shell(write))
            }
            Self::RunUntil { command, limit } => {
                let limit = limit.as_secs();
                write!(
                    formatter,
                    "timeout {limit} sh -c 'until {}; do sleep 5; done'",
                    shell(command)
                )
            }
            Self::Copy { from, to } => {
                let to = quoted(&to.display().to_string());
                let from = quoted(&from.display().to_string());
                write!(formatter, "[ -e {to} ] || install -D -m 755 {from} {to}")
            }
            Self::RunWith { command, variables } => {
                write!(
                    formatter,
                    "{}   # with {}",
                    shell(command),
                    named(variables)
                )
            }
            Self::Record { path, installed } => {
                let path = quoted(&path.display().to_string());
                let Installed {
                    release,
                    processes,
                    variables,
                } = installed;
                write!(
                    formatter,
                    "install -D -m 600 /dev/stdin {path}   # release {release}, {processes} processes, and:\n{variables}"
                )
            }
            Self::Script { path, content } => {
                let path = quoted(&path.display().to_string());
                write!(
                    formatter,
                    "install -D -m 600 /dev/stdin {path} <<'END'\n{content}END"
                )
            }
            Self::Start(Background {
                command,
                variables,
                log,
                pid,
            }) => {
                write!(
                    formatter,
                    "setsid {} >>{} 2>&1 & echo $! >{}   # with {}",
                    shell(command),
                    quoted(&log.display().to_string()),
                    quoted(&pid.display().to_string()),
                    named(variables)
                )
            }
            Self::Stop { pids, limit } => {
                let pids: Vec<String> = pids
                    .iter()
                    .map(|pid| quoted(&pid.display().to_string()))
                    .collect();
                let pids = pids.join(" ");
                let limit = limit.as_secs();
                write!(
                    formatter,
                    "kill -TERM $(cat {pids}); for pid in $(cat {pids}); do timeout {limit} tail --pid=$pid -f /dev/null; done; rm {pids}"
                )
            }
            Self::Ready { address, limit } => {
                let limit = limit.as_secs();
                write!(
                    formatter,
                    "timeout {limit} sh -c 'until curl -sf http://{address}/health/ready; do sleep 1; done'"
                )
            }
        }
    }
}

/// The names of variables, without their values, which may be secret.
fn named(variables: &Variables) -> String {
    let names: Vec<&str> = variables.names().collect();
    names.join(" ")
}

/// A command as a shell reads it.
pub fn shell(command: &[String]) -> String {
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

/// A word as a shell reads it.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
