//! The real `platform` program: starts, calls, interrupts and kills it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::binaries::{self, NotBuilt};
use crate::counterparts::CounterpartError;
use crate::ports;
use crate::process::{Ended, Lifetime, Process, Usage, usage_of_group};
use crate::shop::{Shop, ShopError};

/// The time limit of a start. After a kill the platform may have to catch up.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The promised time limit of a stop by Ctrl-C.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// The time within which a start must fail, if it has to.
const REFUSAL_LIMIT: Duration = Duration::from_secs(40);
/// The ports of a platform: the gateway, six services and the job have consecutive ports, and the
/// operator's ports are ten above.
const PORTS: u16 = 20;

/// The reason why the platform did not work.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The program is not built.
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
    /// A system call failed.
    #[error("the platform cannot be run: {0}")]
    Io(#[from] io::Error),
    /// No client could be created.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// A service did not start.
    #[error(transparent)]
    Service(#[from] CounterpartError),
    /// It ended, hung or stayed unhealthy.
    #[error("the platform {what}; its output:\n{said}")]
    Misbehaved {
        /// The observed behaviour.
        what: String,
        /// Its output.
        said: String,
    },
}

/// The settings of a start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data folder; if absent, a temporary one.
    pub data: Option<PathBuf>,
    /// The gateway's port; the others follow.
    pub port_base: u16,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// The file for its output.
    pub log: PathBuf,
}

/// A running platform; it is killed when this value is dropped.
pub struct Platform {
    settings: Settings,
    process: Process,
    shop: Shop,
}

impl Platform {
    /// Starts the platform and waits until it is healthy.
    ///
    /// # Errors
    /// [`PlatformError`].
    pub fn start(settings: Settings) -> Result<Self, PlatformError> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&settings.log)?;

        let mut command = command(&settings)?;
        command.stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        let process = Process::start(command, Lifetime::OfItsThread)?;
        let shop = Shop::at(format!("http://127.0.0.1:{}", settings.port_base))?;

        let mut platform = Self {
            settings,
            process,
            shop,
        };

        while !platform.shop.is_healthy() {
            if let Some(ended) = platform.process.wait_for(Duration::from_millis(20))? {
                return Err(platform.misbehaved(format!("ended with {}", ended.status)));
            }
            if started.elapsed() > START_LIMIT {
                return Err(platform
                    .misbehaved(format!("was not healthy after {} s", START_LIMIT.as_secs())));
            }
        }

        println!(
            "platform: healthy after {:.1} s on {}",
            started.elapsed().as_secs_f64(),
            platform.base()
        );

        Ok(platform)
    }

    /// Returns the gateway's address.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.settings.port_base)
    }

    /// Returns the resources that it has used so far.
    ///
    /// # Errors
    /// If the system does not list its processes.
    pub fn usage(&self) -> io::Result<Usage> {
        usage_of_group(self.process.pid())
    }

    /// Returns a client of it.
    pub fn shop(&self) -> &Shop {
        &self.shop
    }

    /// Returns its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Kills it, as a power cut would.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn kill(mut self) -> Result<Settings, PlatformError> {
        self.process.kill()?;
        Ok(self.settings.clone())
    }

    /// Sends the signal of Ctrl-C and waits for an orderly end.
    ///
    /// # Errors
    /// [`PlatformError::Misbehaved`] if it takes too long or ends with an error.
    pub fn stop(mut self) -> Result<Ended, PlatformError> {
        self.process.interrupt();
        match self.process.wait_for(STOP_LIMIT)? {
            Some(ended) if ended.status.success() => Ok(ended),
            Some(ended) => {
                Err(self.misbehaved(format!("ended with {} after Ctrl-C", ended.status)))
            }
            None => {
                Err(self.misbehaved(format!("still ran {} s after Ctrl-C", STOP_LIMIT.as_secs())))
            }
        }
    }

    fn misbehaved(&self, what: String) -> PlatformError {
        PlatformError::Misbehaved {
            what,
            said: read(&self.settings.log),
        }
    }
}

/// Starts a platform that must fail to start, and returns the line with the reason.
///
/// # Errors
/// [`PlatformError::Misbehaved`] if it runs, prints no reason, or ends with success.
pub fn refusal(settings: &Settings) -> Result<String, PlatformError> {
    let mut command = command(settings)?;
    command
        .stdout(Stdio::null())
        .stderr(File::create(&settings.log)?);

    let mut process = Process::start(command, Lifetime::OfItsThread)?;
    let ended = process.wait_for(REFUSAL_LIMIT)?;
    let said = read(&settings.log);

    let misbehaved = |what: String| {
        Err(PlatformError::Misbehaved {
            what,
            said: said.clone(),
        })
    };

    match ended {
        None => {
            return misbehaved(format!(
                "did not refuse within {} s",
                REFUSAL_LIMIT.as_secs()
            ));
        }
        Some(ended) if ended.status.code().is_none_or(|code| code == 0) => {
            return misbehaved(format!("ended with {} instead of an error", ended.status));
        }
        Some(_) => {}
    }

    // After an invalid flag, a hint on usage follows an empty line.
    let mut lines = said.lines().take_while(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(line), None) if !line.contains("panicked") => Ok(line.to_owned()),
        _ => misbehaved("did not print the reason in one line".to_owned()),
    }
}

fn command(settings: &Settings) -> Result<Command, PlatformError> {
    let mut command = Command::new(binaries::find("platform")?);
    command
        .args(["--port-base", &settings.port_base.to_string()])
        .args(&settings.arguments)
        .stdin(Stdio::null());

    match &settings.data {
        Some(folder) => command.arg("--data").arg(folder),
        None => command.arg("--ephemeral"),
    };

    Ok(command)
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_else(|error| error.to_string())
}

/// Returns the first of enough adjacent ports that are free now.
///
/// # Errors
/// If there are none.
pub fn free_port_base() -> io::Result<u16> {
    ports::draw(PORTS)
}
