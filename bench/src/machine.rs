//! The circumstances of a measurement: the machine, its load, the commit, the build and the versions of other programs.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;

use events::Timestamp;
use serde::{Deserialize, Serialize};

use crate::peers::{self, Peer};

/// The circumstances on which figures depend besides the program. A field is empty if the system does not report it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Circumstances {
    /// The processor's model.
    pub processor: String,
    /// The number of cores that may be used.
    pub cores: Option<u64>,
    /// The memory, with its unit.
    pub memory: String,
    /// The kernel's version.
    pub kernel: String,
    /// The average number of running processes in the last minute. More than the number of cores mean that other
    /// programs ran.
    pub load: Option<f64>,
    /// The commit of the harness's tree.
    pub commit: String,
    /// `true` if files differ from the commit.
    pub is_changed: bool,
    /// `release` or `debug`.
    pub build: String,
    /// The time of the start.
    pub began_at: String,
    /// The compiler, and programs beside ours, each with its version.
    pub versions: BTreeMap<String, String>,
}

impl Circumstances {
    /// Returns the circumstances of this moment, with the versions of these programs.
    pub fn now(peers: &[Peer]) -> Self {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let compiler = peers::compiler().map(|version| ("Rust".to_owned(), version));
        let others = peers.iter().flat_map(|peer| peer.versions());
        let commit = git(&["rev-parse", "--short", "HEAD"]);
        let changes = git(&["status", "--porcelain", "--untracked-files=no"]);

        Self {
            processor: value_of("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism()
                .ok()
                .and_then(|cores| u64::try_from(cores.get()).ok()),
            memory: memory(),
            kernel: format!("Linux {}", kernel.trim()),
            load: load(),
            commit: commit.unwrap_or_else(|| "unknown".to_owned()),
            is_changed: changes.is_some_and(|changes| !changes.is_empty()),
            build: build().to_owned(),
            began_at: Timestamp::now().to_string(),
            versions: compiler.into_iter().chain(others).collect(),
        }
    }

    /// Returns the commit, and that files differ from it if they do.
    pub fn tree(&self) -> String {
        let changes = if self.is_changed { " with changes" } else { "" };
        format!("{}{changes}", self.commit)
    }
}

impl fmt::Display for Circumstances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = self.cores.unwrap_or(0);
        let load = self
            .load
            .map_or_else(|| "unknown".to_owned(), |load| format!("{load:.2}"));
        write!(
            f,
            "{}, {cores} cores, {}, {}, load {load}; commit {}",
            self.processor,
            self.memory,
            self.kernel,
            self.tree()
        )
    }
}

/// Returns one line: processor, cores, memory, system, load, commit.
pub fn describe() -> String {
    Circumstances::now(&[]).to_string()
}

/// Returns the average number of running processes in the last minute.
pub fn load() -> Option<f64> {
    let loads = std::fs::read_to_string("/proc/loadavg").ok()?;
    loads.split(' ').next()?.parse().ok()
}

/// Returns the text after the first `name … :` in a file of the kernel.
fn value_of(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':')
        .map(|(_, value)| value.trim().to_owned())
}

fn memory() -> String {
    let text = value_of("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kib = text
        .strip_suffix(" kB")
        .and_then(|kib| kib.parse::<u64>().ok());
    kib.map_or(text.clone(), |kib| {
        format!("{:.1} GiB", mib(kib * 1024) / 1024.0)
    })
}

fn build() -> &'static str {
    if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .output()
        .ok()?;

    let printed = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| printed.trim().to_owned())
}

/// Converts bytes to MiB.
#[allow(clippy::cast_precision_loss, reason = "sizes are far below 2^53 bytes")]
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
