//! `bench browser`: Chromium shops on fresh platforms, one without authentication and one with it.
//! The scripts in `bench/browser` drive it.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::counterparts::{BROWSER, Cache, CounterpartError, provision};
use crate::platform::{self, Platform, PlatformError, Settings};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/browser");
/// The scripts begin the line of a check that failed with it (`browser/report.mjs`).
const FAILED: &str = "FAILED";
/// The first admin of the platform with authentication: e-mail address and password.
const ADMIN: [&str; 2] = ["captain@example.org", "steady as she goes"];

/// Opens the storefront of fresh platforms in Chromium, buys something, waits until it is counted,
/// and uses an account.
#[derive(Debug, clap::Parser)]
pub struct Args {}

/// The reason why a script did not reach its end.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// A script failed, and these are the checks of it that did.
    #[error("`{what}` ended with {status}{}", listed(.failed))]
    Script {
        /// The command.
        what: &'static str,
        /// The status with which it ended.
        status: ExitStatus,
        /// The sentences of the checks that failed.
        failed: Vec<String>,
    },
    /// The platform did not start or stop.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// Chromium, Node.js or npm cannot be had.
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
    npm("npm ci", &["ci", "--no-audit", "--no-fund"], &[])?;
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
    npm("npm test", &["test"], &variables)?;
    open.stop()?;
    enforced.stop()?;

    Ok(())
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

/// Runs npm in the folder of the scripts, and passes its output on. Variables give the scripts the
/// addresses of the platforms and the admin's credentials.
///
/// The error names the checks that failed: the log of a long verification may be cut before its end.
fn npm(
    what: &'static str,
    arguments: &[&str],
    variables: &[(&str, String)],
) -> Result<(), BrowserError> {
    let mut command = Command::new("npm");
    command
        .current_dir(SCRIPTS)
        .args(arguments)
        .envs(variables.iter().map(|(name, value)| (name, value)));

    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut failed = Vec::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            failed.extend(
                line.strip_prefix(FAILED)
                    .map(|check| check.trim().to_owned()),
            );
        }
    }

    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(BrowserError::Script {
            what,
            status,
            failed,
        })
    }
}

fn listed(failed: &[String]) -> String {
    failed.iter().map(|check| format!("\n  {check}")).collect()
}
