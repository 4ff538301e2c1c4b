//! A server on 127.0.0.1: started, awaited, restarted, killed.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{CounterpartError, Result, debian, io_error};
use crate::ports;
use crate::process::{Lifetime, Process};

/// The time limit of a start. Each server is ready in a few seconds, even on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// The interval of the lines that a long wait prints.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The command that starts a server, once or again.
pub struct Launch {
    /// Its name.
    pub name: &'static str,
    /// The address for clients.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The file for its output.
    pub log: PathBuf,
    /// Returns `true` if the server on this port is ready.
    pub is_ready: fn(u16) -> bool,
}

/// A started server; it ends when this value is dropped.
pub struct Server {
    launch: Launch,
    process: Process,
    started: Instant,
    lifetime: Lifetime,
}

impl Server {
    /// Starts the server and waits until it is ready.
    ///
    /// # Errors
    /// If it cannot be started or is not ready in time.
    pub fn start(launch: Launch) -> Result<Self> {
        let mut server = Self::spawn(launch, Lifetime::OfItsThread)?;
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts the server and does not wait, so that several can start together.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(launch: Launch, lifetime: Lifetime) -> Result<Self> {
        let process = launch.process(lifetime)?;
        Ok(Self {
            launch,
            process,
            started: Instant::now(),
            lifetime,
        })
    }

    /// Waits until the server is ready.
    ///
    /// # Errors
    /// [`CounterpartError::NotReady`] if it ended, or is not ready in time.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let mut next_line = self.started + PROGRESS_EVERY;
        while !(self.launch.is_ready)(self.launch.port) {
            let ended = self
                .process
                .wait_for(Duration::from_millis(50))
                .map_err(io_error("waiting for a server"))?;

            if let Some(ended) = ended {
                return Err(self.not_ready(format!("it ended with {}", ended.status)));
            }
            if self.started.elapsed() > READY_LIMIT {
                return Err(self.not_ready(format!("no answer for {} s", READY_LIMIT.as_secs())));
            }

            if Instant::now() > next_line {
                println!(
                    "{}: not ready after {} s",
                    self.launch.name,
                    self.started.elapsed().as_secs()
                );
                next_line += PROGRESS_EVERY;
            }
        }

        let seconds = self.started.elapsed().as_secs_f64();
        println!(
            "{}: ready after {seconds:.1} s on {}",
            self.launch.name, self.launch.address
        );

        Ok(())
    }

    /// Returns the address for clients.
    pub fn address(&self) -> &str {
        &self.launch.address
    }

    /// Returns its name.
    pub fn name(&self) -> &'static str {
        self.launch.name
    }

    /// Returns its process id, which is also the id of its group.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Kills the server as a power cut would. Its data stays.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .kill()
            .map_err(io_error(format!("killing {}", self.launch.name)))?;
        Ok(())
    }

    /// Kills the server and starts it on the same data and port.
    ///
    /// # Errors
    /// If it does not come back.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.process = self.launch.process(self.lifetime)?;
        self.started = Instant::now();
        self.wait_until_ready()
    }

    /// Lets the server continue after this value is dropped; returns its process id.
    pub fn release(self) -> i32 {
        self.process.release()
    }

    /// Returns the error of a server that failed, with the end of its output.
    pub fn not_ready(&self, reason: String) -> CounterpartError {
        let printed =
            std::fs::read_to_string(&self.launch.log).unwrap_or_else(|error| error.to_string());
        let log = self.launch.log.display().to_string();

        CounterpartError::NotReady {
            name: self.launch.name,
            reason,
            log,
            printed: debian::tail(&printed),
        }
    }
}

impl Launch {
    fn process(&self, lifetime: Lifetime) -> Result<Process> {
        let opened = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = opened.map_err(io_error(format!("opening {}", self.log.display())))?;
        let also_log = log.try_clone().map_err(io_error("sharing a log file"))?;
        let mut command = Command::new(&self.program);

        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(also_log);

        Process::start(command, lifetime)
            .map_err(io_error(format!("starting {}", self.program.display())))
    }
}

/// Returns different ports that are free now.
///
/// # Errors
/// If there are none.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    for port in &mut ports {
        *port = ports::draw(1).map_err(io_error("looking for a free port"))?;
    }

    Ok(ports)
}

/// Creates a folder and its parents.
pub(super) fn create_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(io_error(format!("creating {}", folder.display())))
}
