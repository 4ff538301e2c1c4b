//! A plan: the steps that submit, replace or end a job, as data. `--dry-run` prints them, and `carry_out` runs them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::slice;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::installed::Installed;
use super::terminal::Terminal;
use super::variables::Variables;

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
    /// The index of the first step whose failure leads to the rollback. The steps before it change nothing that runs.
    pub from: usize,
    pub steps: Vec<Step>,
    /// The state if a step before `from` fails: "the job runs as before".
    pub before: &'static str,
    /// The state after the rollback: "the former job runs again".
    pub end: &'static str,
    /// The remedy if a step of the rollback fails, too: a command and its effect.
    pub mend: String,
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
    /// Runs a program to its end, with the surroundings of the job.
    RunWith {
        command: Vec<String>,
        surroundings: Surroundings,
    },
    /// Runs `write` unless `check` succeeds. This creates objects that never change.
    RunUnless {
        check: Vec<String>,
        write: Vec<String>,
    },
    /// Repeats a program until it succeeds.
    RunUntil {
        command: Vec<String>,
        limit: Duration,
    },
    /// Runs `command` for each line that `list` prints, which takes the place of the word `{}`. Fails with `none`, if that is
    /// set, where there is no line.
    Each {
        list: Vec<String>,
        command: Vec<String>,
        none: Option<String>,
    },
    /// Fails with `reason`, where the lines that `list` prints take the place of `{}`, unless there is no line.
    Absent { list: Vec<String>, reason: String },
    /// Repeats `list` until it succeeds and prints no line.
    Gone { list: Vec<String>, limit: Duration },
    /// Copies a file to a path that contains the hash of its content, unless that path exists.
    Copy { from: PathBuf, to: PathBuf },
    /// Writes the installed release, processes and variables to a file that only its owner may read.
    Record { path: PathBuf, installed: Installed },
    /// Writes a script.
    Script { path: PathBuf, content: String },
    /// Writes a content that may be secret, to a file that only its owner may read. `shown` describes it.
    Hidden {
        path: PathBuf,
        content: Secret,
        shown: String,
    },
    /// Starts a program that continues after this one has ended, and writes its process id.
    Start(Background),
    /// Sends SIGTERM to the processes whose ids these files contain, and waits until they have ended.
    Stop { pids: Vec<PathBuf>, limit: Duration },
    /// Ends these processes as [`Action::Stop`] does, and kills those that take longer, with their children.
    End { pids: Vec<PathBuf>, limit: Duration },
    /// Fails if a program listens at one of these addresses.
    Free { addresses: Vec<SocketAddr> },
    /// Waits until the job at this status address is ready.
    Ready {
        address: SocketAddr,
        limit: Duration,
    },
}

/// A content that is not shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(not shown)")
    }
}

/// The working folder of a program, and all of its variables.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Surroundings {
    pub variables: Variables,
    pub terminal: Terminal,
}

/// A program that runs in the background.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Background {
    pub command: Vec<String>,
    pub surroundings: Surroundings,
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

    /// Returns a step that runs a program.
    pub fn run<I: Into<String>>(
        about: impl Into<String>,
        command: impl IntoIterator<Item = I>,
    ) -> Self {
        Self::new(about, Action::Run(words(command)))
    }
}

/// Returns the words of a command.
pub fn words<I: Into<String>>(command: impl IntoIterator<Item = I>) -> Vec<String> {
    command.into_iter().map(Into::into).collect()
}

