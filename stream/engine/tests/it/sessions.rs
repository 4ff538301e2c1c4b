//! Sessions: records are read in any order by any number of workers, and processes die meanwhile;
//! the valid rows must be the sessions that sorting and splitting the records gives.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use record_log::simulated::SimulatedLog;
use stream::{Count, Job, Output, Pipeline, Run, Session, SessionWindows, Settings, Stop};

use crate::cluster::Processes;
use crate::crashes::{Life, any_fault, live};
use crate::fallback::{damage_newest, lenient};
use crate::oracle::{Summary, World, decode, random, settings, write};

/// A world whose job counts sessions.
struct Visits {
    world: World,
    sessions: SessionWindows,
    gap_ms: u64,
    limit_ms: u64,
}

/// A row of the results.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Emitted {
    key: u64,
    first_ms: u64,
    revision: u64,
    last_ms: u64,
    count: u64,
    is_gone: bool,
}

impl Visits {
    /// Draws session windows, with panes as long as the gap or much shorter ones.
    fn new(random: &mut SmallRng) -> Self {
        let ms = Duration::from_millis;
        let (gap_ms, limit_ms, pane_ms) = [
            (10, 60, None),
            (20, 100, Some(10)),
            (30, 90, Some(30)),
            (25, 50, Some(5)),
        ][random.random_range(0..4)];
        let sessions = SessionWindows::new(ms(gap_ms), ms(limit_ms)).unwrap();
        let sessions = pane_ms.map_or(sessions, |pane_ms| {
            sessions.in_panes_of(ms(pane_ms)).unwrap()
        });
        let world = World::new(sessions.cut_to(), random.random_range(1..=4));

        Self {
            world,
            sessions,
            gap_ms,
            limit_ms,
        }
    }

    fn job(&self, log: SimulatedLog, settings: &Settings) -> Run<u64, Session<Count>> {
        self.world.run_of(self.pipeline(), log, settings)
    }

    fn run(&self, settings: &Settings) {
        self.job(self.world.log.clone(), settings)
            .run(&Stop::default())
            .unwrap();
    }

    /// Defines a job that counts sessions, and totals each window with its first three keys.
    fn pipeline(&self) -> Pipeline<u64, Session<Count>> {
        Job::new("counts")
            .source("events", decode)
            .sessions(self.sessions)
            .aggregate(|key: u64| [(key, Count(1))])
            .sink("counts", |row, output: &mut Output| {
                let Session {
                    last_ms,
                    aggregate: Count(count),
                    ..
                } = row.aggregate;
                write(
                    &[
                        row.key,
                        row.window_start,
                        row.revision.into(),
                        last_ms,
                        count,
                        row.is_gone.into(),
                    ],
                    output,
                );
            })
            .summarize(
                "totals",
                3,
                |(key, one), (other_key, other)| {
                    (std::cmp::Reverse(one.aggregate), key)
                        .cmp(&(std::cmp::Reverse(other.aggregate), other_key))
                },
                |totals, output| {
                    let mut numbers = vec![
                        totals.window_start,
                        totals.revision().into(),
                        totals.keys,
                        totals.aggregate.aggregate.0,
                    ];

                    numbers.extend(
                        totals
                            .top
                            .iter()
                            .flat_map(|(key, session)| [*key, session.aggregate.0]),
                    );
                    write(&numbers, output);
                },
            )
    }

    /// Compares all committed results with a plain recount.
    fn check(&self) {
        let emitted = self.emitted();
        for rows in
            emitted.chunk_by(|one, next| (one.key, one.first_ms) == (next.key, next.first_ms))
        {
            let revisions: Vec<u64> = rows.iter().map(|row| row.revision).collect();
            assert_eq!(
                revisions,
                (0..).take(rows.len()).collect::<Vec<_>>(),
                "each revision comes once: {rows:?}"
            );
        }
        self.check_valid();
    }

    /// Compares the valid rows with a plain recount, for a job that may have lost checkpoints.
    fn check_valid(&self) {
        let expected = self.recounted();
        let valid = valid(&self.emitted());
        let found: Vec<_> = valid
            .iter()
            .map(|row| (row.key, row.first_ms, row.last_ms, row.count))
            .collect();
        assert_eq!(found, expected);

        let mut summaries: BTreeMap<u64, Summary> = BTreeMap::new();
        for sessions in expected
            .chunk_by(|one, next| one.0 == next.0 && self.cut_of(one.1) == self.cut_of(next.1))
        {
            let (keys, total, top) = summaries.entry(self.cut_of(sessions[0].1)).or_default();
            let count: u64 = sessions.iter().map(|session| session.3).sum();
            (*keys, *total) = (*keys + 1, *total + count);
            top.push((sessions[0].0, count));
            top.sort_by_key(|(key, count)| (std::cmp::Reverse(*count), *key));
            top.truncate(3);
        }

        assert_eq!(self.world.summaries(), summaries);
    }

    /// Returns all rows, in order.
    fn emitted(&self) -> Vec<Emitted> {
        let emitted = |n: &Vec<u64>| Emitted {
            key: n[0],
            first_ms: n[1],
            revision: n[2],
            last_ms: n[3],
            count: n[4],
            is_gone: n[5] == 1,
        };
        let mut all: Vec<Emitted> = self.world.numbers("counts").iter().map(emitted).collect();
        all.sort_unstable();

        all
    }

