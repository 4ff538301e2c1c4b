//! Programs from Debian. They are installed if the harness runs as root; otherwise the error
//! contains the command that installs them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{CounterpartError, Result, io_error};

/// A command, and the Debian package that contains it.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// The command that is searched on the path.
    pub command: &'static str,
    /// The package to install if it is missing.
    pub package: &'static str,
}

const fn package(command: &'static str, package: &'static str) -> Package {
    Package { command, package }
}

/// The packages that Kafka and DynamoDB Local need. The compiler is one of them, because the
/// launcher of DynamoDB Local is one source file.
pub const JAVA: &[Package] = &[
    package("java", "openjdk-17-jdk-headless"),
    package("javac", "openjdk-17-jdk-headless"),
    package("mvn", "maven"),
];

/// The packages that a private MariaDB needs.
pub const DATABASE: &[Package] = &[
    package("mariadbd", "mariadb-server"),
    package("mariadb-install-db", "mariadb-server"),
];

/// The proxy that the gateway is compared with, and the load generator.
pub const PROXIES: &[Package] = &[package("nginx", "nginx"), package("wrk", "wrk")];

/// The program that counts instructions.
pub const VALGRIND: &[Package] = &[package("valgrind", "valgrind")];

/// The packages for a Python environment.
pub const PYTHON: &[Package] = &[package("python3", "python3-venv")];

/// The packages that the browser test needs.
pub const BROWSER: &[Package] = &[
    package("chromium", "chromium"),
    package("node", "nodejs"),
    package("npm", "npm"),
];

/// Installs the commands that are missing.
///
/// # Errors
/// [`CounterpartError::Missing`] if they are missing and may not be installed here.
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

/// Returns the path of the command: on the path, or in Debian's folders for servers.
pub fn find(command: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    folders
        .map(|folder| folder.join(command))
        .find(|file| file.is_file())
}

/// Runs a program to its end without printing its output.
///
/// # Errors
/// [`CounterpartError::Failed`] with the end of its output.
pub fn run(what: &str, mut command: Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(io_error(format!("running {what}")))?;

    if output.status.success() {
        return Ok(());
    }

    let printed = [output.stdout, output.stderr].concat();
    Err(CounterpartError::Failed {
        what: what.to_owned(),
        status: output.status,
        printed: tail(&String::from_utf8_lossy(&printed)),
    })
}

/// Returns the last lines of a text.
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

/// Returns `true` if packages may be installed.
pub fn is_root() -> bool {
    // SAFETY: the call takes no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// A file that keeps Debian from starting a server after its installation.
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
