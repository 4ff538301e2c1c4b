//! The watch over an attempt, on a simulated log.

use record_log::simulated::{Call, Fault, SimulatedLog};
use record_log::{Cleanup, Record, TopicSpec};

use super::*;
use crate::aggregate::Count;
use crate::job::{Job, Sourced};
use crate::metrics::Metrics;
use crate::pane::Windows;
use crate::source::position::Position;
use crate::status::Trouble;
use crate::watermark::Claim;

fn attempt() -> Arc<Attempt> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();

    let attempt = Attempt::new(
        1,
        runtime.handle().clone(),
        Metrics::new("counts"),
        Stop::default(),
    );

    Arc::new(attempt)
}

fn watched() -> Watched {
    Watched {
        attempt: attempt(),
        is_unanswered: false,
    }
}

fn survey(log: SimulatedLog) -> Survey {
    Survey {
        log: Arc::new(log),
        topics: Topics {
            inputs: Inputs::of("events"),
            partitions: 2,
            kept: vec!["events".to_owned()],
        },
        attempt: attempt(),
        committed: Vec::new(),
        is_refused: false,
        looks: 0,
        losing: BTreeSet::new(),
    }
}

fn position(partition: u32, next_offset: Offset) -> Position {
    Position {
        partition,
        next_offset,
        newest_event_ms: None,
        heard_at_ms: Some(1_000),
        end_as_of_ms: None,
        obstacle: None,
        claim: Claim::Unread,
        holds_back: false,
    }
}

#[test]
fn silence_is_told_once_and_again_after_an_answer() {
    let mut watched = watched();
    let metrics = watched.attempt.metrics.clone();
    metrics.attempt_began(1);
    metrics.expect_answers_within(Duration::from_secs(10));
    metrics.position(position(1, 7));

    let now_ms = now_ms();
    let troubles = || metrics.status(now_ms).troubles.len();
    watched.note_silence(now_ms);

    assert_eq!((troubles(), watched.is_unanswered), (0, false));
    for later_ms in [20_000, 21_000] {
        watched.note_silence(now_ms + later_ms);
        assert_eq!((troubles(), watched.is_unanswered), (1, true));
    }

    metrics.position(Position {
        heard_at_ms: Some(now_ms + 21_500),
        ..position(1, 8)
    });

    watched.note_silence(now_ms + 22_000);
    assert!(!watched.is_unanswered);
    watched.note_silence(now_ms + 40_000);

    assert_eq!((troubles(), watched.is_unanswered), (2, true));
}

#[test]
fn a_silence_begins_and_ends_once() {
    let mut watched = watched();
    let metrics = watched.attempt.metrics.clone();
    let now_ms = now_ms();
    let heard_at = |heard_at_ms| Position {
        heard_at_ms: Some(heard_at_ms),
        ..position(1, 7)
    };
    metrics.attempt_began(1);
    metrics.expect_answers_within(Duration::from_secs(10));
    metrics.position(heard_at(now_ms));

    assert_eq!(watched.turn(now_ms), None);
    let begun = watched.turn(now_ms + 20_000);
    let Some(Turn::Silent(sentence)) = begun else {
        panic!("{begun:?}");
    };
    assert!(sentence.contains("partition 1"), "{sentence}");
    assert_eq!(watched.turn(now_ms + 20_050), None);
    assert_eq!(watched.turn(now_ms + 30_000), None);

    metrics.position(heard_at(now_ms + 31_000));
    assert_eq!(watched.turn(now_ms + 31_000), Some(Turn::Answered));
    assert_eq!(watched.turn(now_ms + 31_050), None);
}

#[test]
fn a_limit_that_no_number_holds_is_never_reached() {
    let watched = watched();
    let metrics = &watched.attempt.metrics;
    metrics.attempt_began(1);
    metrics.expect_answers_within(Duration::MAX);
    metrics.position(position(1, 7));
    assert_eq!(metrics.status(u64::MAX / 2).unanswered, None);
}

