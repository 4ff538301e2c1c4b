//! `bench verify`, which is `cargo verify`: every check and test, against the real counterparts.
//!
//! A failed step fails the run. The steps after it still run, because each starts the servers that
//! it needs. Steps that mostly wait have others beside them; each line of those begins with the
//! step's name. Everything is built in the release profile, so that a fresh clone compiles its
//! dependencies once.

mod output;
mod steps;

use std::panic::resume_unwind;
use std::thread;
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
    /// Programs that this machine cannot run: kafka, mariadb, dynamodb or k6. Tests and steps that need them do not run, and
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
    Check(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// The data that every step gets.
#[derive(Clone)]
struct Context {
    cache: Cache,
    available: Vec<Counterpart>,
    has_k6: bool,
    /// The name of a step that runs beside others, which is printed before each of its lines;
    /// otherwise empty.
    mark: &'static str,
}

/// A program that steps need and a machine may lack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Needed {
    Server(Counterpart),
    K6,
}

/// Steps that run one after the other, and others that run one after the other beside them.
struct Stage {
    steps: &'static [Step],
    beside: &'static [Step],
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
    /// It measured, and could not compare, for this reason.
    NotCompared(String),
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
            steps::all().for_each(|step| println!("{:<18} {}", step.name, step.about));
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
            mark: "",
        };

        let stages = steps::STAGES.iter();
        let lines: Vec<_> = stages
            .flat_map(|stage| self.run_stage(stage, &context))
            .collect();
        report(&lines)
    }

    /// Runs the requested steps of a stage. Returns their lines, those of the steps beside the others last.
    fn run_stage(&self, stage: &Stage, context: &Context) -> Vec<Line> {
        let wanted = |steps: &'static [Step]| steps.iter().filter(|step| self.wants(step));
        let run_beside = || -> Vec<Line> {
            let steps = wanted(stage.beside);
            steps.map(|step| step.run_beside(context)).collect()
        };

        thread::scope(|scope| {
            let beside = scope.spawn(run_beside);
            let mut lines: Vec<_> = wanted(stage.steps).map(|step| step.run(context)).collect();
            lines.extend(beside.join().unwrap_or_else(|panic| resume_unwind(panic)));
            lines
        })
    }

    fn wants(&self, step: &Step) -> bool {
        (self.only.is_empty() || self.only.contains(&step.name)) && !self.skip.contains(&step.name)
    }
}

fn step_name(text: &str) -> Result<&'static str, String> {
    let found = steps::all().find(|step| step.name == text);
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

    /// Runs it beside other steps.
    fn run_beside(&self, context: &Context) -> Line {
        self.run(&Context {
            mark: self.name,
            ..context.clone()
        })
    }
}

/// Prints the failures with their reasons, then the table, so that a reader of a long log finds
/// both at its end.
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
            Ok(Outcome::NotCompared(why)) => format!("not compared: {why}"),
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const PASSES: Step = Step {
        name: "passes",
        about: "a step that passes",
        run: |_| Ok(Outcome::Passed),
    };
    const FAILS: Step = Step {
        name: "fails",
        about: "a step that fails",
        run: |context| Err(VerifyError::Skipped(format!("marked {}", context.mark))),
    };
    const STAGE: Stage = Stage {
        steps: &[PASSES],
        beside: &[FAILS],
    };

    fn lines(only: &[&'static str]) -> Vec<(&'static str, Option<String>)> {
        let context = Context {
            cache: Cache::open().unwrap(),
            available: Vec::new(),
            has_k6: false,
            mark: "",
        };
        let args = Args {
            only: only.to_vec(),
            ..Args::parse_from(["verify"])
        };

        let lines = args.run_stage(&STAGE, &context).into_iter();
        lines
            .map(|line| (line.name, line.result.err().map(|error| error.to_string())))
            .collect()
    }

    #[test]
    fn a_step_beside_others_has_its_line_and_its_mark_and_may_be_left_out() {
        let failure = Some("tests skipped themselves:\nmarked fails".to_owned());
        assert_eq!(lines(&[]), [("passes", None), ("fails", failure.clone())]);
        assert_eq!(lines(&["fails"]), [("fails", failure)]);
        assert_eq!(lines(&["passes"]), [("passes", None)]);
    }
}
