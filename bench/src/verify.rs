//! `bench verify`, which is `cargo verify`: every check and test, against the real counterparts.
//!
//! A failed step fails the run. The steps after it run nevertheless, because each starts the
//! servers that it needs. Everything is built in the release profile, so that a fresh clone
//! compiles its dependencies once.

mod output;
mod steps;

use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::counterparts::{Cache, Counterpart, CounterpartError};

/// Runs the steps and prints a table of them at the end.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Only these steps.
    #[arg(long, value_name = "STEP", value_parser = step_name)]
    only: Vec<&'static str>,
    /// All but these steps.
    #[arg(long, value_name = "STEP", value_parser = step_name)]
    skip: Vec<&'static str>,
    /// Programs that cannot be had here: kafka, mariadb, dynamodb or k6. Tests and steps that need them do not run, and
    /// do not fail.
    #[arg(long, value_name = "PROGRAM", value_parser = needed)]
    without: Vec<Needed>,
    /// Lists the steps and does nothing.
    #[arg(long)]
    list: bool,
}

/// The reason why a step, or the run, failed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Steps failed; the table names them.
    #[error("{0} failed")]
    Steps(usize),
    /// A command ended with an error.
    #[error("`{command}` ended with {status}\n{}", lines.join("\n"))]
    Command {
        /// The command.
        command: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The lines of its output that probably contain the reason.
        lines: Vec<String>,
    },
    /// A command could not be started.
    #[error("`{command}` cannot be run: {source}")]
    NotRun {
        /// The command.
        command: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Tests were skipped although their counterpart is available.
    #[error("tests skipped themselves:\n{0}")]
    Skipped(String),
    /// A counterpart is not available.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// One of the harness's own checks failed.
    #[error(transparent)]
    Check(#[from] Box<dyn std::error::Error>),
}

/// The data that every step gets.
struct Context {
    cache: Cache,
    available: Vec<Counterpart>,
    has_k6: bool,
}

/// A program that steps need, and that a machine may lack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Needed {
    Server(Counterpart),
    K6,
}

/// One named part of the run.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Context) -> Result<Outcome, VerifyError>,
}

/// The outcome of a step that did not fail.
enum Outcome {
    Passed,
    NotRun(&'static str),
}

struct Line {
    name: &'static str,
    result: Result<Outcome, VerifyError>,
    took: Duration,
}

impl Args {
    /// Runs the requested steps.
    ///
    /// # Errors
    /// [`VerifyError::Steps`] if a step failed.
    pub fn run(self) -> Result<(), VerifyError> {
        if self.list {
            steps::ALL
                .iter()
                .for_each(|step| println!("{:<18} {}", step.name, step.about));
            return Ok(());
        }

        let available = Counterpart::ALL
            .into_iter()
            .filter(|which| !self.without.contains(&Needed::Server(*which)))
            .collect();

        let context = Context {
            cache: Cache::open()?,
            available,
            has_k6: !self.without.contains(&Needed::K6),
        };

        let lines: Vec<_> = steps::ALL
            .iter()
            .filter(|step| self.wants(step))
            .map(|step| step.run(&context))
            .collect();
        report(&lines)
    }

    fn wants(&self, step: &Step) -> bool {
        (self.only.is_empty() || self.only.contains(&step.name)) && !self.skip.contains(&step.name)
    }
}

fn step_name(text: &str) -> Result<&'static str, String> {
    let found = steps::ALL.iter().find(|step| step.name == text);
    found
        .map(|step| step.name)
        .ok_or_else(|| "no such step; --list shows them".to_owned())
}

fn needed(text: &str) -> Result<Needed, String> {
    match text {
        "k6" => Ok(Needed::K6),
        server => Counterpart::from_str(server, true)
            .map(Needed::Server)
            .map_err(|_| "one of kafka, mariadb, dynamodb, k6".to_owned()),
    }
}

impl Step {
    fn run(&self, context: &Context) -> Line {
        println!("\n══ {}: {}", self.name, self.about);
        let started = Instant::now();
        Line {
            name: self.name,
            result: (self.run)(context),
            took: started.elapsed(),
        }
    }
}

/// Prints the failures with their reasons, then the table: a reader of a long log finds both at its
/// end.
fn report(lines: &[Line]) -> Result<(), VerifyError> {
    for line in lines {
        if let Err(error) = &line.result {
            println!("\n══ {} failed: {error}", line.name);
        }
    }

    println!("\n{:<18} {:>7}  result", "step", "seconds");
    for line in lines {
        let result = match &line.result {
            Ok(Outcome::Passed) => "passed".to_owned(),
            Ok(Outcome::NotRun(why)) => format!("not run: {why}"),
            Err(error) => format!(
                "FAILED: {}",
                error.to_string().lines().next().unwrap_or_default()
            ),
        };
        println!(
            "{:<18} {:>7.1}  {result}",
            line.name,
            line.took.as_secs_f64()
        );
    }

    let passed = lines
        .iter()
        .filter(|line| matches!(line.result, Ok(Outcome::Passed)))
        .count();

    let failed = lines.iter().filter(|line| line.result.is_err()).count();
    println!("verify: {passed} passed, {failed} failed");
    if failed == 0 {
        Ok(())
    } else {
        Err(VerifyError::Steps(failed))
    }
}