#[test]
fn a_second_request_ends_the_attempt_and_the_first_only_drains_it() {
    let watched = watched();
    let stopping = Stopping {
        stop: Stop::default(),
        within: Duration::MAX,
    };
    stopping.stop.request();
    watched.drain(&stopping, Instant::now());
    let attempt = &watched.attempt;
    assert_eq!((attempt.is_draining(), attempt.is_over()), (true, false));

    stopping.stop.request();
    watched.drain(&stopping, Instant::now());
    assert!(attempt.is_over());
}

fn log() -> SimulatedLog {
    let log = SimulatedLog::default();
    let retention = Duration::from_secs(60);
    let topic = TopicSpec {
        name: "events".to_owned(),
        partitions: 2,
        cleanup: Cleanup::Delete,
        retention,
    };
    log.ensure_topics(&[topic]).unwrap();

    log
}

#[test]
fn positions_are_told_under_the_job_s_name() {
    let log = log();
    let mut survey = survey(log.clone());
    assert!(!survey.ask());

    assert_eq!(
        log.committed("counts", "events").unwrap(),
        [],
        "nothing was read yet"
    );

    survey.attempt.metrics.position(position(1, 7));
    assert!(!survey.ask());
    assert_eq!(log.committed("counts", "events").unwrap(), [(1, 7)]);
    log.commit("counts", "events", &[(1, 5)]).unwrap();

    assert!(!survey.ask());
    assert_eq!(
        log.committed("counts", "events").unwrap(),
        [(1, 5)],
        "nothing was read since, so nothing is committed"
    );

    survey.attempt.metrics.position(position(1, 8));
    assert!(!survey.ask());
    assert_eq!(log.committed("counts", "events").unwrap(), [(1, 8)]);
}

#[test]
fn positions_that_the_log_did_not_take_are_committed_later() {
    let log = log();
    let refused = AtomicBool::new(false);
    let refuses_once = log.process(move |call| match call {
        Call::CommitPositions { .. } if !refused.swap(true, Ordering::SeqCst) => Fault::Unavailable,
        _ => Fault::None,
    });

    let mut survey = survey(refuses_once);
    survey.attempt.metrics.position(position(1, 7));
    assert!(!survey.ask());
    assert_eq!(log.committed("counts", "events").unwrap(), []);
    assert!(!survey.ask());
    assert_eq!(log.committed("counts", "events").unwrap(), [(1, 7)]);
}

#[test]
fn positions_that_the_log_begins_to_refuse_are_reported_once() {
    let log = log();
    let refuses = Arc::new(AtomicBool::new(true));
    let is_refused = Arc::clone(&refuses);
    let log = log.process(move |call| match call {
        Call::CommitPositions { .. } if is_refused.load(Ordering::SeqCst) => Fault::Refused,
        _ => Fault::None,
    });

    let mut survey = survey(log);
    assert!(survey.commit_positions().is_none(), "nothing was read yet");
    let reports = |survey: &mut Survey, next_offset| {
        survey.attempt.metrics.position(position(1, next_offset));
        [(); 3].map(|()| survey.commit_positions().is_some())
    };
    assert_eq!(reports(&mut survey, 7), [true, false, false]);
    assert_eq!(reports(&mut survey, 8), [false; 3], "it lasts");

    refuses.store(false, Ordering::SeqCst);
    assert_eq!(reports(&mut survey, 9), [false; 3]);
    refuses.store(true, Ordering::SeqCst);
    assert_eq!(reports(&mut survey, 10), [true, false, false], "again");
}

#[test]
fn the_lag_is_what_the_log_holds_beyond_the_positions() {
    let log = log();
    let mut publisher = log
        .publisher("shop", record_log::Delivery::AtLeastOnce)
        .unwrap();
    for _ in 0..5 {
        let record = record_log::NewRecord {
            topic: "events",
            partition: Some(1),
            key: None,
            value: Some(b"1"),
            headers: &[],
        };
        publisher.send(record).unwrap();
    }

    let mut survey = survey(log);
    survey.attempt.metrics.position(position(1, 2));
    assert!(!survey.ask());
    let partitions = survey.attempt.metrics.status(now_ms()).partitions;
    let of_one = partitions.iter().find(|it| it.partition == 1).unwrap();
    assert_eq!(of_one.lag_records, Some(3));
}

