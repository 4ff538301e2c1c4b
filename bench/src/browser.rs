//! `bench browser`: Chromium shops on fresh platforms, one that asks nobody and one that asks everybody who they are.
//! The scripts in `bench/browser` drive it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use crate::counterparts::{BROWSER, Cache, CounterpartError, provision};
use crate::platform::{self, Platform, PlatformError, Settings};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/browser");

/// Opens the storefront of fresh platforms in Chromium, buys something, sees it counted, and lives through an account.
#[derive(Debug, clap::Parser)]
pub struct Args {}

/// Why the browser did not come to the end.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// A script failed.
    #[error("`{0}` ended with {1}")]
    Script(&'static str, ExitStatus),
    /// The platform did not do what it must.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// Chromium, Node.js or npm cannot be had.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// The system refused.
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
    let enforced = start(folder.join("enforced.log"), &["--auth", "enforced"])?;
    npm("npm test", &["test"], &[("BASE_URL", open.base()), ("ENFORCED_URL", enforced.base())])?;
    open.stop()?;
    enforced.stop()?;
    Ok(())
}

fn start(log: PathBuf, arguments: &[&str]) -> Result<Platform, BrowserError> {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Ok(Platform::start(Settings { data: None, port_base: platform::free_port_base()?, arguments, log })?)
}

/// Runs npm in the folder of the scripts, which find the platforms by these variables.
fn npm(what: &'static str, arguments: &[&str], platforms: &[(&str, String)]) -> Result<(), BrowserError> {
    let mut command = Command::new("npm");
    command.current_dir(SCRIPTS).args(arguments).envs(platforms.iter().map(|(name, base)| (name, base)));
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(BrowserError::Script(what, status)) }
}
