//! The whole job under a simulated store, log and clock. It is killed before and after every call
//! on the store and the log, and again while it recovers; calls may also fail without a death. In
//! every case the committed results equal those of a plain recount.
//!
//! The sweeps take every call of one life in turn. `TIDEMARK_TEST_SCHEDULES` sets the number of
//! random schedules, and `TIDEMARK_TEST_SEED` the first seed. A schedule that fails prints how to
//! repeat it.

#![allow(clippy::print_stdout, reason = "a test that fails shows its schedule")]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use stream::{CheckpointStore, Guarantee, JobError, Settings, Windows};

use crate::fallback::{damage_newest, lenient};
use crate::fate::{Blow, Doom, Fate, LOG_CALLS, MERGE_CALLS, STORE_CALLS};
use crate::misbehaviour::{Misbehaving, Misbehaviour, recreate};
use crate::mortal::MortalStore;
use crate::oracle::{Form, World, random, settings, windows};

/// How a life ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Finished,
    Died,
    /// The store refused a call for longer than the limit: the job reports it, and ends.
    Refused,
}

/// Runs the job in a process with that fate.
fn live(world: &World, settings: &Settings, fate: &Arc<Fate>) -> End {
    let objects = MortalStore::new(&world.objects, fate);
    let store = CheckpointStore::new(Arc::new(objects), Path::default(), "counts")
        .with_refusal_limit(Duration::from_millis(20));

    let log = fate.log(&world.log);
    let life = || world.run_on(log, store, settings);
    match std::thread::scope(|scope| scope.spawn(life).join()) {
        _ if fate.is_dead() => End::Died,
        Ok(Ok(())) => End::Finished,
        Ok(Err(error @ (JobError::Store(_) | JobError::Recover(_)))) if fate.is_forbidden() => {
            assert!(
                error.to_string().starts_with("the object store refuses"),
                "{error}"
            );
            End::Refused
        }
        other => panic!("a process that did not die ended with {other:?}"),
    }
}

/// The numbers of records that are published before two lives, and the lateness that is allowed.
#[derive(Clone, Copy)]
struct History {
    form: Form,
    /// The number of partitions of the second topic, if there is one.
    second_topic: Option<u32>,
    lateness_ms: u64,
    first: usize,
    second: usize,
}

/// A history that is long enough for old parts to be deleted.
const SHORT: History = History {
    form: Form::Counting,
    second_topic: None,
    lateness_ms: 10,
    first: 30,
    second: 90,
};
/// A history in which parts are merged, and merged parts are deleted.
const LONG: History = History {
    form: Form::Counting,
    second_topic: None,
    lateness_ms: 100,
    first: 90,
    second: 300,
};

/// A short history of a job with stages behind the window of two topics.
const STAGED: History = History {
    form: Form::Staged,
    second_topic: Some(1),
    ..SHORT
};
/// A short history of a job without a window that reads two topics.
const PASSING: History = History {
    form: Form::Passing,
    second_topic: Some(1),
    ..SHORT
};
/// A short history of a job that joins two topics.
const JOINED: History = History {
    form: Form::LeftJoined,
    second_topic: Some(1),
    ..SHORT
};
/// The call that the first two of these jobs make only in a long history.
const LATE_CALL: &str = "delete parts";
const LONG_STAGED: History = History {
    form: Form::Staged,
    ..LONG
};
const LONG_PASSING: History = History {
    form: Form::Passing,
    ..LONG
};

/// Runs a life that meets `doom` at the end of a history, and then one that dies at random. Returns
/// whether the first life made the call.
fn happens(doom: Doom, history: History) -> bool {
    let mut random = random(doom.number + 1);
    let ms = Duration::from_millis;
    let mut world = World::new(
        Windows::tumbling(ms(20))
            .unwrap()
            .in_panes_of(ms(10))
            .unwrap(),
        2,
    );
    world.form = history.form;
    if let Some(partitions) = history.second_topic {
        world = world.and(partitions);
    }

    let settings = Settings {
        disorder: ms(7),
        allowed_lateness: ms(history.lateness_ms),
        // A pane takes several transactions.
        max_transaction_rows: 4,
        ..Settings::default()
    };

    world.publish(history.first, &mut random);
    world.run(&settings).unwrap();
    world.publish(history.second, &mut random);

    let fate = Fate::new(Some(doom), None);
    live(
        &world,
        &Settings {
            workers: 1,
            ..settings.clone()
        },
        &fate,
    );

    let again = Doom::any(&Blow::DEATHS, &mut random);
    live(
        &world,
        &Settings {
            workers: 3,
            ..settings.clone()
        },
        &Fate::new(Some(again), None),
    );

    world.run(&settings).unwrap();
    println!(
        "{doom:?}: {}, then {again:?}",
        if fate.is_met() { "met" } else { "not met" }
    );

    world.check();
    world.check_checkpoint();
    fate.is_met()
}

