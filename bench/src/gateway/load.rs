//! The load: `wrk` on one thread, and the measurement of the resources that the proxy uses under
//! it.

use std::process::{Command, Stdio};

use serde::Deserialize;

use super::{GatewayError, Measured, Proxy, mib};
use crate::process::usage_of_group;

const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/wrk/report.lua");

/// The number of connections, and the duration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) connections: u32,
    pub(super) seconds: u32,
}

/// The last line of wrk's report.
#[derive(Debug, Deserialize)]
struct Report {
    requests: u64,
    duration_us: u64,
    failed: u64,
    p50_us: u64,
    p99_us: u64,
}

impl Load {
    /// Loads one proxy, and returns its figures.
    #[allow(
        clippy::cast_precision_loss,
        reason = "counts of one round are far below 2^53"
    )]
    pub(super) fn measure(self, proxy: &Proxy) -> Result<Measured, GatewayError> {
        let before = usage_of_group(proxy.pid())?;
        let report = self.put_on(proxy)?;
        let after = usage_of_group(proxy.pid())?;

        if report.failed > 0 || report.requests == 0 {
            let Report {
                requests, failed, ..
            } = report;
            return Err(GatewayError::Failed {
                proxy: proxy.name,
                requests,
                failed,
            });
        }

        let requests = report.requests as f64;
        Ok(Measured {
            requests_per_second: requests * 1e6 / report.duration_us as f64,
            cpu_ms_per_1000: after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / requests,
            p50_ms: report.p50_us as f64 / 1e3,
            p99_ms: report.p99_us as f64 / 1e3,
            peak_mib: mib(after.peak_rss_bytes),
        })
    }

    /// Runs `wrk` against the proxy, and returns its report.
    fn put_on(self, proxy: &Proxy) -> Result<Report, GatewayError> {
        let mut wrk = Command::new("wrk");
        wrk.args(["--threads", "1", "--timeout", "10s", "--script", REPORT]);
        wrk.args([
            "--connections",
            &self.connections.to_string(),
            "--duration",
            &format!("{}s", self.seconds),
        ]);

        for header in &proxy.headers {
            wrk.args(["--header", header]);
        }

        let output = wrk.arg(proxy.url()).stdin(Stdio::null()).output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let report = printed
            .lines()
            .last()
            .and_then(|line| serde_json::from_str(line).ok());

        report.ok_or_else(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            GatewayError::NoReport(proxy.name, format!("{printed}{errors}"))
        })
    }
}
