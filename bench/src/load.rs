//! `bench load`: two hundred customers shop for a minute on a platform where callers authenticate;
//! then the orders are compared with the counts.
//!
//! The script is `bench/k6/shop.js` in its quick shape. Speed is not checked, because the machine
//! may be busy. Every answer must be correct or refuse because of overload, every accepted order
//! must be stored, and every stored order counted once. Windows of a few seconds replace the
//! minute, so that the last orders are counted soon.

use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};

use crate::counterparts::{Cache, CounterpartError, k6};
use crate::platform::{self, Platform, PlatformError, Settings};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/k6/shop.js");
const ADMIN_EMAIL: &str = "captain@example.org";
const ADMIN_PASSWORD: &str = "steady as she goes";
/// The number of accounts. It is small because each signs up and logs in twice, and hashing a
/// password is the most expensive operation of the platform.
const CUSTOMERS: &str = "10";

/// Runs the load test of k6, with two hundred customers, on a fresh platform for a minute, and compares the books with
/// the orders.
#[derive(Debug, clap::Parser)]
pub struct Args {}

/// The reason why the load test did not pass.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// k6 found a wrong answer, a threshold that does not hold, or a difference between orders and
    /// counts.
    #[error(
        "`k6 run bench/k6/shop.js` ended with {0}; 99 means that a threshold of its table does not hold"
    )]
    Script(ExitStatus),
    /// The platform missed a goal.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// k6 is missing and cannot be built.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Args {
    /// Runs the load test.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn run(self) -> Result<(), LoadError> {
        let cache = Cache::open()?;
        run(&cache, cache.scratch("load")?.path())
    }
}

/// Runs the load test against a platform that logs below `folder`.
///
/// # Errors
/// [`LoadError`].
pub fn run(cache: &Cache, folder: &Path) -> Result<(), LoadError> {
    let k6 = k6(cache)?;
    let platform = start(folder)?;

    let status = Command::new(k6)
        .args(["run", "--quiet", "--no-usage-report", SCRIPT])
        .env("BASE_URL", platform.base())
        .env("ADMIN_EMAIL", ADMIN_EMAIL)
        .env("ADMIN_PASSWORD", ADMIN_PASSWORD)
        .env("CUSTOMERS", CUSTOMERS)
        .env("SHAPE", "quick")
        .env("PROFILE", "correct")
        .env("REPORT", folder)
        .status()?;

    // A slow end of the platform is not a failure here, because the machine may be busy.
    drop(platform);
    if status.success() {
        Ok(())
    } else {
        Err(LoadError::Script(status))
    }
}

/// Starts a platform where callers authenticate. It limits neither the sign-ups of an address nor
/// the unpaid orders of an account, and counts by short windows.
fn start(folder: &Path) -> Result<Platform, LoadError> {
    let arguments = [
        ["--auth", "enforced"],
        ["--users-admin-email", ADMIN_EMAIL],
        ["--users-admin-password", ADMIN_PASSWORD],
        ["--gateway-sign-up-limit", "0"],
        ["--orders-unpaid-orders", "1000000"],
        ["--orders-unpaid-pieces", "1000000"],
        ["--window", "5s"],
    ];

    Ok(Platform::start(Settings {
        data: None,
        port_base: platform::free_port_base()?,
        arguments: arguments.concat().into_iter().map(str::to_owned).collect(),
        log: folder.join("platform.log"),
    })?)
}
