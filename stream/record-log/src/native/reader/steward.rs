//! The steward of a reader: a thread that looks up the leaders of partitions, and starts a fetcher for each broker.
//!
//! ```text
//!            no leader known              leader known, nothing waiting
//! steward ◀───────────────── partition ─────────────────────────────▶ fetcher of that broker
//!     └── metadata ──────▶ leader             records, end, found ◀──── answer
//! ```
//!
//! A fetcher has one connection and one session. After any failure its partitions have no leader; the
//! steward requests metadata, with a growing pause while this does not help, and gives each partition its leader.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fetcher::Fetcher;
use super::shared::{Found, Shared, Slot, State};
use crate::native::cluster::{Cluster, Leader};

/// The pauses between tries to find leaders.
const LEAST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// If leaders were found longer ago than this, they were valid, and the pauses begin with the shortest again.
const SETTLED: Duration = Duration::from_secs(10);

/// Starts the steward, and by it the fetchers. All of them end when the reader closes.
pub(super) fn start(cluster: &Arc<Cluster>, shared: &Arc<Shared>) -> std::io::Result<()> {
    let mut steward = Steward {
        cluster: Arc::clone(cluster),
        shared: Arc::clone(shared),
        fetchers: BTreeSet::new(),
        pause: LEAST_PAUSE,
    };

    let run = Box::new(move || steward.run());
    shared.runtime.spawn("kafka-leaders".to_owned(), run)
}

/// The next step of the steward.
enum Task {
    FindLeaders,
    /// Starts the fetcher of a follower that a leader has named.
    StartFetcher(i32),
}

struct Steward {
    cluster: Arc<Cluster>,
    shared: Arc<Shared>,
    fetchers: BTreeSet<i32>,
    pause: Duration,
}

impl Steward {
    fn run(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut found_at: Option<Instant> = None;
        while let Some(task) = shared.wait_for(|state| self.task(state)) {
            if let Task::StartFetcher(node) = task {
                self.start_follower(node);
                continue;
            }

            if found_at.is_some_and(|at| shared.runtime.since(at) > SETTLED) {
                self.pause = LEAST_PAUSE;
            } else if found_at.is_some() {
                self.shared.pause(self.pause);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }

            self.find_leaders();
            found_at = Some(shared.runtime.now());
        }
    }

    /// Returns the next task; none if there is nothing to do.
    fn task(&self, state: &State) -> Option<Task> {
        let sources = state.slots.iter().filter_map(Slot::source);
        let mut unserved = sources.filter(|node| !self.fetchers.contains(node));
        if let Some(node) = unserved.next() {
            return Some(Task::StartFetcher(node));
        }
        is_leader_missing(state).then_some(Task::FindLeaders)
    }

    /// Starts the fetcher of a follower. If that fails, the leaders are read instead.
    fn start_follower(&mut self, node: i32) {
        if let Some(Found::Failing(error)) = self.see_to_fetcher(node) {
            tracing::warn!(broker = node, %error, "a follower cannot be read from");
            let now = self.shared.runtime.now();
            let mut state = self.shared.state();
            let followed = state.slots.iter_mut();
            followed
                .filter(|slot| slot.replica.follower() == Some(node))
                .for_each(|slot| slot.leave_follower(now));
        }
        self.shared.notify();
    }

    fn find_leaders(&mut self) {
        let found = match self.cluster.topic(&self.shared.topic) {
            Ok(Some(topic)) if topic.id == self.shared.topic_id => {
                let nodes = self.give_leaders(&topic.leaders);
                nodes.into_iter().find_map(|node| self.see_to_fetcher(node))
            }
            Ok(Some(_)) => Some(Found::Recreated),
            Ok(None) => Some(Found::NoTopic),
            Err(error) => Some(Found::from(&error)),
        };

        if let Some(found) = found {
            let mut state = self.shared.state();
            let leaderless = state.slots.iter_mut().filter(|slot| slot.leader.is_none());
            leaderless.for_each(|slot| slot.found = Some(found.clone()));
        }

        self.shared.notify();
        self.shared.wake();
    }

    /// Assigns leaders to the partitions without one, and returns the brokers that must be fetched from.
    fn give_leaders(&self, leaders: &[Leader]) -> BTreeSet<i32> {
        let mut state = self.shared.state();
        for slot in &mut state.slots {
            let leader = leaders.get(slot.partition as usize);
            // A broker that lags behind may still name an earlier leader.
            let leader =
                leader.filter(|leader| leader.node >= 0 && leader.epoch >= slot.newest_epoch);

            if let (None, Some(leader)) = (slot.leader, leader) {
                slot.leader = Some(*leader);
                slot.newest_epoch = leader.epoch;
            }
        }

        let leaders = state.slots.iter().filter_map(|slot| slot.leader);
        leaders.map(|leader| leader.node).collect()
    }

    /// Starts the broker's fetcher unless it runs. Returns the failure, if there is one.
    fn see_to_fetcher(&mut self, node: i32) -> Option<Found> {
        if !self.fetchers.insert(node) {
            return None;
        }

        let mut fetcher = Fetcher::new(&self.cluster, &self.shared, node);
        let run = Box::new(move || fetcher.run());
        let runtime = &self.shared.runtime;
        let started = runtime.spawn(format!("kafka-fetch-{node}"), run);

        started.err().map(|error| {
            self.fetchers.remove(&node);
            Found::Failing(format!("cannot start a thread: {error}").into())
        })
    }
}

fn is_leader_missing(state: &State) -> bool {
    state
        .slots
        .iter()
        .any(|slot| slot.leader.is_none() && !slot.found.as_ref().is_some_and(Found::stays))
}