    /// Returns key, first and last event, and count of all sessions, in order.
    fn recounted(&self) -> Vec<(u64, u64, u64, u64)> {
        let late = self.world.side_outputs("late");
        let dead = self.world.side_outputs("dead-letter");
        let mut events: Vec<(u64, u64)> = Vec::new();

        for (position, event) in &self.world.records {
            assert_eq!(
                event.is_none(),
                dead.contains(position),
                "record {position:?} is {event:?}"
            );
            events.extend(event.filter(|_| !late.contains(position)));
        }

        events.sort_unstable();
        let together = |one: &(u64, u64), next: &(u64, u64)| {
            one.0 == next.0
                && next.1 - one.1 <= self.gap_ms
                && self.cut_of(one.1) == self.cut_of(next.1)
        };

        let session =
            |run: &[(u64, u64)]| (run[0].0, run[0].1, run[run.len() - 1].1, run.len() as u64);
        events.chunk_by(together).map(session).collect()
    }

    /// Returns the start of the window that contains an event and bounds its session.
    fn cut_of(&self, time: u64) -> u64 {
        time / self.limit_ms * self.limit_ms
    }
}

/// Returns the valid rows among all emitted ones, in order: the highest revision of each, except
/// retracted rows and rows that overlap a session of a later line of history.
fn valid(emitted: &[Emitted]) -> Vec<Emitted> {
    let newest = emitted.chunk_by(|one, next| (one.key, one.first_ms) == (next.key, next.first_ms));
    let newest: Vec<Emitted> = newest.filter_map(|rows| rows.last().copied()).collect();
    let line = |row: &Emitted| row.revision / 1_000_000;

    let is_replaced = |row: &Emitted| {
        newest.iter().any(|other| {
            other.key == row.key
                && line(other) > line(row)
                && (other.first_ms..=other.last_ms).contains(&row.first_ms)
        })
    };

    newest
        .iter()
        .filter(|row| !row.is_gone && !is_replaced(row))
        .copied()
        .collect()
}

#[test]
fn sessions_equal_a_plain_recount_for_any_settings() {
    let mut corrected = 0;
    let mut gone = 0;
    for seed in 1..=60 {
        let mut random = random(seed);
        let mut visits = Visits::new(&mut random);
        let first = settings(&mut random);

        for _ in 0..random.random_range(1..=4) {
            visits
                .world
                .publish(random.random_range(0..200), &mut random);

            let settings = Settings {
                workers: random.random_range(1..=4),
                ..first.clone()
            };

            println!(
                "seed {seed}: {} records, {:?}, {settings:?}",
                visits.world.records.len(),
                visits.sessions
            );

            visits.run(&settings);
            visits.check();
        }

        corrected += visits
            .emitted()
            .iter()
            .filter(|row| row.revision > 0 && !row.is_gone)
            .count();
        gone += visits.emitted().iter().filter(|row| row.is_gone).count();
    }

    assert!(
        corrected > 100 && gone > 100,
        "{corrected} rows were corrected, {gone} sessions absorbed"
    );
}

#[test]
fn whatever_call_a_job_dies_at_every_session_is_emitted_once() {
    let mut deaths = 0;
    for seed in 1..=40 {
        let mut random = random(seed);
        let mut visits = Visits::new(&mut random);
        let first = settings(&mut random);

        for _ in 0..random.random_range(2..=5) {
            visits
                .world
                .publish(random.random_range(0..80), &mut random);

            let settings = Settings {
                workers: random.random_range(1..=3),
                ..first.clone()
            };

            let (at, fault) = any_fault(&mut random);
            println!(
                "seed {seed}: {} records, {fault:?} at call {at}, {settings:?}",
                visits.world.records.len()
            );

            let life = live(&visits.world.log, (at, fault), |log| {
                visits.job(log, &settings)
            });
            deaths += u64::from(life == Life::Died);
        }

        visits.run(&first);
        visits.check();
    }

    assert!(deaths > 20, "jobs die in this test: {deaths}");
}

#[test]
fn every_session_is_emitted_once_whichever_process_dies() {
    let mut again = 0;
    for seed in 1..=15 {
        let mut random = random(seed);
        let mut visits = Visits::new(&mut random);
        let first = settings(&mut random);

        for _ in 0..2 {
            visits
                .world
                .publish(random.random_range(30..100), &mut random);

            let settings = Settings {
                workers: random.random_range(1..=2),
                ..first.clone()
            };

            let processes = random.random_range(2..=3);
            let (at, fault) = any_fault(&mut random);
            let death = Some((random.random_range(0..processes), at % 25, fault));

            println!(
                "seed {seed}: {} records, {death:?} of {processes}, {settings:?}",
                visits.world.records.len()
            );

            let job = |_, log| visits.job(log, &settings);
            again += Processes::new(processes).run_jobs(&visits.world.log, job, death)
                - processes as u64;
            visits.check();
        }
    }

    assert!(
        again > 15,
        "processes are started again in this test: {again}"
    );
}

#[test]
fn sessions_of_a_new_line_replace_those_of_lost_checkpoints() {
    let mut replaced = 0;
    for seed in 1..=30 {
        let mut random = random(seed);
        let mut visits = Visits::new(&mut random);
        let first = lenient(settings(&mut random));

        for _ in 0..random.random_range(2..=4) {
            visits
                .world
                .publish(random.random_range(0..150), &mut random);

            let settings = Settings {
                workers: random.random_range(1..=3),
                ..first.clone()
            };

            println!(
                "seed {seed}: {} records, {settings:?}",
                visits.world.records.len()
            );

            visits.run(&settings);
            visits.check_valid();
            damage_newest(&visits.world, &mut random);
        }
        replaced += u64::from(visits.emitted().iter().any(|row| row.revision >= 1_000_000));
    }

    assert!(replaced > 10, "{replaced} jobs replaced results");
}
