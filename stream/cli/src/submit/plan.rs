//! A plan: the steps that submit, replace or end a job, as data. `--dry-run` prints them, and `carry_out` runs them.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::variables::{Installed, Variables};

/// The steps, and the text that is printed when all have succeeded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// The steps that restore the former state if a step fails.
    pub rollback: Option<Rollback>,
    /// The sentence that is printed when all steps have succeeded.
    pub end: String,
    /// Addresses and files that show how the job is doing, each with its name.
    pub look: Vec<(&'static str, String)>,
}

/// The steps that restore the state before the plan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rollback {
    /// The index of the first step whose failure leads to the rollback. Earlier steps change nothing.
    pub from: usize,
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// A description: "starts process 0".
    pub about: String,
    pub action: Action,
}

/// The effect of a step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Runs a program to its end; fails if it fails.
    Run(Vec<String>),
    /// Does the same with variables of the job.
    RunWith {
        command: Vec<String>,
        variables: Variables,
    },
    /// Runs `write` unless `check` succeeds. It creates objects that never change.
    RunUnless {
        check: Vec<String>,
        write: Vec<String>,
    },
    /// Repeats a program until it succeeds.
    RunUntil {
        command: Vec<String>,
        limit: Duration,
    },
    /// Copies a file to a path that contains the hash of its content, unless that path exists.
    Copy { from: PathBuf, to: PathBuf },
    /// Writes the installed release, processes and variables to a file that only its owner may read.
    Record { path: PathBuf, installed: Installed },
    /// Writes a script.
    Script { path: PathBuf, content: String },
    /// Starts a program that continues after this one has ended, and writes its process id.
    Start(Background),
    /// Sends SIGTERM to the processes whose ids these files contain, and waits until they have ended.
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

impl Plan {
    /// Returns the steps, those of the rollback, and the places to look at, as JSON. It contains no secrets.
    pub fn to_json(&self) -> Value {
        let steps = |steps: &[Step]| -> Vec<Value> {
            let step =
                |step: &Step| json!({"about": step.about, "command": step.action.to_string()});
            steps.iter().map(step).collect()
        };
        let look: Map<String, Value> = self
            .look
            .iter()
            .map(|(name, at)| ((*name).to_owned(), at.clone().into()))
            .collect();
        let rollback = self.rollback.as_ref();

        json!({
            "steps": steps(&self.steps),
            "rollback": rollback.map(|rollback| steps(&rollback.steps)),
            "look": look,
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(formatter, "# {number}. {}", step.about)?;
            writeln!(formatter, "{}", step.action)?;
        }
        if let Some(rollback) = &self.rollback {
            writeln!(
                formatter,
                "# if a step from {} on fails:",
                rollback.from + 1
            )?;
            for step in &rollback.steps {
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
            Self::RunWith { command, variables } => {
                let command = shell(command);
                write!(formatter, "{command}   # with {}", named(variables))
            }
            Self::RunUnless { check, write } => {
                write!(formatter, "{} || {}", shell(check), shell(write))
            }
            Self::RunUntil { command, limit } => {
                formatter.write_str(&repeated(&shell(command), 5, *limit))
            }
            Self::Copy { from, to } => {
                let from = quoted_path(from);
                let to = quoted_path(to);
                write!(formatter, "[ -e {to} ] || install -D -m 755 {from} {to}")
            }
            Self::Record { path, installed } => write!(
                formatter,
                "{}   # release {}, {} processes, and:\n{}",
                writing(path),
                installed.release,
                installed.processes,
                installed.variables
            ),
            Self::Script { path, content } => {
                write!(formatter, "{} <<'END'\n{content}END", writing(path))
            }
            Self::Start(background) => background.fmt(formatter),
            Self::Stop { pids, limit } => formatter.write_str(&stopping(pids, *limit)),
            Self::Ready { address, limit } => {
                let check = format!("curl -sf http://{address}/health/ready");
                formatter.write_str(&repeated(&check, 1, *limit))
            }
        }
    }
}

impl fmt::Display for Background {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "setsid {} >>{} 2>&1 & echo $! >{}   # with {}",
            shell(&self.command),
            quoted_path(&self.log),
            quoted_path(&self.pid),
            named(&self.variables)
        )
    }
}

/// Returns a command that repeats `check` every `pause_s` seconds until it succeeds.
fn repeated(check: &str, pause_s: u64, limit: Duration) -> String {
    let script = format!("until {check}; do sleep {pause_s}; done");
    format!("timeout {} sh -c {}", limit.as_secs(), quoted(&script))
}

/// Returns a command that writes its input to a file that only its owner may read.
fn writing(path: &Path) -> String {
    format!("install -D -m 600 /dev/stdin {}", quoted_path(path))
}

/// Returns a command that ends the processes whose ids these files contain, and waits for them.
fn stopping(pids: &[PathBuf], limit: Duration) -> String {
    let files: Vec<String> = pids.iter().map(|pid| quoted_path(pid)).collect();
    let files = files.join(" ");
    let limit_s = limit.as_secs();

    format!(
        "kill -TERM $(cat {files}); \
         for pid in $(cat {files}); do timeout {limit_s} tail --pid=$pid -f /dev/null; done; \
         rm {files}"
    )
}

/// Returns the names of variables. Their values may be secret.
fn named(variables: &Variables) -> String {
    let names: Vec<&str> = variables.names().collect();
    names.join(" ")
}

/// Returns a command in the syntax of a shell.
pub fn shell(command: &[String]) -> String {
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

/// Returns a path in the syntax of a shell.
fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// Returns a word in the syntax of a shell, quoted if necessary.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