impl Plan {
    /// Returns the files with the ids of the processes that the plan and its rollback start or end, each once.
    pub fn pids(&self) -> BTreeSet<&Path> {
        let back = self.rollback.iter().flat_map(|rollback| &rollback.steps);
        let all = self.steps.iter().chain(back);
        let files = all.flat_map(|step| step.action.pids());
        files.map(PathBuf::as_path).collect()
    }

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

impl Action {
    /// Returns the files with the ids of the processes that the action starts or ends.
    fn pids(&self) -> &[PathBuf] {
        match self {
            Self::Start(background) => slice::from_ref(&background.pid),
            Self::Stop { pids, .. } | Self::End { pids, .. } => pids,
            _ => &[],
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(command) => formatter.write_str(&shell(command)),
            Self::RunWith {
                command,
                surroundings,
            } => write!(formatter, "{}   # {surroundings}", shell(command)),
            Self::RunUnless { check, write } => {
                write!(formatter, "{} || {}", shell(check), shell(write))
            }
            Self::RunUntil { command, limit } => {
                formatter.write_str(&repeated(&shell(command), 5, *limit))
            }
            Self::Each { list, command, .. } => write!(
                formatter,
                "for each in $({}); do {} || exit; done",
                shell(list),
                for_each(command)
            ),
            Self::Absent { list, .. } => formatter.write_str(&is_empty(list)),
            Self::Gone { list, limit } => {
                formatter.write_str(&repeated(&is_empty(list), 5, *limit))
            }
            Self::Copy { from, to } => {
                let from = quoted_path(from);
                let to = quoted_path(to);
                write!(formatter, "[ -e {to} ] || install -D -m 755 {from} {to}")
            }
            Self::Record { path, installed } => write!(
                formatter,
                "{}   # release {}, processes: {}, and:\n{}",
                writing(path),
                installed.release,
                installed.processes,
                installed.variables
            ),
            Self::Script { path, content } => {
                write!(formatter, "{} <<'END'\n{content}END", writing(path))
            }
            Self::Hidden { path, shown, .. } => {
                write!(formatter, "{}   # {shown} (not shown)", writing(path))
            }
            Self::Start(background) => background.fmt(formatter),
            Self::Stop { pids, limit } => formatter.write_str(&stopping(pids, *limit)),
            Self::End { pids, limit } => formatter.write_str(&ending(pids, *limit)),
            Self::Free { addresses } => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                let addresses = addresses.join(" ");
                write!(
                    formatter,
                    "for at in {addresses}; do ! curl -s -o /dev/null http://$at/ || exit; done"
                )
            }
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
            "setsid {} >>{} 2>&1 & {{ echo $!; sed 's/.*) //' /proc/$!/stat | cut -d ' ' -f 20; }} >{}   # {}",
            shell(&self.command),
            quoted_path(&self.log),
            quoted_path(&self.pid),
            self.surroundings
        )
    }
}

impl fmt::Display for Surroundings {
    /// Names the variables. Their values may be secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Terminal { folder, inherited } = &self.terminal;
        let own: Vec<&str> = self.variables.names().collect();
        write!(
            formatter,
            "in {}, with {}",
            quoted_path(folder),
            own.join(" ")
        )?;

        if inherited.is_empty() {
            return formatter.write_str(", and no other variable");
        }

        let inherited: Vec<&str> = inherited.iter().map(String::as_str).collect();
        write!(
            formatter,
            ", from the terminal {}, and no other variable",
            inherited.join(" ")
        )
    }
}

/// Returns a command that repeats `check` every `pause_s` seconds until it succeeds.
fn repeated(check: &str, pause_s: u64, limit: Duration) -> String {
    let script = format!("until {check}; do sleep {pause_s}; done");
    format!("timeout {} sh -c {}", limit.as_secs(), quoted(&script))
}

/// Returns a command that succeeds if `list` does and prints nothing.
fn is_empty(list: &[String]) -> String {
    format!("found=$({}) && test -z \"$found\"", shell(list))
}

/// Returns a command that writes its input to a file that only its owner may read.
fn writing(path: &Path) -> String {
    format!("install -D -m 600 /dev/stdin {}", quoted_path(path))
}

/// Returns the paths as words of a shell.
fn files(pids: &[PathBuf]) -> String {
    let files: Vec<String> = pids.iter().map(|pid| quoted_path(pid)).collect();
    files.join(" ")
}

/// Returns a command that ends the processes whose ids these files contain, and kills those that take longer.
fn ending(pids: &[PathBuf], limit: Duration) -> String {
    let files = files(pids);
    let limit_s = limit.as_secs();

    // Each process leads a group of its own, which contains its children.
    format!(
        "for pid in $(head -qn 1 {files}); do kill -TERM $pid; \
         timeout {limit_s} tail --pid=$pid -f /dev/null || kill -KILL -- -$pid; done; \
         rm -f {files}"
    )
}

/// Returns a command that ends the processes whose ids these files contain, and waits for them.
fn stopping(pids: &[PathBuf], limit: Duration) -> String {
    let files = files(pids);
    let limit_s = limit.as_secs();

    format!(
        "kill -TERM $(head -qn 1 {files}); \
         for pid in $(head -qn 1 {files}); do timeout {limit_s} tail --pid=$pid -f /dev/null; done; \
         rm {files}"
    )
}

/// Returns a command in the syntax of a shell.
pub fn shell(command: &[String]) -> String {
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

/// Returns a command in the syntax of a shell, with the variable `each` in the place of the word `{}`.
fn for_each(command: &[String]) -> String {
    let word = |word: &String| match word.as_str() {
        "{}" => "\"$each\"".to_owned(),
        word => quoted(word),
    };
    let words: Vec<String> = command.iter().map(word).collect();
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
