//! A customer at another address than the attacker's, who requests the catalogue all the time.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::blocking::Client;

/// The customer's address: all of 127.0.0.0/8 is this machine.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
/// The pause between two requests.
const PAUSE: Duration = Duration::from_millis(10);
/// The time limit of a request.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// One request, and the time to its answer.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// The time at which it was sent.
    pub at: Instant,
    /// The time to the answer, if it was a success.
    pub took: Option<Duration>,
}

/// The answers for a customer within a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Service {
    /// Requests that were answered.
    pub answered: usize,
    /// Requests that failed.
    pub failed: usize,
    /// The 99th percentile of the times of those that were answered.
    pub p99: Duration,
}

/// Visits `url` until it is over, and notes each visit.
pub fn visit(url: &str, is_over: &AtomicBool, visits: &Mutex<Vec<Visit>>) -> reqwest::Result<()> {
    let client = Client::builder()
        .local_address(ADDRESS)
        .timeout(CALL_LIMIT)
        .no_proxy()
        .build()?;

    while !is_over.load(Ordering::Relaxed) {
        let at = Instant::now();
        let answer = client.get(url).send();
        let took = answer
            .and_then(|answer| answer.error_for_status()?.bytes())
            .ok()
            .map(|_| at.elapsed());

        visits
            .lock()
            .expect("no thread panics while it holds the lock")
            .push(Visit { at, took });
        thread::sleep(PAUSE);
    }

    Ok(())
}

impl Service {
    /// Returns the totals of the visits within the time.
    pub fn between(visits: &[Visit], from: Instant, to: Instant) -> Self {
        let during = visits.iter().filter(|visit| (from..to).contains(&visit.at));
        let mut times: Vec<_> = during.clone().filter_map(|visit| visit.took).collect();
        times.sort_unstable();

        Self {
            answered: times.len(),
            failed: during.count() - times.len(),
            p99: p99(&times),
        }
    }
}

/// Returns the median of sorted times; 0 of none.
pub fn median(times: &[Duration]) -> Duration {
    percentile(times, 50)
}

/// Returns the 99th percentile of sorted times; 0 of none.
pub fn p99(times: &[Duration]) -> Duration {
    percentile(times, 99)
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}

/// Returns the time after `from` until visits are as quick as before: `enough` in a row within
/// `limit`. None if they never are.
pub fn recovery(
    visits: &[Visit],
    from: Instant,
    limit: Duration,
    enough: usize,
) -> Option<Duration> {
    let after: Vec<_> = visits.iter().filter(|visit| visit.at >= from).collect();
    let is_quick = |visit: &&Visit| visit.took.is_some_and(|took| took <= limit);
    let run = after.windows(enough).find(|run| run.iter().all(is_quick))?;
    Some(run[0].at - from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Returns one visit each millisecond; 0 is a failure.
    fn visits(begun: Instant, took_ms: &[u32]) -> Vec<Visit> {
        let visit = |(number, took): (u32, &u32)| Visit {
            at: begun + MS * number,
            took: (*took > 0).then(|| MS * *took),
        };
        (0..).zip(took_ms).map(visit).collect()
    }

    #[test]
    fn a_service_counts_what_fell_into_its_time() {
        let begun = Instant::now();
        let visits = visits(begun, &[9, 1, 2, 0, 3, 9]);
        let service = Service::between(&visits, begun + MS, begun + MS * 5);
        let expected = Service {
            answered: 3,
            failed: 1,
            p99: MS * 3,
        };
        assert_eq!(service, expected);
    }

    #[test]
    fn the_99th_percentile_leaves_one_of_a_hundred_out() {
        let times: Vec<_> = (1..=100).map(|ms| MS * ms).collect();
        assert_eq!((median(&times), p99(&times)), (MS * 50, MS * 99));
        assert_eq!(p99(&times[..1]), MS);
        assert_eq!(p99(&[]), Duration::ZERO);
    }

    #[test]
    fn a_recovery_is_a_run_of_quick_visits() {
        let begun = Instant::now();
        let visits = visits(begun, &[1, 9, 0, 1, 9, 1, 2, 1]);
        let after = |enough| recovery(&visits, begun + MS, MS * 2, enough);
        assert_eq!(after(1), Some(MS * 2));
        assert_eq!(after(3), Some(MS * 4));
        assert_eq!(after(4), None);
        assert_eq!(recovery(&visits, begun, MS * 2, 1), Some(Duration::ZERO));
    }
}
