//! Programs that come from Debian: installed when the harness runs as root, named with their remedy when it does not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{CounterpartError, Result, io_error};

/// A command that is needed, and the Debian package that brings it.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// What is looked for on the path.
    pub command: &'static str,
    /// What to install when it is not there.
    pub package: &'static str,
}

const fn package(command: &'static str, package: &'static str) -> Package {
    Package { command, package }
}

/// What Kafka and DynamoDB Local need. The compiler is part of it: the launcher of DynamoDB Local is one source file.
pub const JAVA: &[Package] = &[
    package("java", "openjdk-17-jdk-headless"),
    package("javac", "openjdk-17-jdk-headless"),
    package("mvn", "maven"),
];

/// What a private MariaDB needs.
pub const DATABASE: &[Package] = &[
    package("mariadbd", "mariadb-server"),
    package("mariadb-install-db", "mariadb-server"),
];

/// What the gateway is compared with, and what loads both.
pub const PROXIES: &[Package] = &[package("nginx", "nginx"), package("wrk", "wrk")];

/// What makes a Python environment.
pub const PYTHON: &[Package] = &[package("python3", "python3-venv")];

/// What the browser test needs.
pub const BROWSER: &[Package] = &[
    package("chromium", "chromium"),
    package("node", "nodejs"),
    package("npm", "npm"),
];

/// Makes sure that the commands are there.
///
/// # Errors
/// [`CounterpartError::Missing`] when they are not and may not be installed here.
pub fn provision(needed: &[Package]) -> Result<()> {
    let missing: Vec<_> = needed
        .iter()
        .filter(|package| find(package.command).is_none())
        .collect();

    if missing.is_empty() {
        return Ok(());
    }

    let mut packages: Vec<_> = missing.iter().map(|missing| missing.package).collect();
    packages.dedup();
    if is_root() && find("apt-get").is_some() {
        return install(&packages);
    }

    let missing: Vec<_> = missing.iter().map(|missing| missing.command).collect();
    let remedy = format!(
        "sudo apt-get install --no-install-recommends {}",
        packages.join(" ")
    );

    Err(CounterpartError::Missing {
        missing: missing.join(", "),
        remedy,
    })
}

/// Where the command lies: on the path, or where Debian keeps servers.
pub fn find(command: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    folders
        .map(|folder| folder.join(command))
        .find(|file| file.is_file())
}

/// Runs a program to its end in silence.
///
/// # Errors
/// [`CounterpartError::Failed`] with the end of what it said.
pub fn run(what: &str, mut command: Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(io_error(format!("running {what}")))?;

    if output.status.success() {
        return Ok(());
    }

    let said = [output.stdout, output.stderr].concat();
    Err(CounterpartError::Failed {
        what: what.to_owned(),
        status: output.status,
        said: tail(&String::from_utf8_lossy(&said)),
    })
}

/// The last lines of a text.
pub fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn install(packages: &[&str]) -> Result<()> {
    println!("installing from Debian: {}", packages.join(" "));
    let _no_service_starts = PolicyAgainstStarting::set()?;
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        run("apt-get", apt)
    };
    apt(&["update", "--quiet"])?;

    apt(&[
        &["install", "--quiet", "--yes", "--no-install-recommends"],
        packages,
    ]
    .concat())
}

/// Whether packages may be installed.
pub fn is_root() -> bool {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Debian starts a server when it installs one, unless this file says no.
struct PolicyAgainstStarting {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl PolicyAgainstStarting {
    fn set() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }

        let written = fs::write(POLICY, "#!/bin/sh\nexit 101\n");
        let allowed =
            written.and_then(|()| fs::set_permissions(POLICY, Permissions::from_mode(0o755)));
        allowed.map_err(io_error(format!("writing {POLICY}")))?;

        Ok(Self { ours: true })
    }
}

impl Drop for PolicyAgainstStarting {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            println!("{POLICY} could not be removed again: {error}");
        }
    }
}
