//! The data that can be lost: MariaDB, DynamoDB Local, and the platform's data folder with its
//! objects and checkpoints.

use std::path::PathBuf;
use std::process::Command;

use super::Result;
use crate::binaries;
use crate::counterparts::{Cache, Counterpart, Counterparts, run_silently};
use crate::end_to_end::EndToEndError;
use crate::platform::{self, Platform, PlatformError, Settings};
use crate::process::Lifetime;

const LOST: [Counterpart; 2] = [Counterpart::Mariadb, Counterpart::Dynamodb];

/// The stores, and the folder of their data.
pub(super) struct World {
    folder: PathBuf,
    servers: Counterparts,
    pub(super) brokers: String,
}

impl World {
    /// Creates empty stores below the folder, beside a log that is elsewhere.
    pub(super) fn build(cache: &Cache, folder: PathBuf, brokers: &str) -> Result<Self> {
        let servers = Counterparts::start(&LOST, cache, &folder, Lifetime::OfItsThread)
            .map_err(EndToEndError::from)?;
        Ok(Self {
            folder,
            servers,
            brokers: brokers.to_owned(),
        })
    }

    /// Starts the platform on these stores.
    pub(super) fn start(&self) -> Result<Platform> {
        let arguments = self
            .servers
            .arguments()
            .chain(["--brokers", &self.brokers])
            .map(str::to_owned)
            .collect();

        let data = Some(self.folder.join("data"));
        let log = self.folder.join("platform.log");
        let port_base = platform::free_port_base()?;

        Ok(Platform::start(Settings {
            data,
            port_base,
            arguments,
            log,
        })
        .map_err(EndToEndError::from)?)
    }

    /// Returns the address of the server.
    pub(super) fn address(&self, wanted: Counterpart) -> &str {
        let found = self
            .servers
            .servers
            .iter()
            .find(|(which, _)| *which == wanted);
        found.map_or("", |(_, server)| server.address())
    }

    /// Returns the folder of uploads and checkpoints.
    pub(super) fn objects(&self) -> PathBuf {
        self.folder.join("data/objects")
    }

    /// Lets the stream job count the topic from its beginning.
    pub(super) fn start_over(&self) -> Result<()> {
        let program = binaries::find("order-analytics")
            .map_err(PlatformError::from)
            .map_err(EndToEndError::from)?;
        // The folder was lost with its checkpoints.
        let checkpoints = self.objects().join("checkpoints");
        std::fs::create_dir_all(&checkpoints)?;
        let checkpoints = format!("file://{}", checkpoints.display());
        let mut job = Command::new(program);

        job.args([
            "start-over",
            "--brokers",
            &self.brokers,
            "--checkpoints",
            &checkpoints,
        ]);

        Ok(run_silently("order-analytics start-over", job).map_err(EndToEndError::from)?)
    }

    /// Kills the servers and deletes everything.
    pub(super) fn destroy(self) -> Result<()> {
        drop(self.servers);
        Ok(std::fs::remove_dir_all(self.folder)?)
    }
}
