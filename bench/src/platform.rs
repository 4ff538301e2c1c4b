//! The real `platform` program: started, asked, interrupted, killed.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::binaries::{self, NotBuilt};
use crate::counterparts::CounterpartError;
use crate::process::{Ended, Lifetime, Process};
use crate::shop::{Shop, ShopError};

/// A platform that does not serve by then will not. It may have to catch up after a kill.
const START_LIMIT: Duration = Duration::from_secs(60);
/// What is promised of Ctrl-C.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// A start that must be refused has to be refused by then.
const REFUSAL_LIMIT: Duration = Duration::from_secs(40);
/// The gateway, six services and the job listen next to each other, and ten ports above each is its operator's.
const PORTS: u16 = 20;

/// Why the platform did not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The program is not there.
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
    /// The system refused.
    #[error("the platform cannot be run: {0}")]
    Io(#[from] io::Error),
    /// No client could be made.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// A service of it did not come up.
    #[error(transparent)]
    Service(#[from] CounterpartError),
    /// It ended, hung or stayed ill.
    #[error("the platform {what}; it said:\n{said}")]
    Misbehaved {
        /// What it did.
        what: String,
        /// Its output.
        said: String,
    },
}

/// How the platform is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data folder; a throw-away one when absent.
    pub data: Option<PathBuf>,
    /// The gateway's port; the others follow.
    pub port_base: u16,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// A running platform; it is killed with this value.
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

    /// The gateway's address.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.settings.port_base)
    }

    /// A client of it.
    pub fn shop(&self) -> &Shop {
        &self.shop
    }

    /// How it was started.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Kills it as a power cut would.
    ///
    /// # Errors
    /// When the kernel knows no such process.
    pub fn kill(mut self) -> Result<Settings, PlatformError> {
        self.process.kill()?;
        Ok(self.settings.clone())
    }

    /// Presses Ctrl-C and waits for an orderly end.
    ///
    /// # Errors
    /// [`PlatformError::Misbehaved`] when it takes too long or ends with an error.
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

/// Starts a platform that must refuse to run, and returns the line it says so with.
///
/// # Errors
/// [`PlatformError::Misbehaved`] when it runs, or hides the reason, or ends as if all were well.
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
            return misbehaved(format!("ended with {} in place of an error", ended.status));
        }
        Some(_) => {}
    }

    // A bad flag is followed by a hint on usage, after an empty line.
    let mut lines = said.lines().take_while(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(line), None) if !line.contains("panicked") => Ok(line.to_owned()),
        _ => misbehaved("did not say why in one line".to_owned()),
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

/// The first of enough neighbouring ports that nobody listens on now.
///
/// # Errors
/// When there are none.
pub fn free_port_base() -> io::Result<u16> {
    // Different processes look from different places, and below the ports that the system gives to clients.
    let first = 10_000 + u16::try_from(std::process::id() % 1_000).expect("less than 1,000") * 20;
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut bases = (first..30_000)
        .chain(10_000..first)
        .step_by(usize::from(PORTS));
    let free = bases.find(|base| (*base..base + PORTS).all(is_free));

    free.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::AddrInUse,
            "no twenty neighbouring ports are free",
        )
    })
}