/// Applies each of `blows` to every call of those names in turn.
fn sweep(calls: &[&'static str], blows: &[Blow], history: History) {
    for &call in calls {
        let times = |blow: &Blow| {
            (0..)
                .take_while(|number| {
                    let doom = Doom {
                        call,
                        number: *number,
                        blow: *blow,
                    };
                    happens(doom, history)
                })
                .count()
        };
        if blows.iter().map(times).sum::<usize>() == 0 {
            meet(call, blows, history);
        }
    }
}

#[test]
fn before_and_after_whichever_call_on_store_or_log_a_life_ends_everything_is_counted_once() {
    sweep(&LOG_CALLS, &Blow::DEATHS, SHORT);
    sweep(&STORE_CALLS, &Blow::DEATHS, SHORT);
    sweep(&MERGE_CALLS, &Blow::DEATHS, LONG);
}

#[test]
fn whichever_call_on_store_or_log_fails_or_loses_its_reply_everything_is_counted_once() {
    sweep(&LOG_CALLS, &[Blow::LoseReply], SHORT);
    sweep(&STORE_CALLS, &Blow::ERRORS, SHORT);
    sweep(&STORE_CALLS, &[Blow::Forbid], SHORT);
    sweep(&MERGE_CALLS, &Blow::ERRORS, LONG);
}

#[test]
fn whichever_call_fails_or_kills_a_job_without_a_window_each_record_is_there_once() {
    sweep(&LOG_CALLS, &Blow::DEATHS, PASSING);
    sweep(&LOG_CALLS, &[Blow::LoseReply], PASSING);
    sweep(&early_calls(), &Blow::DEATHS, PASSING);
    sweep(&early_calls(), &Blow::ERRORS, PASSING);

    // A checkpoint names parts of this job only while their rows wait for their commit. On a fast machine none does, and
    // no part is left to be deleted. So the call is not demanded; where it happens, the rows are right after it.
    for &blow in Blow::DEATHS.iter().chain(&Blow::ERRORS) {
        let doom = Doom {
            call: LATE_CALL,
            number: 0,
            blow,
        };
        happens(doom, LONG_PASSING);
    }
}

#[test]
fn whichever_call_fails_or_kills_a_job_with_stages_its_rows_are_right() {
    sweep(&LOG_CALLS, &Blow::DEATHS, STAGED);
    sweep(&early_calls(), &Blow::DEATHS, STAGED);
    meet(LATE_CALL, &Blow::DEATHS, LONG_STAGED);
}

#[test]
fn whichever_call_fails_or_kills_a_job_of_two_topics_their_join_is_right() {
    sweep(&LOG_CALLS, &Blow::DEATHS, JOINED);
    sweep(&LOG_CALLS, &[Blow::LoseReply], JOINED);
    sweep(&early_calls(), &Blow::DEATHS, JOINED);
}

/// Applies each of `blows` to the first call of that name in a life. Lives are repeated until one makes the call: the
/// number of checkpoints in a life, and so of parts to delete, depends on the machine's speed.
fn meet(call: &'static str, blows: &[Blow], history: History) {
    for &blow in blows {
        let number = 0;
        let is_met = (0..40).any(|_| happens(Doom { call, number, blow }, history));
        assert!(is_met, "a job has to {call}");
    }
}

/// Returns the calls on the store that a job makes in a short history, too.
fn early_calls() -> Vec<&'static str> {
    let calls = STORE_CALLS.into_iter();
    calls.filter(|call| *call != LATE_CALL).collect()
}

