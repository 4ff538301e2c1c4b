//! MariaDB's own programs: they write a dump and restore it.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use reqwest::Url;

use super::{DrillError, Result};
use crate::counterparts::{self, mariadb};

/// Writes a consistent dump while the server runs.
pub(super) fn dump(address: &str, file: &Path) -> Result<()> {
    let mut dump = client("mariadb-dump", address)?;
    dump.args([
        "--single-transaction",
        "--routines",
        "--hex-blob",
        "tidemark",
    ])
    .stdout(File::create(file)?);

    finish("mariadb-dump", dump)
}

/// Runs the statements of a file.
pub(super) fn run(address: &str, file: &Path) -> Result<()> {
    let mut client = client("mariadb", address)?;
    client
        .args(["--batch", "tidemark"])
        .stdin(File::open(file)?)
        .stdout(Stdio::null());
    finish("mariadb", client)
}

fn client(program: &str, address: &str) -> Result<Command> {
    let url = Url::parse(address)
        .map_err(|error| DrillError::Address(address.to_owned(), error.to_string()))?;
    Ok(mariadb::client(program, &url))
}

fn finish(program: &'static str, mut command: Command) -> Result<()> {
    let output = command.stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }

    Err(DrillError::Program(
        program,
        counterparts::tail(&String::from_utf8_lossy(&output.stderr)),
    ))
}
