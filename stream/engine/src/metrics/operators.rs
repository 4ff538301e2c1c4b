//! The time of the operators of a process: computing, idle, or waiting.
//!
//! An operator turns its [`Timer`] when its [`Activity`] changes: twice for each time that it is scheduled, never for a
//! record. The shares of the last seconds show where the job is held back: an operator that waits for the store or the
//! log holds back those before it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// The least time that the shares cover, once the operators have run for as long. The most is twice that.
const WINDOW: Duration = Duration::from_secs(5);

/// An operator of the dataflow, in the order of the records' path.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum OperatorName {
    Read,
    ClosePanes,
    ProcessKeys,
    WriteParts,
    WriteManifests,
    CloseWindows,
    Commit,
}

impl OperatorName {
    /// Returns its name: a label of metrics, and a field of the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ClosePanes => "close_panes",
            Self::ProcessKeys => "process_keys",
            Self::WriteParts => "write_parts",
            Self::WriteManifests => "write_manifests",
            Self::CloseWindows => "close_windows",
            Self::Commit => "commit",
        }
    }
}

/// The work of an operator at a moment, or its wait.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Activity {
    /// It computes.
    Busy,
    /// It has nothing to do, or other operators of its worker compute.
    Idle,
    /// All records of the log are read.
    AwaitsRecords,
    /// Too many windows wait for a partition with older events.
    AwaitsEventTime,
    /// Too many results are not committed.
    AwaitsCommits,
    /// Too many side outputs are not published.
    AwaitsSideOutputs,
    /// The object store has not answered yet.
    AwaitsStore,
    /// The log has not answered yet.
    AwaitsLog,
}

/// All activities, in their order.
const ACTIVITIES: [Activity; 8] = [
    Activity::Busy,
    Activity::Idle,
    Activity::AwaitsRecords,
    Activity::AwaitsEventTime,
    Activity::AwaitsCommits,
    Activity::AwaitsSideOutputs,
    Activity::AwaitsStore,
    Activity::AwaitsLog,
];

impl Activity {
    /// Returns its name: a label of metrics, and a field of the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::AwaitsRecords => "waits_for_records",
            Self::AwaitsEventTime => "waits_for_event_time",
            Self::AwaitsCommits => "waits_for_commits",
            Self::AwaitsSideOutputs => "waits_for_side_outputs",
            Self::AwaitsStore => "waits_for_store",
            Self::AwaitsLog => "waits_for_log",
        }
    }
}

/// An operator's shares of the time of its workers, over the last seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OperatorStatus {
    /// Its name: `read`, `close_panes`, `process_keys`, `write_parts`, `write_manifests`, `close_windows` or `commit`.
    pub operator: &'static str,
    /// The shares by activity, from 0 to 1: `busy`, `idle`, and `waits_for_` with `records`, `event_time`, `commits`,
    /// `side_outputs`, `store` or `log`. Those that are 0 are left out.
    pub shares: BTreeMap<&'static str, f64>,
}

/// The time that one operator of one worker has spent.
#[derive(Clone, Debug, Default)]
pub struct Timer(Arc<Mutex<Spent>>);

#[derive(Debug, Default)]
struct Spent {
    /// The time of each activity in [`ACTIVITIES`]; none before its first end. An array, because a map took 3 % of the
    /// instructions of an event.
    by_activity: [Option<Duration>; ACTIVITIES.len()],
    current: Option<(Activity, Instant)>,
}

impl Timer {
    /// Ends the current activity, and begins another one.
    pub fn turn(&self, to: Activity) {
        self.turn_at(to, Instant::now());
    }

    fn turn_at(&self, to: Activity, now: Instant) {
        let mut spent = self.lock();
        spent.end(now);
        spent.current = Some((to, now));
    }

    /// Ends the current activity.
    fn stop(&self, now: Instant) {
        self.lock().end(now);
    }

    /// Returns the time until `now` by activity, that of the current one included.
    fn until(&self, now: Instant) -> BTreeMap<Activity, Duration> {
        let spent = self.lock();
        let totals = ACTIVITIES.into_iter().zip(spent.by_activity);
        let mut by_activity: BTreeMap<Activity, Duration> = totals
            .filter_map(|(activity, total)| Some((activity, total?)))
            .collect();
        if let Some((activity, since)) = spent.current {
            *by_activity.entry(activity).or_default() += now.saturating_duration_since(since);
        }
        by_activity
    }

    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spent {
    fn end(&mut self, now: Instant) {
        if let Some((activity, since)) = self.current.take() {
            let total = &mut self.by_activity[activity as usize];
            *total = Some(total.unwrap_or_default() + now.saturating_duration_since(since));
        }
    }
}

/// The time of an operator on a worker by activity.
type Totals = BTreeMap<(OperatorName, usize), BTreeMap<Activity, Duration>>;

/// The timers of a process. Clones share them.
#[derive(Clone, Debug)]
pub struct OperatorTimes(Arc<Mutex<Times>>);

#[derive(Debug)]
struct Times {
    timers: BTreeMap<(OperatorName, usize), Timer>,
    /// The beginning of the time that the shares cover.
    older: Sample,
    newer: Sample,
}

/// The totals at a moment.
#[derive(Clone, Debug)]
struct Sample {
    at: Instant,
    totals: Totals,
}

impl OperatorTimes {
    /// Creates times without a timer.
    pub fn new() -> Self {
        let now = Sample {
            at: Instant::now(),
            totals: Totals::new(),
        };

        Self(Arc::new(Mutex::new(Times {
            timers: BTreeMap::new(),
            older: now.clone(),
            newer: now,
        })))
    }

