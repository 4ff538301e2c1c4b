//! `bench counterparts`: counterparts that continue to run between commands.
//!
//! One file of the cache contains their addresses. A process is killed only if its command line
//! contains the cache's folder, because the system reuses process ids.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};

use super::{Cache, Counterpart, CounterpartError, Counterparts, Result, Server, io_error};
use crate::process::{Lifetime, signal_group};

/// Starts, stops and shows the real counterparts.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Action {
    /// Fetches and starts Apache Kafka, MariaDB and DynamoDB Local on 127.0.0.1, and prints the
    /// variables for tests.
    Up,
    /// Stops them and deletes their data.
    Down,
    /// Prints which of them run, and their addresses.
    Status,
}

#[derive(Debug, Deserialize, Serialize)]
struct Detached {
    servers: Vec<DetachedServer>,
    environment: Vec<(String, String)>,
}

#[derive(Debug, Deserialize, Serialize)]
struct DetachedServer {
    name: String,
    pid: i32,
    address: String,
}

impl Args {
    /// Runs the command.
    ///
    /// # Errors
    /// [`CounterpartError`].
    pub fn run(self) -> Result<()> {
        let folder = Cache::open()?.folder("standing");
        match self.action {
            Action::Up => up(&folder),
            Action::Down => down(&folder),
            Action::Status => status(&folder),
        }
    }
}

fn up(folder: &Path) -> Result<()> {
    if read(folder)?.is_some_and(|detached| {
        detached
            .servers
            .iter()
            .any(|server| is_ours(server.pid, folder))
    }) {
        println!("the counterparts are already up");
        return status(folder);
    }

    let all = Counterparts::start(
        &Counterpart::ALL,
        &Cache::open()?,
        folder,
        Lifetime::Detached,
    )?;

    let environment = all
        .environment()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();

    let remember = |(_, server): (_, Server)| {
        let name = server.name().to_owned();
        let address = server.address().to_owned();
        DetachedServer {
            name,
            address,
            pid: server.release(),
        }
    };

    let detached = Detached {
        servers: all.servers.into_iter().map(remember).collect(),
        environment,
    };
    let text = serde_json::to_string_pretty(&detached).expect("strings and numbers");
    std::fs::write(file(folder), text).map_err(io_error("storing the counterparts' addresses"))?;

    status(folder)
}

fn down(folder: &Path) -> Result<()> {
    for server in read(folder)?
        .map(|detached| detached.servers)
        .unwrap_or_default()
    {
        if is_ours(server.pid, folder) {
            signal_group(server.pid, libc::SIGKILL);
            println!("{}: stopped", server.name);
        }
    }

    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .map_err(io_error(format!("deleting {}", folder.display())))?;
    }

    Ok(())
}

fn status(folder: &Path) -> Result<()> {
    let Some(detached) = read(folder)? else {
        println!("no counterpart is up; `bench counterparts up` starts them");
        return Ok(());
    };

    for server in &detached.servers {
        let state = if is_ours(server.pid, folder) {
            "up"
        } else {
            "gone"
        };
        println!(
            "{:<15} {state:<5} pid {:<8} {}",
            server.name, server.pid, server.address
        );
    }

    for (name, value) in &detached.environment {
        println!("export {name}={value}");
    }

    Ok(())
}

fn file(folder: &Path) -> PathBuf {
    folder.join("standing.json")
}

fn read(folder: &Path) -> Result<Option<Detached>> {
    match std::fs::read_to_string(file(folder)) {
        Ok(text) => match serde_json::from_str(&text) {
            Ok(detached) => Ok(Some(detached)),
            Err(error) => Err(io_error("reading the counterparts' addresses")(
                error.into(),
            )),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CounterpartError::Io {
            what: "reading the counterparts' addresses".into(),
            source,
        }),
    }
}

fn is_ours(pid: i32, folder: &Path) -> bool {
    let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command_line).contains(&*folder.to_string_lossy())
}
