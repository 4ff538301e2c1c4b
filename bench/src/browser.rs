//! `bench browser`: Chromium shops on a fresh platform, driven by the scripts in `bench/browser`.

use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};

use crate::counterparts::{BROWSER, Cache, CounterpartError, provision};
use crate::platform::{self, Platform, PlatformError, Settings};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/browser");

/// Opens the storefront of a fresh platform in Chromium, buys something and sees it counted.
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

/// Runs the scripts against a platform that logs below `folder`.
///
/// # Errors
/// [`BrowserError`].
pub fn run(folder: &Path) -> Result<(), BrowserError> {
    provision(BROWSER)?;
    npm("npm ci", &["ci", "--no-audit", "--no-fund"], "")?;
    let platform = Platform::start(Settings {
        data: None,
        port_base: platform::free_port_base()?,
        arguments: Vec::new(),
        log: folder.join("platform.log"),
    })?;
    npm("npm test", &["test"], &platform.base())?;
    platform.stop()?;
    Ok(())
}

/// Runs npm in the folder of the scripts, which find the platform by `BASE_URL`.
fn npm(what: &'static str, arguments: &[&str], base: &str) -> Result<(), BrowserError> {
    let status = Command::new("npm").current_dir(SCRIPTS).args(arguments).env("BASE_URL", base).status()?;
    if status.success() { Ok(()) } else { Err(BrowserError::Script(what, status)) }
}
