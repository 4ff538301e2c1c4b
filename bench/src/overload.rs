//! `bench overload`: sends six floods from one address, and measures the answers to a customer at
//! another address before, during and after each.
//!
//! Every flood is sent to a fresh platform, which authenticates its callers and has its default
//! limits. Flood, customer and platform share the machine, so the figures are worse than those of a
//! platform on a machine of its own.

mod customer;
mod floods;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::customer::{Service, Visit, median, p99, recovery};
use self::floods::{Flood, Tally};
use crate::counterparts::{Cache, CounterpartError};
use crate::machine::{self, mib};
use crate::peers::Peer;
use crate::platform::{self, Platform, PlatformError, Settings};
use crate::results::{Measure, Measurement, Table, milliseconds, number};

/// The pause between two probes of the gateway's health.
const PROBE_EVERY: Duration = Duration::from_millis(200);
/// The time limit of a probe; Kubernetes' default.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// The factor of the 99th percentile from before the flood within which a visit counts as quick
/// again.
const AS_BEFORE: u32 = 2;
/// The number of quick visits in a row that count as recovery.
const ENOUGH_VISITS: usize = 20;
/// The distance of the gateway's operator's port from its own port.
const OPERATOR: u16 = 10;

/// Floods a platform in six ways, and prints the answers for its other customers meanwhile.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Duration of each flood; the customer is watched as long before and after it.
    #[arg(long = "for", default_value = "10s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    duration: Duration,
}