#[test]
fn a_log_that_is_away_has_added_no_partitions() {
    let away = |call: &Call<'_>| match call {
        Call::Offsets { .. } => Fault::Unavailable,
        _ => Fault::None,
    };
    let mut survey = survey(log().process(away));
    assert!(!survey.ask());
    assert!(!survey.attempt.is_over());
}

#[test]
fn added_partitions_end_the_attempt_unless_the_watch_is_over() {
    for is_over in [false, true] {
        let log = log();
        log.grow("events", 3);
        let survey = survey(log);
        let attempt = Arc::clone(&survey.attempt);
        let were_added = AtomicBool::new(false);

        let signal = Signal::default();
        let ended = AtomicBool::new(is_over);
        survey.run(&signal, &ended, &were_added, Duration::ZERO);
        assert_eq!(were_added.into_inner(), !is_over);
        assert_eq!(attempt.is_over(), !is_over);
    }
}

#[test]
fn a_survey_that_panics_fails_the_attempt() {
    let panics = |call: &Call<'_>| match call {
        Call::Offsets { .. } => Fault::CrashBefore,
        _ => Fault::None,
    };
    let survey = survey(log().process(panics));
    let attempt = Arc::clone(&survey.attempt);
    let run = thread::spawn(move || {
        let flag = AtomicBool::new(false);
        survey.run(&Signal::default(), &flag, &flag, Duration::ZERO);
    });
    assert!(run.join().is_err());
    assert!(attempt.failure().is_some());
}

#[test]
fn a_topic_is_named_while_compaction_empties_it() {
    let log = log();
    let mut survey = survey(log.clone());
    let mut troubles_after = |looks| {
        for _ in 0..looks {
            assert!(!survey.ask());
        }
        let troubles = survey.attempt.metrics.status(0).troubles;
        let named = |trouble: &Trouble| trouble.message.contains("cleanup.policy=compact,");
        let count = troubles.iter().filter(|trouble| named(trouble)).count();
        (count, survey.losing.len())
    };
    assert_eq!(troubles_after(LOOKS), (0, 0));

    log.clean_up_by("events", Cleanup::Compact);
    assert_eq!(troubles_after(LOOKS - 1), (0, 0));
    assert_eq!(troubles_after(1), (1, 1));
    assert_eq!(troubles_after(LOOKS), (1, 1), "one trouble");

    log.clean_up_by("events", Cleanup::Delete);
    assert_eq!(troubles_after(LOOKS), (1, 0), "a trouble of the past");
    log.clean_up_by("events", Cleanup::Compact);
    assert_eq!(troubles_after(LOOKS), (1, 1));
}

/// A log of two topics, and the survey of a job that reads both.
fn survey_of_two() -> (SimulatedLog, Survey) {
    let log = log();
    let topic = TopicSpec {
        name: "more-events".to_owned(),
        partitions: 1,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(60),
    };
    log.ensure_topics(&[topic]).unwrap();

    let mut survey = survey(log.clone());
    survey.topics = Topics {
        inputs: Inputs::of("events").and(Inputs::of("more-events")),
        partitions: 3,
        kept: vec!["events".to_owned(), "more-events".to_owned()],
    };
    (log, survey)
}

/// The first partition of the second topic.
const SECOND: u32 = 1 << 20;

#[test]
fn a_second_topic_is_surveyed_as_the_first_is() {
    let (log, mut survey) = survey_of_two();
    let mut publisher = log
        .publisher("shop", record_log::Delivery::AtLeastOnce)
        .unwrap();
    for _ in 0..5 {
        let record = record_log::NewRecord {
            topic: "more-events",
            partition: Some(0),
            key: None,
            value: Some(b"1"),
            headers: &[],
        };
        publisher.send(record).unwrap();
    }

    survey.attempt.metrics.position(position(1, 7));
    survey.attempt.metrics.position(position(SECOND, 2));
    assert!(!survey.ask());
    assert_eq!(log.committed("counts", "events").unwrap(), [(1, 7)]);
    assert_eq!(log.committed("counts", "more-events").unwrap(), [(0, 2)]);
    let partitions = survey.attempt.metrics.status(now_ms()).partitions;
    let second = partitions.iter().find(|it| it.source == 1).unwrap();
    assert_eq!((second.partition, second.lag_records), (0, Some(3)));

    survey.attempt.metrics.position(position(SECOND, 5));
    assert!(!survey.ask());
    assert_eq!(log.committed("counts", "more-events").unwrap(), [(0, 5)]);

    log.grow("more-events", 2);
    assert!(survey.ask(), "partitions were added to the second topic");
}