#[test]
fn what_the_store_refuses_to_read_is_not_taken_for_damaged() {
    let mut random = random(2);
    let mut world = World::new(windows(&mut random), 2);
    let settings = settings(&mut random);

    for call in ["read manifests", "read parts"] {
        world.publish(60, &mut random);
        world.run(&settings).unwrap();
        let refusal = Fate::new(
            Some(Doom {
                call,
                number: 0,
                blow: Blow::Forbid,
            }),
            None,
        );
        assert_eq!(live(&world, &settings, &refusal), End::Refused);
        world.run(&settings).unwrap();
        world.check();
    }

    assert!(world.highest_revision() < 1_000_000, "nothing was replaced");
}

/// Prints how to repeat a schedule that fails.
struct Repeat(u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            println!(
                "repeat with TIDEMARK_TEST_SEED={seed} TIDEMARK_TEST_SCHEDULES=1 cargo test -p stream whatever_lives"
            );
        }
    }
}

/// The differences between schedules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    ExactlyOnce,
    AtLeastOnce,
    /// Some of the newest manifests are damaged between lives.
    Damaged,
    /// The log loses the progress of some or all sink slots between lives.
    ProgressLost,
}

impl Kind {
    fn any(random: &mut SmallRng) -> Self {
        [
            Self::ExactlyOnce,
            Self::ExactlyOnce,
            Self::AtLeastOnce,
            Self::Damaged,
            Self::ProgressLost,
        ][random.random_range(0..5)]
    }

    fn settings(self, settings: Settings) -> Settings {
        match self {
            Self::ExactlyOnce | Self::ProgressLost => settings,
            Self::AtLeastOnce => Settings {
                guarantee: Guarantee::AtLeastOnce,
                ..settings
            },
            Self::Damaged => lenient(settings),
        }
    }

    /// Draws the lateness that a life allows: often another one than in the life before, unless
    /// history is to branch.
    fn lateness(self, usual: Duration, random: &mut SmallRng) -> Duration {
        let others = [
            usual,
            usual,
            Duration::ZERO,
            Duration::from_millis(40),
            Duration::from_secs(1),
        ];

        if self == Self::Damaged {
            usual
        } else {
            others[random.random_range(0..others.len())]
        }
    }

    fn check(self, world: &World) {
        match self {
            Self::ExactlyOnce => world.check(),
            Self::AtLeastOnce | Self::Damaged | Self::ProgressLost => {
                world.check_but_for_repeated_side_outputs();
            }
        }
    }
}

/// The events in schedules.
#[derive(Default)]
struct Happened {
    deaths: u64,
    /// Merged parts that were written, or may have been.
    merges: u64,
    recreated: u64,
    misbehaviours: BTreeMap<Misbehaviour, u64>,
}

impl Happened {
    fn add(&mut self, other: Self) {
        self.deaths += other.deaths;
        self.merges += other.merges;
        self.recreated += other.recreated;
        for (misbehaviour, count) in other.misbehaviours {
            *self.misbehaviours.entry(misbehaviour).or_default() += count;
        }
    }
}

/// Runs several lives with any number of workers, each with a random fault and on a log that misbehaves.
fn schedule(seed: u64) -> Happened {
    let _repeat = Repeat(seed);
    let mut random = random(seed);
    let kind = Kind::any(&mut random);
    let mut world = World::new(windows(&mut random), random.random_range(1..=4));
    if random.random_bool(0.6) {
        world = world.and(random.random_range(1..=3));
    }
    world.form = any_form(&world, &mut random);
    world.may_repeat = kind == Kind::AtLeastOnce;
    world.has_copies = random.random_bool(0.5);
    world.is_filtered = random.random_bool(0.4);
    world.malformed = *[0.03, 0.3, 0.95].choose(&mut random).unwrap();
    world.behind = *[0.1, 0.5, 0.95].choose(&mut random).unwrap();

    let mut misbehaving = Misbehaving::new(&world, kind == Kind::Damaged, &mut random);
    let first = misbehaving.settings(kind.settings(settings(&mut random)));
    let blows = [&Blow::DEATHS[..], &Blow::DEATHS, &Blow::ERRORS].concat();
    let mut deaths = 0;
    let mut merges = 0;
    let mut seen = None;

    for life in 0..random.random_range(2..=5) {
        world.publish(random.random_range(0..60), &mut random);
        let drawn = settings(&mut random);
        let settings = Settings {
            workers: random.random_range(1..=6),
            allowed_lateness: kind.lateness(first.allowed_lateness, &mut random),
            sink_slots: drawn.sink_slots,
            max_transaction_rows: drawn.max_transaction_rows,
            side_output_memory: drawn.side_output_memory,
            ..first.clone()
        };

        let doom = Doom::any(&blows, &mut random);
        let misbehaviours = misbehaving.begin(&mut world, &mut random);
        let fate = Fate::new(Some(doom), Some(seed));
        let end = live(&world, &settings, &fate);
        misbehaving.end(&world);
        println!(
            "seed {seed}, {kind:?}, {:?}, life {life}: {} records, {misbehaviours:?}, {doom:?}: {end:?}, {settings:?}",
            world.form,
            world.records.len()
        );

        deaths += u64::from(end == End::Died);
        merges += fate.calls("create merged parts");
        let newest = world.objects_in("manifests").pop();
        if kind == Kind::Damaged && newest > seen {
            damage_newest(&world, &mut random);
            seen = newest;
        }

        if kind == Kind::ProgressLost && random.random_bool(0.5) {
            lose_progress(&world, &mut random);
        }
    }

    world.run(&first).unwrap();
    kind.check(&world);
    world.check_checkpoint();

    // A compacted topic may have lost the record by which it is recognized.
    let is_recreated = !first.allow_compaction
        && random.random_bool(0.3)
        && recreate(&mut world, &first, &mut random);

    Happened {
        deaths,
        merges,
        recreated: is_recreated.into(),
        misbehaviours: misbehaving.drawn(),
    }
}

