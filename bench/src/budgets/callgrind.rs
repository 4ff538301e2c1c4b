//! Counts a program's instructions by valgrind's callgrind.
//!
//! Valgrind simulates a processor, which is the same wherever the real one has AVX2. So the same
//! program takes the same instructions at any load of the machine. Only the seeds of hash tables
//! and the moments at which threads wake each other differ.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::counterparts::{CounterpartError, find, tail};

/// The reason why instructions could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum CallgrindError {
    /// Valgrind could not be started, or its figures could not be read.
    #[error("{what}: {source}")]
    Io {
        /// The operation.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Valgrind is missing and may not be installed here.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// The program failed.
    #[error("`{command}` ended with {status}; the end of its output:\n{printed}")]
    Failed {
        /// The program and its arguments.
        command: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// Its last lines.
        printed: String,
    },
    /// The figures have no total.
    #[error("callgrind wrote no total into {0}")]
    NoTotal(String),
}

/// Returns the version of valgrind.
///
/// # Errors
/// [`CallgrindError::Io`].
pub fn version() -> Result<String, CallgrindError> {
    let output = valgrind()
        .arg("--version")
        .output()
        .map_err(io_error(&"valgrind --version"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the instructions of a program, all of its threads together. The figures by function go into a file in `folder`
/// with the given name.
///
/// # Errors
/// [`CallgrindError`].
pub fn instructions(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
    name: &str,
) -> Result<u64, CallgrindError> {
    let file = folder.join(name);
    let output = valgrind()
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(arguments)
        // The environment of this shell would also be the program's.
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(io_error(&"valgrind"))?;

    if !output.status.success() {
        let printed = [output.stdout, output.stderr].concat();
        return Err(CallgrindError::Failed {
            command: format!("{} {}", program.display(), arguments.join(" ")),
            status: output.status,
            printed: tail(&String::from_utf8_lossy(&printed)),
        });
    }

    let figures = std::fs::read_to_string(&file).map_err(io_error(&file.display()))?;
    total(&figures).ok_or_else(|| CallgrindError::NoTotal(file.display().to_string()))
}

fn valgrind() -> Command {
    // The folder of the real program: its path must not depend on the environment that is cleared.
    Command::new(find("valgrind").unwrap_or_else(|| "valgrind".into()))
}

/// Returns the total in callgrind's figures.
fn total(figures: &str) -> Option<u64> {
    let mut lines = figures.lines().rev();
    let total = lines.find_map(|line| line.strip_prefix("totals: "))?;
    total.trim().parse().ok()
}

fn io_error(what: &impl ToString) -> impl FnOnce(std::io::Error) -> CallgrindError {
    let what = what.to_string();
    move |source| CallgrindError::Io { what, source }
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_is_the_last_line_of_that_name() {
        let figures = "events: Ir\nsummary: 12\n\nfn=(1) main\n1 12\n\ntotals: 12\n";
        assert_eq!(total(figures), Some(12));
        assert_eq!(total("events: Ir\n"), None);
    }
}
