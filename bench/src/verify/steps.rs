//! The steps of the verification, in the order in which they run.
//!
//! Most steps run alone, because they use all cores. The counterparts are fetched and installed
//! while the code is compiled, because fetching waits for the network. Steps that kill the platform
//! and wait for minutes of event time to end leave the cores idle. So the checks of the chart and
//! of both clouds, and the count of instructions, run beside them.

use std::error::Error;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, PipeReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::available_parallelism;

use clap::Parser;

use super::output::Output;
use super::{Context, Outcome, Stage, Step, VerifyError};
use crate::counterparts::kafka::versions;
use crate::counterparts::{self, Counterpart, Counterparts};
use crate::process::Lifetime;
use crate::{browser, budgets, code, crash, cut_off, end_to_end, exact, load, torn};

/// All steps, in stages that follow each other.
pub(super) const STAGES: &[Stage] = &[
    Stage {
        steps: COMPILING,
        beside: FETCHING,
    },
    Stage {
        steps: ALONE,
        beside: &[],
    },
    Stage {
        steps: WAITING,
        beside: BESIDE,
    },
    Stage {
        steps: MEASURED,
        beside: &[],
    },
];

/// Steps that check and compile the code.
const COMPILING: &[Step] = &[
    Step {
        name: "format",
        about: "cargo fmt --check",
        run: format,
    },
    Step {
        name: "clippy",
        about: "clippy over all targets; a warning is an error",
        run: clippy,
    },
    Step {
        name: "docs",
        about: "cargo doc; a warning is an error",
        run: docs,
    },
    Step {
        name: "code",
        about: "no files import each other in a circle, no word names two things; the figures of the layout",
        run: code,
    },
    Step {
        name: "deny",
        about: "cargo deny check: licences, sources, known vulnerabilities",
        run: deny,
    },
    Step {
        name: "build",
        about: "the release binaries",
        run: build,
    },
];

/// The step that fetches the counterparts for later stages.
const FETCHING: &[Step] = &[Step {
    name: "provision",
    about: "fetches and installs the counterparts",
    run: provision,
}];

/// Steps that use all cores.
const ALONE: &[Step] = &[
    Step {
        name: "tests",
        about: "every test, against the real counterparts",
        run: tests,
    },
    Step {
        name: "exact",
        about: "1,000,000 orders through the job on real Kafka, every count compared",
        run: exact,
    },
    Step {
        name: "crash",
        about: "processes of the job, its broker and its store die under load; every count compared",
        run: crash,
    },
    Step {
        name: "cut-off",
        about: "one of two brokers is cut off from the job, then frozen; no order is late, readiness names it",
        run: cut_off,
    },
    Step {
        name: "torn",
        about: "ends of transactions arrive in later ones, answers are lost; the Java client finds each transaction once and whole",
        run: torn,
    },
];

/// Steps that mostly wait.
const WAITING: &[Step] = &[
    Step {
        name: "end-to-end",
        about: "the platform on its embedded stores, killed and started again",
        run: embedded,
    },
    Step {
        name: "end-to-end-real",
        about: "the same on Kafka, MariaDB and DynamoDB Local",
        run: real,
    },
    Step {
        name: "contract",
        about: "schemathesis holds the API to its document",
        run: contract,
    },
    Step {
        name: "browser",
        about: "Chromium shops on the platform",
        run: browser,
    },
];

/// Steps beside those that mostly wait. They use other programs and folders than these, and the
/// count of instructions is the same at any load.
const BESIDE: &[Step] = &[
    Step {
        name: "chart",
        about: "the Helm chart, as far as the tools at hand go",
        run: chart,
    },
    Step {
        name: "aws",
        about: "infra-aws, likewise",
        run: aws,
    },
    Step {
        name: "gcp",
        about: "infra-gcp, likewise",
        run: gcp,
    },
    Step {
        name: "budgets",
        about: "instructions of each stage of the hot path, beside its budget",
        run: budgets,
    },
];