/// The reason why the platform did not withstand a flood, or no flood was sent.
#[derive(Debug, thiserror::Error)]
pub enum OverloadError {
    /// The platform did not start, or ended under the flood.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// There is no folder for the platform.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The customer has no client.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
    /// No other customer was answered during the flood.
    #[error("{0}: no other customer was answered")]
    Silenced(&'static str),
    /// The platform did not come back after the flood.
    #[error("{0}: {1:?} after the flood, answers are still slower than before it")]
    Slow(&'static str, Duration),
}

/// The effects of a flood.
struct Outcome {
    before: Service,
    during: Service,
    recovery: Option<Duration>,
    probes: AtomicU64,
    probes_failed: AtomicU64,
    peak_rss_bytes: u64,
    tally: Tally,
}

impl Measurement for Args {
    const NAME: &'static str = "overload";
    type Error = OverloadError;

    fn peers(&self) -> Vec<Peer> {
        Vec::new()
    }

    fn measure(self) -> Result<Vec<Table>, OverloadError> {
        let cache = Cache::open()?;
        let folder = cache.scratch("overload")?;
        println!("{}", machine::describe());

        let mut table = Table::new("Another customer during a flood", &measures());
        for flood in Flood::ALL {
            let outcome = self.send(flood, folder.path())?;
            outcome.print(flood.name());
            outcome.check(flood.name(), self.duration)?;
            table.add(flood.name(), &[], &outcome.samples());
        }
        Ok(vec![table])
    }
}

/// Returns the columns of the figures.
fn measures() -> [Measure; 7] {
    [
        Measure::new("p99 before", "ms"),
        Measure::new("p99 during", "ms"),
        Measure::new("answered during", ""),
        Measure::new("failed during", ""),
        Measure::new("as before after", "ms"),
        Measure::new("p99 of refusals", "ms"),
        Measure::new("peak memory", "MiB"),
    ]
}

impl Args {
    fn send(&self, flood: Flood, folder: &Path) -> Result<Outcome, OverloadError> {
        let port_base = platform::free_port_base()?;
        let platform = Platform::start(Settings {
            data: None,
            port_base,
            arguments: vec!["--auth".to_owned(), "enforced".to_owned()],
            log: folder.join("platform.log"),
        })?;

        let visits = Mutex::new(Vec::new());
        let is_over = AtomicBool::new(false);
        let probes = AtomicU64::new(0);
        let probes_failed = AtomicU64::new(0);
        let catalogue = format!("{}/api/products?limit=20", platform.base());

        let (tally, times) = thread::scope(|scope| {
            let customer = scope.spawn(|| customer::visit(&catalogue, &is_over, &visits));
            let prober = scope.spawn(|| probe(port_base, &is_over, &probes, &probes_failed));

            thread::sleep(self.duration);
            let from = Instant::now();
            let tally = flood.send(SocketAddr::from(([127, 0, 0, 1], port_base)), self.duration);
            let to = Instant::now();
            thread::sleep(self.duration);

            is_over.store(true, Ordering::Relaxed);
            customer.join().expect("the customer does not panic")?;
            prober.join().expect("the prober does not panic")?;
            Ok::<_, OverloadError>((tally, from..to))
        })?;

        let visits: Vec<Visit> = visits.into_inner().expect("no thread panicked");
        let before = Service::between(&visits, times.start - self.duration, times.start);
        Ok(Outcome {
            before,
            during: Service::between(&visits, times.start, times.end),
            recovery: recovery(&visits, times.end, before.p99 * AS_BEFORE, ENOUGH_VISITS),
            probes,
            probes_failed,
            peak_rss_bytes: platform.usage()?.peak_rss_bytes,
            tally,
        })
    }
}

/// Probes the gateway's liveness repeatedly, as the kubelet does.
fn probe(
    port_base: u16,
    is_over: &AtomicBool,
    probes: &AtomicU64,
    failed: &AtomicU64,
) -> reqwest::Result<()> {
    let url = format!("http://127.0.0.1:{}/health/live", port_base + OPERATOR);
    let client = reqwest::blocking::Client::builder()
        .timeout(PROBE_LIMIT)
        .pool_max_idle_per_host(0)
        .no_proxy()
        .build()?;

    while !is_over.load(Ordering::Relaxed) {
        let answer = client.get(&url).send();
        probes.fetch_add(1, Ordering::Relaxed);
        if !answer.is_ok_and(|answer| answer.status().is_success()) {
            failed.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(PROBE_EVERY);
    }

    Ok(())
}

/// Returns the words about the sorted shed times.
fn shed(times: &[Duration]) -> String {
    if times.is_empty() {
        return "no request was answered by 429 or 503".to_owned();
    }
    format!(
        "shed by 429 or 503: {}, within p50 {:.1?}, p99 {:.1?}",
        times.len(),
        median(times),
        p99(times),
    )
}

impl Outcome {
    fn print(&self, name: &str) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut refusals = self
            .tally
            .refusals
            .lock()
            .expect("no thread panicked")
            .clone();
        refusals.sort_unstable();

        println!("{name}");
        println!(
            "  sent {}, closed or not accepted {}, served {}",
            count(&self.tally.sent),
            count(&self.tally.closed),
            count(&self.tally.served),
        );
        println!("  {}", shed(&refusals));
        for (when, service) in [("before", self.before), ("during", self.during)] {
            println!(
                "  another customer {when}: {} answered, {} failed, p99 {:.1?}",
                service.answered, service.failed, service.p99
            );
        }
        println!(
            "  as before again: {}; probes of health: {}, {} failed; peak memory {:.0} MiB",
            self.recovery
                .map_or("never".to_owned(), |took| format!("after {took:.1?}")),
            count(&self.probes),
            count(&self.probes_failed),
            mib(self.peak_rss_bytes),
        );
    }

    /// Returns the samples, in the order of [`measures`]. Without a refusal its time is no number.
    fn samples(&self) -> [f64; 7] {
        let refusals = self.tally.refusals.lock();
        let mut refusals = refusals.expect("no thread panicked").clone();
        refusals.sort_unstable();
        let refused = (!refusals.is_empty()).then(|| milliseconds(p99(&refusals)));

        [
            milliseconds(self.before.p99),
            milliseconds(self.during.p99),
            number(self.during.answered),
            number(self.during.failed),
            self.recovery.map_or(f64::NAN, milliseconds),
            refused.unwrap_or(f64::NAN),
            mib(self.peak_rss_bytes),
        ]
    }

    fn check(&self, name: &'static str, watched: Duration) -> Result<(), OverloadError> {
        if self.during.answered == 0 {
            return Err(OverloadError::Silenced(name));
        }
        if self.recovery.is_none() {
            return Err(OverloadError::Slow(name, watched));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shed_times_are_named_only_where_there_are_some() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        let expected = "shed by 429 or 503: 100, within p50 50.0ms, p99 99.0ms";
        assert_eq!(shed(&times), expected);
        assert!(!shed(&[]).contains("p99"));
    }
}
