//! The whole job under a simulated store, log and clock. It is killed before and after every call of a life on the store
//! and the log, or the call fails without a death; the next life ends at random. In every case the committed results
//! equal those of a plain recount.

#![allow(clippy::print_stdout, reason = "a test that fails shows its lives")]

use std::time::Duration;

use stream::{Settings, Windows};

use crate::fate::{Blow, Doom, Fate, LOG_CALLS, MERGE_CALLS, STORE_CALLS};
use crate::lives::{End, live};
use crate::oracle::{Form, World, random, settings, windows};

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

/// A short history of a job with a process function that reads two topics.
const PROCESSING: History = History {
    form: Form::Processing,
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

const LONG_PROCESSING: History = History {
    form: Form::Processing,
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
    world.take_added_partitions();

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
fn records_count_once_if_a_life_ends_at_any_call() {
    sweep(&LOG_CALLS, &Blow::DEATHS, SHORT);
    sweep(&STORE_CALLS, &Blow::DEATHS, SHORT);
    sweep(&MERGE_CALLS, &Blow::DEATHS, LONG);
}

#[test]
fn records_count_once_if_any_call_fails_or_loses_its_reply() {
    sweep(&LOG_CALLS, &[Blow::LoseReply], SHORT);
    sweep(&STORE_CALLS, &Blow::ERRORS, SHORT);
    sweep(&STORE_CALLS, &[Blow::Forbid], SHORT);
    sweep(&MERGE_CALLS, &Blow::ERRORS, LONG);
}

#[test]
fn a_job_without_a_window_passes_records_once_despite_faults() {
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
fn rows_of_stages_are_right_despite_faults() {
    sweep(&LOG_CALLS, &Blow::DEATHS, STAGED);
    sweep(&early_calls(), &Blow::DEATHS, STAGED);
    meet(LATE_CALL, &Blow::DEATHS, LONG_STAGED);
}

#[test]
fn a_process_function_handles_each_key_once_despite_faults() {
    sweep(&LOG_CALLS, &Blow::DEATHS, PROCESSING);
    sweep(&LOG_CALLS, &[Blow::LoseReply], PROCESSING);
    sweep(&early_calls(), &Blow::DEATHS, PROCESSING);
    meet(LATE_CALL, &Blow::DEATHS, LONG_PROCESSING);
}

#[test]
fn a_join_of_two_topics_is_right_despite_faults() {
    sweep(&LOG_CALLS, &Blow::DEATHS, JOINED);
    sweep(&LOG_CALLS, &[Blow::LoseReply], JOINED);
    sweep(&early_calls(), &Blow::DEATHS, JOINED);
}

/// A partition that is added between a cut and its manifest, or between a manifest and the commit of its rows, is in
/// neither and is read from its start.
#[test]
fn records_of_an_added_partition_count_once() {
    sweep(&LOG_CALLS, &[Blow::AddPartition], SHORT);
    sweep(&STORE_CALLS, &[Blow::AddPartition], SHORT);
    sweep(&LOG_CALLS, &[Blow::AddPartition], JOINED);
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

/// The process dies after its first, second, … commit, with a store that is slower or faster than the log.
#[test]
fn no_row_is_readable_before_the_checkpoint_that_can_repeat_it() {
    let mut readable = 0;
    for number in 0.. {
        let mut random = random(5);
        let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
        let mut world = World::new(windows, 2);
        world.publish(200, &mut random);

        let doom = Doom {
            call: "commit",
            number,
            blow: Blow::DieAfter,
        };
        let fate = Fate::new(Some(doom), Some(number));
        live(&world, &settings(&mut random), &fate);
        if !fate.is_met() {
            break;
        }

        let newest = world.objects_in("manifests").pop();
        let boundary = newest.map_or(0, |path| world.manifest(&path).boundary);
        for (window, _) in world.committed().into_keys() {
            assert!(window + 10 <= boundary, "{window} before {boundary}");
            readable += 1;
        }
    }

    assert!(readable > 50, "jobs commit in this test: {readable}");
}