/// Draws the form of a world's job.
fn any_form(world: &World, random: &mut SmallRng) -> Form {
    if world.windows.offset_ms() == 0 && random.random_bool(0.3) {
        return Form::Passing;
    }

    let forms = [Form::Counting, Form::Staged, Form::Joined, Form::LeftJoined];
    // A join needs two topics.
    let count = if world.topics().len() > 1 { 4 } else { 2 };
    forms[random.random_range(0..count)]
}

/// Makes the log lose the progress of all publishers, or of randomly drawn ones.
fn lose_progress(world: &World, random: &mut SmallRng) {
    let is_all = random.random_bool(0.5);
    let publishers: Vec<bool> = (0..6).map(|_| is_all || random.random_bool(0.5)).collect();
    world.log.lose_progress(|id| {
        let number = id.strip_prefix("counts-sink-").map(str::parse::<usize>);
        number.is_some_and(|number| publishers[number.unwrap()])
    });
}

#[test]
fn progress_that_the_log_loses_repeats_no_row_under_its_revision() {
    let mut random = random(5);
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let mut world = World::new(windows(&mut random), 2);
        let settings = Settings {
            guarantee,
            ..settings(&mut random)
        };

        world.publish(80, &mut random);
        world.run(&settings).unwrap();
        let rows = world.numbers("counts").len();

        assert!(world.highest_revision() < 1_000_000, "nothing was lost yet");

        world.log.lose_progress(|_| true);
        world.run(&settings).unwrap();
        assert!(world.highest_revision() >= 1_000_000, "rows are replaced");
        assert!(world.numbers("counts").len() > rows);
        world.check_but_for_repeated_side_outputs();

        let rows = world.numbers("counts").len();
        world.run(&settings).unwrap();
        assert_eq!(world.numbers("counts").len(), rows, "once is enough");
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn whatever_lives_meet_one_after_the_other_everything_is_counted_once() {
    let first = number("TIDEMARK_TEST_SEED", 1);
    let count = number("TIDEMARK_TEST_SCHEDULES", 60);
    let mut happened = Happened::default();

    for seed in first..first + count {
        happened.add(schedule(seed));
        if seed % 500 == 0 {
            writeln!(
                std::io::stderr(),
                "{} schedules, {} deaths, {} merges, {} topics recreated, {:?}",
                seed + 1 - first,
                happened.deaths,
                happened.merges,
                happened.recreated,
                happened.misbehaviours
            )
            .unwrap();
        }
    }

    let Happened {
        deaths,
        merges,
        recreated,
        misbehaviours,
    } = happened;
    assert!(
        count < 60 || deaths > count / 2 && recreated > count / 20,
        "processes die in this test, and topics are recreated: {deaths}, {recreated}"
    );
    assert!(count < 60 || merges > 0, "parts are merged in this test");

    for misbehaviour in Misbehaviour::ALL {
        let drawn = misbehaviours.get(&misbehaviour).copied().unwrap_or(0);
        assert!(count < 60 || drawn > 0, "{misbehaviour:?} is drawn");
    }
}