    /// Returns the timer of an operator on a worker. Every attempt has the same one: totals never fall.
    pub fn timer(&self, operator: OperatorName, worker: usize) -> Timer {
        self.lock()
            .timers
            .entry((operator, worker))
            .or_default()
            .clone()
    }

    /// Stops all timers: the attempt has ended.
    pub fn stop(&self) {
        let now = Instant::now();
        self.lock()
            .timers
            .values()
            .for_each(|timer| timer.stop(now));
    }

    /// Returns the time of each operator on each worker by activity.
    pub fn totals(&self) -> Totals {
        self.lock().totals(Instant::now())
    }

    /// Returns the shares of the last seconds.
    pub fn shares(&self) -> Vec<OperatorStatus> {
        self.lock().shares(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Times {
    fn totals(&self, now: Instant) -> Totals {
        let timers = self.timers.iter();
        timers.map(|(of, timer)| (*of, timer.until(now))).collect()
    }

    fn shares(&mut self, now: Instant) -> Vec<OperatorStatus> {
        let totals = self.totals(now);
        if now.saturating_duration_since(self.newer.at) >= WINDOW {
            let newer = Sample {
                at: now,
                totals: totals.clone(),
            };
            self.older = std::mem::replace(&mut self.newer, newer);
        }

        let mut by_operator: BTreeMap<OperatorName, BTreeMap<&'static str, f64>> = BTreeMap::new();
        for (of, activities) in &totals {
            let before = self.older.totals.get(of);
            let shares = by_operator.entry(of.0).or_default();
            for (activity, total) in activities {
                let before = before.and_then(|before| before.get(activity)).copied();
                let spent = total.saturating_sub(before.unwrap_or_default());
                *shares.entry(activity.name()).or_default() += spent.as_secs_f64();
            }
        }

        by_operator
            .into_iter()
            .filter_map(|(operator, shares)| status(operator, shares))
            .collect()
    }
}

/// Returns the shares of an operator, where each activity took `seconds` on all workers together; none if it was stopped all the time.
fn status(operator: OperatorName, seconds: BTreeMap<&'static str, f64>) -> Option<OperatorStatus> {
    let all: f64 = seconds.values().sum();
    let share = |(activity, seconds): (_, f64)| (activity, (seconds / all * 1e4).round() / 1e4);
    let shares = seconds.into_iter().map(share);

    (all > 0.0).then(|| OperatorStatus {
        operator: operator.name(),
        shares: shares.filter(|(_, share)| *share > 0.0).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares_at(times: &OperatorTimes, now: Instant) -> BTreeMap<&'static str, f64> {
        let mut all = times.lock().shares(now);
        all.pop().map(|status| status.shares).unwrap_or_default()
    }

    #[test]
    fn the_shares_of_the_workers_are_those_of_the_last_seconds() {
        let times = OperatorTimes::new();
        let begin = times.lock().newer.at;
        let after = |seconds| begin + Duration::from_secs(seconds);
        let workers = [0, 1].map(|worker| times.timer(OperatorName::Read, worker));
        workers[0].turn_at(Activity::Busy, begin);
        workers[1].turn_at(Activity::AwaitsRecords, begin);

        let half = BTreeMap::from([("busy", 0.5), ("waits_for_records", 0.5)]);
        assert_eq!(shares_at(&times, after(5)), half);
        workers[0].turn_at(Activity::AwaitsRecords, after(5));
        assert_eq!(shares_at(&times, after(9)).get("busy"), Some(&0.2778));

        let waiting = BTreeMap::from([("waits_for_records", 1.0)]);
        assert_eq!(shares_at(&times, after(10)), waiting, "of the last 5 s");
        workers[1].turn_at(Activity::Busy, after(10));
        assert_eq!(shares_at(&times, after(14)).get("busy"), Some(&0.2222));
    }

    #[test]
    fn a_wait_that_has_not_ended_is_counted() {
        let times = OperatorTimes::new();
        let begin = times.lock().newer.at;
        let store = times.timer(OperatorName::WriteParts, 0);
        store.turn_at(Activity::AwaitsStore, begin);

        let hour = begin + Duration::from_secs(3_600);
        assert_eq!(shares_at(&times, hour).get("waits_for_store"), Some(&1.0));
    }

    #[test]
    fn an_attempt_that_has_ended_spends_no_time() {
        let times = OperatorTimes::new();
        let timer = times.timer(OperatorName::Commit, 0);
        timer.turn(Activity::AwaitsLog);
        times.stop();

        let total = times.totals();
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(times.lock().totals(later), total);
        let again = times.timer(OperatorName::Commit, 0);
        again.turn(Activity::Busy);
        assert!(
            times.totals().values().all(|it| it.len() == 2),
            "the total stays"
        );
    }
}
