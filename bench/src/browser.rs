//! `bench browser`: Chromium shops on fresh platforms, one without authentication and one with it.
//! The scripts in `bench/browser` drive it.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::counterparts::{BROWSER, Cache, CounterpartError, provision};
use crate::platform::{self, Platform, PlatformError, Settings};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/browser");
/// The word with which the scripts begin the line of a failed check (`browser/report.mjs`).
const FAILED: &str = "FAILED";
/// The least number of checks in a run of all scripts. Fewer mean that a script ended before its
/// checks.
const FEWEST_CHECKS: u32 = 100;
/// The first admin of the platform with authentication: e-mail address and password.
const ADMIN: [&str; 2] = ["captain@example.org", "steady as she goes"];

/// Opens the storefront of fresh platforms in Chromium, buys something, waits until it is counted,
/// and uses an account.
#[derive(Debug, clap::Parser)]
pub struct Args {}

/// The reason why a script did not reach its end.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// A script failed, with these failed checks.
    #[error("`{what}` ended with {status}{}", listed(.failed))]
    Script {
        /// The command.
        what: &'static str,
        /// The status with which it ended.
        status: ExitStatus,
        /// The sentences of the checks that failed.
        failed: Vec<String>,
    },
    /// The scripts reported success, but of fewer checks than they have.
    #[error("`npm test` reported {0} checks that passed; there are at least {FEWEST_CHECKS}")]
    TooFew(u32),
    /// The platform did not start or stop.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// Chromium, Node.js or npm is missing and cannot be installed.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Args {
    /// Runs the scripts.
    ///
    /// # Errors
    /// [`BrowserError`].
    pub fn run(self) -> Result<(), BrowserError> {
        run(Cache::open()?.scratch("browser")?.path())
    }
}

/// Runs the scripts against platforms that log below `folder`.
///
/// # Errors
/// [`BrowserError`].
pub fn run(folder: &Path) -> Result<(), BrowserError> {
    provision(BROWSER)?;
    let install = npm(&["ci", "--no-audit", "--no-fund"]);
    run_script("npm ci", install)?;

    let open = start(folder.join("open.log"), &[])?;
    let [email, password] = ADMIN;

    let arguments = [
        "--auth",
        "enforced",
        "--users-admin-email",
        email,
        "--users-admin-password",
        password,
    ];
    let enforced = start(folder.join("enforced.log"), &arguments)?;

    let variables = [
        ("BASE_URL", open.base()),
        ("ENFORCED_URL", enforced.base()),
        ("ADMIN_EMAIL", email.to_owned()),
        ("ADMIN_PASSWORD", password.to_owned()),
    ];
    let mut scripts = npm(&["test"]);
    scripts.envs(variables);
    let passed = run_script("npm test", scripts)?;
    open.stop()?;
    enforced.stop()?;

    check_number(passed)
}

fn start(log: PathBuf, arguments: &[&str]) -> Result<Platform, BrowserError> {
    let arguments = arguments
        .iter()
        .map(|argument| (*argument).to_owned())
        .collect();

    Ok(Platform::start(Settings {
        data: None,
        port_base: platform::free_port_base()?,
        arguments,
        log,
    })?)
}

/// Returns npm with these arguments, in the folder of the scripts.
fn npm(arguments: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(SCRIPTS).args(arguments);
    command
}

/// Runs a command and passes its output on. Returns the number of checks that passed, by the last
/// line that states it.
///
/// The error names the checks that failed: the log of a long verification may be cut before its end.
fn run_script(what: &'static str, mut command: Command) -> Result<u32, BrowserError> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut failed = Vec::new();
    let mut passed = 0;

    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            failed.extend(
                line.strip_prefix(FAILED)
                    .map(|check| check.trim().to_owned()),
            );
            passed = passed_by(&line).unwrap_or(passed);
        }
    }

    let status = child.wait()?;
    if status.success() && failed.is_empty() {
        Ok(passed)
    } else {
        Err(BrowserError::Script {
            what,
            status,
            failed,
        })
    }
}

/// Fails if so few checks passed that others cannot have run.
fn check_number(passed: u32) -> Result<(), BrowserError> {
    if passed < FEWEST_CHECKS {
        return Err(BrowserError::TooFew(passed));
    }
    Ok(())
}

/// Parses `109 passed, 0 failed`.
fn passed_by(line: &str) -> Option<u32> {
    let (passed, _) = line.split_once(" passed, ")?;
    passed.parse().ok()
}

fn listed(failed: &[String]) -> String {
    failed.iter().map(|check| format!("\n  {check}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_shell(script: &str) -> Result<u32, BrowserError> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run_script("npm test", command)
    }

    #[test]
    fn the_checks_that_passed_are_counted() {
        let script = "echo 'ok      one'; echo '2 passed, 0 failed'; echo 'npm notice'";
        assert_eq!(run_shell(script).unwrap(), 2);

        for nothing in [
            "true",
            "echo '0 passed, 0 failed'",
            "echo 'all passed, or so'",
        ] {
            let passed = run_shell(nothing).unwrap();
            assert!(check_number(passed).is_err(), "{nothing}");
        }
        assert!(check_number(99).is_err());
        assert!(check_number(100).is_ok());
    }

    #[test]
    fn a_failed_check_is_named_for_any_exit_status() {
        for status in [0, 1] {
            let script = format!("echo 'FAILED  two'; echo '9 passed, 1 failed'; exit {status}");
            let error = run_shell(&script).unwrap_err().to_string();
            assert!(error.ends_with("\n  two"), "{error}");
        }
    }
}