/// The step whose thresholds are times, which runs alone.
const MEASURED: &[Step] = &[Step {
    name: "k6",
    about: "two hundred customers of k6 on a platform that authenticates them; its books balance",
    run: load,
}];

/// Returns every step.
pub(super) fn all() -> impl Iterator<Item = &'static Step> {
    STAGES
        .iter()
        .flat_map(|stage| stage.steps.iter().chain(stage.beside))
}

type StepResult = Result<Outcome, VerifyError>;

fn format(context: &Context) -> StepResult {
    cargo(context, &["fmt", "--all", "--check"], &[])
}

fn clippy(context: &Context) -> StepResult {
    cargo(
        context,
        &[
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
        &[],
    )
}

fn docs(context: &Context) -> StepResult {
    cargo(
        context,
        &["doc", "--release", "--workspace", "--no-deps", "--locked"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )
}

fn deny(context: &Context) -> StepResult {
    run(context, Command::new(root().join(".ci/deny")))
}

fn build(context: &Context) -> StepResult {
    cargo(
        context,
        &["build", "--release", "--workspace", "--bins", "--locked"],
        &[],
    )
}

fn provision(context: &Context) -> StepResult {
    counterparts::provision_all(&context.cache, &context.available)?;
    counterparts::provision(counterparts::BROWSER)?;
    counterparts::provision(counterparts::VALGRIND)?;
    if context.has_k6 {
        counterparts::k6(&context.cache)?;
    }

    Ok(Outcome::Passed)
}

fn tests(context: &Context) -> StepResult {
    let data = context.cache.scratch("tests")?;
    let servers = Counterparts::start(
        &context.available,
        &context.cache,
        data.path(),
        Lifetime::OfItsThread,
    )?;

    let mut command = Command::new("cargo");
    command
        .args([
            "test",
            "--release",
            "--workspace",
            "--locked",
            "--no-fail-fast",
        ])
        .env("RUST_TEST_THREADS", test_threads().to_string())
        .envs(servers.environment());
    if context.available.contains(&Counterpart::Kafka) {
        command.env(versions::VARIABLE, versions::all(&context.cache)?);
    }

    let output = run_and_keep(context.mark, command)?;
    let excused = |line: &str| {
        let excuses = |which: &Counterpart| {
            !context.available.contains(which) && line.contains(which.variable())
        };
        Counterpart::ALL.iter().any(excuses)
    };

    let skipped: Vec<_> = output
        .skipped
        .into_iter()
        .filter(|line| !excused(line))
        .collect();

    if skipped.is_empty() {
        Ok(Outcome::Passed)
    } else {
        Err(VerifyError::Skipped(skipped.join("\n")))
    }
}

/// Returns the number of tests that run at the same time. The longest tests mostly wait for their
/// brokers, so two run for each core.
fn test_threads() -> usize {
    2 * available_parallelism().map_or(1, usize::from)
}

fn exact(context: &Context) -> StepResult {
    if !context.available.contains(&Counterpart::Kafka) {
        return Ok(Outcome::NotRun("there is no Kafka"));
    }
    check(exact::Args::parse_from(["exact", "--orders", "1000000"]).run())
}

fn crash(context: &Context) -> StepResult {
    if !context.available.contains(&Counterpart::Kafka) {
        return Ok(Outcome::NotRun("there is no Kafka"));
    }
    check(crash::Args::parse_from(["crash", "--for", "1m"]).run())
}

fn cut_off(context: &Context) -> StepResult {
    if !context.available.contains(&Counterpart::Kafka) {
        return Ok(Outcome::NotRun("there is no Kafka"));
    }
    check(cut_off::Args::parse_from(["cut-off"]).run())
}

/// Runs dozens of schedules with each protocol. Longer runs are for work by hand.
fn torn(context: &Context) -> StepResult {
    if !context.available.contains(&Counterpart::Kafka) {
        return Ok(Outcome::NotRun("there is no Kafka"));
    }

    for version in ["2", "1"] {
        let arguments = ["torn", "--client", "native", "--schedules", "48"];
        let version = ["--transaction-version", version];
        check(torn::Args::parse_from(arguments.into_iter().chain(version)).run())?;
    }
    Ok(Outcome::Passed)
}

fn code(_: &Context) -> StepResult {
    check(code::Args::parse_from(["code"]).run())
}

fn embedded(_: &Context) -> StepResult {
    check(end_to_end::Args::parse_from(["end-to-end"]).run())
}

fn real(context: &Context) -> StepResult {
    if context.available != Counterpart::ALL {
        return Ok(Outcome::NotRun("not all counterparts are there"));
    }
    check(end_to_end::Args::parse_from(["end-to-end", "--counterparts"]).run())
}

fn check<E: Error + Send + Sync + 'static>(result: Result<(), E>) -> StepResult {
    result
        .map(|()| Outcome::Passed)
        .map_err(|error| VerifyError::Check(Box::new(error)))
}

/// Compares the API with its description. It sends few requests of each kind: enough to find an
/// answer that differs, in a minute.
fn contract(context: &Context) -> StepResult {
    let mut command = Command::new(root().join("bench/schemathesis.sh"));
    command.env("EXAMPLES", "5");
    run(context, command)
}

fn browser(context: &Context) -> StepResult {
    let folder = context.cache.scratch("browser")?;
    check(browser::run(folder.path()))
}

fn load(context: &Context) -> StepResult {
    if !context.has_k6 {
        return Ok(Outcome::NotRun("--without k6"));
    }
    let folder = context.cache.scratch("load")?;
    check(load::run(&context.cache, folder.path()))
}

fn chart(context: &Context) -> StepResult {
    run(context, Command::new(root().join("helm/tests/check.sh")))
}

fn aws(context: &Context) -> StepResult {
    run(
        context,
        Command::new(root().join("infra-aws/tests/check.sh")),
    )
}

fn gcp(context: &Context) -> StepResult {
    run(
        context,
        Command::new(root().join("infra-gcp/tests/check.sh")),
    )
}

fn budgets(_: &Context) -> StepResult {
    match budgets::Args::parse_from(["budgets"]).run() {
        Ok(budgets::Comparison::Kept) => Ok(Outcome::Passed),
        Ok(budgets::Comparison::NotCompared(why)) => Ok(Outcome::NotCompared(why)),
        Err(error) => Err(VerifyError::Check(Box::new(error))),
    }
}

fn cargo(context: &Context, arguments: &[&str], environment: &[(&str, &str)]) -> StepResult {
    let mut command = Command::new("cargo");
    command.args(arguments).envs(environment.iter().copied());
    run(context, command)
}

fn run(context: &Context, command: Command) -> StepResult {
    run_and_keep(context.mark, command).map(|_| Outcome::Passed)
}

/// Runs the command in the root of the repository, prints its output, each line with `mark` if
/// there is one, and keeps the relevant lines.
fn run_and_keep(mark: &str, mut command: Command) -> Result<Output, VerifyError> {
    let mut output = Output::default();
    let mark = match mark {
        "" => String::new(),
        name => format!("{name}: "),
    };

    let ended = spawn_piped(command.current_dir(root())).and_then(|(mut child, pipe)| {
        for line in BufReader::new(pipe).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{mark}{line}");
            output.keep(line);
        }
        child.wait()
    });

    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy);
    let command = words.collect::<Vec<_>>().join(" ");

    match ended {
        Ok(status) if status.success() => Ok(output),
        Ok(status) => Err(VerifyError::Command {
            command,
            status,
            lines: output.failure(),
        }),
        Err(source) => Err(VerifyError::NotRun { command, source }),
    }
}

/// Starts the command with one pipe for both of its outputs, so that their lines keep their order.
fn spawn_piped(command: &mut Command) -> io::Result<(Child, PipeReader)> {
    let (output, input) = io::pipe()?;
    let child = command.stdout(input.try_clone()?).stderr(input).spawn();
    // The command also holds the pipe's other end. The output ends only when the command is
    // dropped.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok((child?, output))
}

/// Returns the root of the repository, in which the harness was built.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[cfg(test)]
mod tests;
