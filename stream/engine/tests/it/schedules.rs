//! The whole job under a simulated store, log and clock, in lives that are drawn at random: processes die, calls fail, and
//! the log misbehaves. The committed results equal those of a plain recount.
//!
//! `TIDEMARK_TEST_SCHEDULES` sets the number of random schedules, and `TIDEMARK_TEST_SEED` the first seed. A schedule that
//! fails prints how to repeat it.

#![allow(clippy::print_stdout, reason = "a test that fails shows its schedule")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use stream::{Guarantee, Settings};

use crate::fallback::{damage_newest, lenient};
use crate::fate::{Blow, Doom, Fate};
use crate::lives::{End, live};
use crate::misbehaviour::{Misbehaving, Misbehaviour, recreate};
use crate::oracle::{Form, World, random, settings, windows};

/// Prints how to repeat a schedule that fails.
struct Repeat(u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            println!(
                "repeat with TIDEMARK_TEST_SEED={seed} TIDEMARK_TEST_SCHEDULES=1 cargo test -p stream-tests whatever_lives"
            );
        }
    }
}

/// The differences between schedules.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    ExactlyOnce,
    AtLeastOnce,
    /// Some of the newest manifests are damaged between lives.
    Damaged,
    /// The log loses the progress of some or all publishers between lives.
    ProgressLost,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::ExactlyOnce,
        Self::AtLeastOnce,
        Self::Damaged,
        Self::ProgressLost,
    ];

    /// Draws a kind. The first one is drawn twice as often as any other.
    fn any(random: &mut SmallRng) -> Self {
        let drawn = random.random_range(0..=Self::ALL.len());
        Self::ALL[drawn.saturating_sub(1)]
    }

    /// Returns whether the job's history has one line.
    fn is_straight(self) -> bool {
        matches!(self, Self::ExactlyOnce | Self::AtLeastOnce)
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
    /// The publishers whose progress the log has lost.
    progress_lost: u64,
    kinds: BTreeMap<Kind, u64>,
    misbehaviours: BTreeMap<Misbehaviour, u64>,
}

impl Happened {
    fn add(&mut self, other: Self) {
        self.deaths += other.deaths;
        self.merges += other.merges;
        self.recreated += other.recreated;
        self.progress_lost += other.progress_lost;
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
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
    let mut world = any_world(kind, &mut random);

    let mut misbehaving = Misbehaving::new(&world, kind == Kind::Damaged, &mut random);
    let first = misbehaving.settings(kind.settings(settings(&mut random)));
    let blows = [&Blow::DEATHS[..], &Blow::DEATHS, &Blow::ERRORS].concat();
    let mut deaths = 0;
    let mut merges = 0;
    let mut progress_lost = 0;
    let mut seen = None;
    // Parts are merged where there are many of them. Where lines of history begin, long histories meet a known limit: a
    // record may be counted on one line and be late on the other (`checkpoint::lineage`).
    let is_long = kind.is_straight() && seed.is_multiple_of(6);
    let most = if is_long { 400 } else { 60 };

    for life in 0..random.random_range(2..=5) {
        world.publish(random.random_range(0..most), &mut random);
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
            progress_lost += lose_progress(&world, &mut random);
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
        progress_lost,
        kinds: BTreeMap::from([(kind, 1)]),
        misbehaviours: misbehaving.drawn(),
    }
}

/// Draws a world for lives of this kind.
fn any_world(kind: Kind, random: &mut SmallRng) -> World {
    let mut world = World::new(windows(random), random.random_range(1..=4));
    if random.random_bool(0.6) {
        world = world.and(random.random_range(1..=3));
    }

    world.form = any_form(&world, kind, random);
    world.may_repeat = kind == Kind::AtLeastOnce;
    world.has_copies = random.random_bool(0.5);
    world.is_filtered = random.random_bool(0.4);
    world.malformed = *[0.03, 0.3, 0.95].choose(random).unwrap();
    world.behind = *[0.1, 0.5, 0.95].choose(random).unwrap();

    world
}

/// Draws the form of a world's job.
fn any_form(world: &World, kind: Kind, random: &mut SmallRng) -> Form {
    if world.windows.offset_ms() == 0 && random.random_bool(0.3) {
        return Form::Passing;
    }
    // On another line of history, records may be late that were on time, and records that were emitted for them stay.
    if kind.is_straight() && world.windows.offset_ms() == 0 && random.random_bool(0.3) {
        return Form::Processing;
    }

    let forms = [Form::Counting, Form::Staged, Form::Joined, Form::LeftJoined];
    // A join needs two topics.
    let count = if world.topics().len() > 1 { 4 } else { 2 };
    forms[random.random_range(0..count)]
}

/// Makes the log lose the progress of all publishers, or of randomly drawn ones. Returns the number of those that had some.
fn lose_progress(world: &World, random: &mut SmallRng) -> u64 {
    let is_all = random.random_bool(0.5);
    let publishers: Vec<bool> = (0..6).map(|_| is_all || random.random_bool(0.5)).collect();
    let lost = Cell::new(0);
    world.log.lose_progress(|id| {
        let number = id.strip_prefix("counts-sink-").map(str::parse::<usize>);
        let is_lost = number.is_some_and(|number| publishers[number.unwrap()]);
        lost.set(lost.get() + u64::from(is_lost));
        is_lost
    });
    lost.get()
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

    let mut seed = first;
    // Whether parts are merged in a life depends on the machine's speed.
    while seed < first + count || (count >= 60 && happened.merges == 0) {
        assert!(seed < first + 20 * count, "no schedule merges parts");
        happened.add(schedule(seed));
        if seed.is_multiple_of(500) {
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
        seed += 1;
    }

    // Few schedules draw few of these.
    if count >= 60 {
        check_drawn(&happened, count);
    }
}

/// Checks that each event is among so many schedules.
fn check_drawn(happened: &Happened, count: u64) {
    let Happened {
        deaths,
        recreated,
        progress_lost,
        kinds,
        misbehaviours,
        ..
    } = happened;
    assert!(*deaths > count / 2, "processes die: {deaths}");
    assert!(*recreated > count / 20, "topics are recreated: {recreated}");
    assert!(*progress_lost > 0, "the log loses progress");

    for kind in Kind::ALL {
        assert!(kinds.contains_key(&kind), "{kind:?} is drawn");
    }
    for misbehaviour in Misbehaviour::ALL {
        let is_drawn = misbehaviours.contains_key(&misbehaviour);
        assert!(is_drawn, "{misbehaviour:?} is drawn");
    }
}