#[test]
fn each_topic_that_compaction_begins_to_empty_is_named() {
    let (log, mut survey) = survey_of_two();
    for topic in ["events", "more-events"] {
        log.clean_up_by(topic, Cleanup::CompactAndDelete);
    }
    assert_eq!(survey.new_losses().len(), 2);
    assert!(survey.new_losses().is_empty(), "each is logged once");

    let troubles = survey.attempt.metrics.status(0).troubles;
    for topic in ["events", "more-events"] {
        let named = format!("topic {topic:?} has cleanup.policy=compact,delete,");
        let found = troubles.iter().filter(|it| it.message.contains(&named));
        assert_eq!(found.count(), 1, "{troubles:?}");
    }
}

#[test]
fn a_silent_partition_of_a_second_topic_is_named_with_its_topic() {
    let mut watched = watched();
    let metrics = watched.attempt.metrics.clone();
    let decode = |_: &Record<'_>| Ok((0, 7));
    let pipeline = Job::new("counts")
        .source("events", decode)
        .and(Sourced::of("more-events", decode))
        .window(Windows::tumbling(Duration::from_secs(1)).unwrap())
        .aggregate(|key: u64| [(key, Count(1))])
        .sink("counts", |_, _| {});
    metrics.describe(&pipeline);
    metrics.attempt_began(1);
    metrics.expect_answers_within(Duration::from_secs(10));
    metrics.position(position(SECOND, 7));

    let Some(Turn::Silent(sentence)) = watched.turn(now_ms() + 20_000) else {
        panic!("it is silent for 20 s");
    };
    let named = "partition 0 of topic \"more-events\"";
    assert!(sentence.starts_with(named), "{sentence}");
}

#[test]
fn a_log_that_takes_no_positions_stops_nothing() {
    let refuses = |call: &Call<'_>| match call {
        Call::CommitPositions { .. } => Fault::Unavailable,
        _ => Fault::None,
    };

    let log = log();
    let mut survey = survey(log.process(refuses));
    survey.attempt.metrics.position(position(0, 3));

    assert!(!survey.ask() && !survey.attempt.is_over());
    log.grow("events", 3);
    assert!(survey.ask(), "partitions were added");
}

#[test]
fn a_log_that_does_not_answer_delays_neither_silence_nor_a_stop() {
    let is_asked = Arc::new(AtomicBool::new(false));
    let is_released = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_asked);
    let released = Arc::clone(&is_released);
    let silent = log().process(move |call| {
        if matches!(call, Call::Offsets { .. }) {
            asked.store(true, Ordering::SeqCst);
            while !released.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Fault::None
    });

    let survey = survey(silent);
    let attempt = Arc::clone(&survey.attempt);
    let watched = Watched {
        attempt: Arc::clone(&attempt),
        is_unanswered: false,
    };
    let stop = Stop::default();
    let stopping = Stopping {
        stop: stop.clone(),
        within: Duration::ZERO,
    };

    let until = |is_so: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is_so() {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "it waits for the log"
            );
            thread::sleep(Duration::from_millis(1));
        }
    };

    let watch = start(watched, survey, stopping, Duration::from_millis(1));
    until(&|| is_asked.load(Ordering::SeqCst));

    attempt.metrics.attempt_began(1);
    attempt.metrics.expect_answers_within(Duration::ZERO);
    attempt.metrics.position(position(1, 7));
    let troubles = || attempt.metrics.status(now_ms()).troubles;
    until(&|| troubles().len() == 1);

    stop.request();
    until(&|| attempt.is_over());
    assert!(!watch.end(), "no partition was added");
    is_released.store(true, Ordering::SeqCst);
}
