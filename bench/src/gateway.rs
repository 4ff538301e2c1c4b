//! `bench gateway`: the cost of a request in the gateway, beside nginx and a gateway in Flask.
//!
//! ```text
//!        ┌─▶ nginx                                   ─┐
//! wrk ───┼─▶ the gateway                             ─┼──▶ one upstream: nginx, which answers from memory
//!        ├─▶ the gateway with tokens, limits, counts ─┤
//!        └─▶ Flask under gunicorn                    ─┘
//! ```
//!
//! All proxies run throughout and are loaded one after the other, round after round, so that a busy
//! minute of the machine affects all of them. The CPU time of the proxy's own processes is
//! measured; the load generator and the upstream are the same for each.

mod load;
mod proxies;

use crate::counterparts::{Cache, CounterpartError};
use crate::machine::{self, mib};
use crate::peers::Peer;
use crate::results::{Measure, Measurement, Table};
use crate::throughput::median;
use load::Load;
use proxies::{Proxies, Proxy};

/// Measures requests a second, CPU time, memory and latency of the gateway beside nginx and Flask.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Seconds for which each is loaded in a round.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..), value_name = "SECONDS")]
    seconds: u32,
    /// Number of measurements of each; medians are printed.
    #[arg(long, alias = "runs", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Connections of the load, each with one open request.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=400))]
    connections: u32,
    /// Leave Flask out: it needs Python and PyPI.
    #[arg(long)]
    without_flask: bool,
}

/// The reason why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A program is not available or did not start.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// The platform is not built.
    #[error(transparent)]
    NotBuilt(#[from] crate::binaries::NotBuilt),
    /// The users service gave no token.
    #[error("no token was obtained: {0}")]
    NoToken(#[from] reqwest::Error),
    /// The load generator did not print a report.
    #[error("wrk did not report on {0}; its output:\n{1}")]
    NoReport(&'static str, String),
    /// Requests failed, so the figures are not valid.
    #[error("{failed} of {requests} requests to {proxy} failed")]
    Failed {
        /// The proxy.
        proxy: &'static str,
        /// Number of requests.
        requests: u64,
        /// Number of requests without a good answer.
        failed: u64,
    },
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The figures of one round of one proxy.
#[derive(Clone, Copy, Debug)]
struct Measured {
    requests_per_second: f64,
    cpu_ms_per_1000: f64,
    p50_ms: f64,
    p99_ms: f64,
    peak_mib: f64,
}

impl Measurement for Args {
    const NAME: &'static str = "gateway";
    type Error = GatewayError;

    fn peers(&self) -> Vec<Peer> {
        let flask = (!self.without_flask).then_some(Peer::Flask);
        std::iter::once(Peer::Nginx).chain(flask).collect()
    }

    fn measure(self) -> Result<Vec<Table>, GatewayError> {
        let cache = Cache::open()?;
        let folder = cache.scratch("gateway")?;
        let proxies = Proxies::start(&cache, folder.path(), !self.without_flask)?;
        println!("{}", machine::describe());

        println!(
            "{} connections, {} s each, medians of {} rounds",
            self.connections, self.seconds, self.rounds
        );

        let warm = Load {
            connections: self.connections,
            seconds: 1,
        };

        proxies
            .all
            .iter()
            .try_for_each(|proxy| warm.measure(proxy).map(drop))?;

        let load = Load {
            seconds: self.seconds,
            ..warm
        };

        let mut rounds: Vec<Vec<Measured>> = Vec::new();
        for _ in 0..self.rounds {
            rounds.push(
                proxies
                    .all
                    .iter()
                    .map(|proxy| load.measure(proxy))
                    .collect::<Result<_, _>>()?,
            );
        }

        print(&proxies.all, &rounds);
        Ok(vec![table(&proxies.all, &rounds, self.connections)])
    }
}

/// Returns the figures of each proxy.
fn table(proxies: &[Proxy], rounds: &[Vec<Measured>], connections: u32) -> Table {
    let measures = [
        Measure::rate("requests a second", "1/s"),
        Measure::new("CPU time per thousand requests", "ms"),
        Measure::new("p50", "ms"),
        Measure::new("p99", "ms"),
        Measure::new("peak memory", "MiB"),
    ];

    let mut table = Table::new("Proxies before one upstream", &measures);
    let settings = [("connections", f64::from(connections))];
    for round in rounds {
        for (proxy, measured) in proxies.iter().zip(round) {
            let samples = [
                measured.requests_per_second,
                measured.cpu_ms_per_1000,
                measured.p50_ms,
                measured.p99_ms,
                measured.peak_mib,
            ];
            table.add(proxy.name, &settings, &samples);
        }
    }
    table
}

/// Prints the medians of each proxy, and their CPU time relative to the first, which is nginx.
fn print(proxies: &[Proxy], rounds: &[Vec<Measured>]) {
    println!(
        "{:<28} {:>10} {:>14} {:>9} {:>8} {:>8} {:>9}",
        "", "requests/s", "CPU-ms/1,000", "of nginx", "p50 ms", "p99 ms", "peak MiB"
    );

    let of = |proxy: usize, value: fn(&Measured) -> f64| {
        median(rounds.iter().map(|round| value(&round[proxy])).collect())
    };

    for (number, proxy) in proxies.iter().enumerate() {
        let cpu = of(number, |round| round.cpu_ms_per_1000);
        println!(
            "{:<28} {:>10.0} {cpu:>14.1} {:>8.2}x {:>8.2} {:>8.2} {:>9.0}",
            proxy.name,
            of(number, |round| round.requests_per_second),
            cpu / of(0, |round| round.cpu_ms_per_1000),
            of(number, |round| round.p50_ms),
            of(number, |round| round.p99_ms),
            of(number, |round| round.peak_mib),
        );
    }
}
