//! Replicas of the analytics service, each a process of its own.

use std::ffi::OsString;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::blocking::Client;

use super::failure::{AnalyticsWritesError, Result};
use crate::binaries;
use crate::counterparts::{Launch, Server};
use crate::platform;

/// The port of analytics above the base of its process, and that of its metrics.
const PORT: u16 = 5;
const METRICS_PORT: u16 = PORT + 10;
const WRITTEN: &str = "analytics_records_written_total";
const UNITS: &str = "analytics_write_units_total";

const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The longest time without a written row. A batch of 16,384 rows counts when all of it is written.
const PATIENCE: Duration = Duration::from_secs(600);

/// The replicas; they end when this value is dropped.
pub(super) struct Replicas {
    servers: Vec<(Server, u16)>,
    client: Client,
}

impl Replicas {
    /// Starts this number of replicas on these stores, and waits until each is ready.
    pub(super) fn start(folder: &Path, stores: &[&str], number: u16) -> Result<Self> {
        let mut servers = Vec::new();
        for _ in 0..number {
            let base = platform::free_port_base()?;
            let server = Server::start(launch(folder, stores, base)?)?;
            servers.push((server, base));
        }

        Ok(Self {
            servers,
            client: Client::builder().no_proxy().build()?,
        })
    }

    /// Returns the number of replicas.
    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    /// Returns the number of rows that each has written.
    pub(super) fn written(&self) -> Result<Vec<f64>> {
        self.metric(WRITTEN)
    }

    /// Returns the write units that all have taken.
    pub(super) fn units(&self) -> Result<f64> {
        Ok(self.metric(UNITS)?.iter().sum())
    }

    fn metric(&self, name: &str) -> Result<Vec<f64>> {
        let bases = self.servers.iter().map(|(_, base)| base);
        bases.map(|base| self.metric_of(name, *base)).collect()
    }

    fn metric_of(&self, name: &str, base: u16) -> Result<f64> {
        let url = format!("http://127.0.0.1:{}/metrics", base + METRICS_PORT);
        let text = self.client.get(url).send()?.error_for_status()?.text()?;

        let line = text.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        number.ok_or_else(|| AnalyticsWritesError::Unexpected(format!("no {name} in {text}")))
    }

    /// Waits until they have written this number of rows together.
    pub(super) fn wait_until_written(&self, rows: u64) -> Result<()> {
        #[allow(clippy::cast_precision_loss, reason = "rows are fewer than 2^52")]
        let rows = rows as f64;
        let mut last = 0.0;
        let mut changed = Instant::now();
        loop {
            let written = self.written()?.iter().sum();
            if written >= rows {
                return Ok(());
            }

            if written > last {
                last = written;
                changed = Instant::now();
            }
            if changed.elapsed() > PATIENCE {
                let text = format!("{written} of {rows} rows were written, and no more");
                return Err(AnalyticsWritesError::Unexpected(text));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

fn launch(folder: &Path, stores: &[&str], base: u16) -> Result<Launch> {
    let mut arguments = vec![
        "analytics".to_owned(),
        "--port-base".to_owned(),
        base.to_string(),
    ];
    arguments.extend(stores.iter().map(|&one| one.to_owned()));

    Ok(Launch {
        name: "analytics",
        address: format!("http://127.0.0.1:{}", base + PORT),
        port: base + PORT,
        program: binaries::find("platform")?,
        arguments: arguments.into_iter().map(OsString::from).collect(),
        log: folder.join(format!("analytics-{base}.log")),
        is_ready,
    })
}

fn is_ready(port: u16) -> bool {
    let client = Client::builder()
        .timeout(Duration::from_secs(2))
        .no_proxy()
        .build();
    let url = format!("http://127.0.0.1:{port}/health/ready");
    let answer = client.and_then(|client| client.get(url).send());
    answer.is_ok_and(|answer| answer.status().is_success())
}
