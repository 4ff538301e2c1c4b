//! A job that reads several topics: each of them is described, checked and watched as the first is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use record_log::simulated::{Call, Fault};
use record_log::{Cleanup, LogTimeType, RecordLog, TopicSpec};
use stream::{Count, Job, JobError, Settings, Sourced, Stop, Windows};

use crate::lives::beside;
use crate::logged::logged;
use crate::oracle::{SECOND, World, decode};
use crate::side_outputs::wait_until;

const TOPICS: [&str; 2] = ["events", "more-events"];

/// A world of two topics, of one partition and of two.
fn world() -> World {
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    World::new(windows, 1).and(2)
}

/// Publishes an event to each partition.
fn put_each(world: &mut World, time: u64) {
    for id in [0, SECOND, SECOND + 1] {
        world.put(id, &[(7, time)]);
    }
}

#[test]
fn each_topic_that_compaction_would_empty_is_refused() {
    let sides = TOPICS.map(|topic| [format!("{topic}-late"), format!("{topic}-dead-letter")]);
    let others = sides.into_iter().flatten();
    let kept = TOPICS.map(str::to_owned).into_iter().chain(others);

    for topic in kept.chain(["counts".to_owned()]) {
        let mut world = world();
        put_each(&mut world, 5);
        let settings = Settings::default();
        world.prepare(&settings);
        world.log.clean_up_by(&topic, Cleanup::Compact);

        let refused = world.run(&settings).unwrap_err();
        assert!(matches!(refused, JobError::Settings(_)), "{refused:?}");
        let named = format!("topic {topic:?} has cleanup.policy=compact,");
        assert!(refused.to_string().contains(&named), "{refused}");
        assert_eq!(world.log.records("counts").len(), 0);

        let settings = Settings {
            allow_compaction: true,
            ..settings
        };
        let (outcome, lines) = logged(|| world.run(&settings));
        outcome.unwrap();
        assert!(lines.iter().any(|it| it.contains(&named)), "{lines:?}");
        world.check();
    }
}

#[test]
fn the_settings_of_each_source_topic_are_logged_in_a_line() {
    let mut world = world();
    put_each(&mut world, 5);
    world.log.limit_records(TOPICS[1], 123_456);
    world.log.stamp_by(TOPICS[1], LogTimeType::Create);
    let stamp = (7, LogTimeType::Create);
    world.log.append_at(TOPICS[1], 1, b"7 6", stamp);

    let job = world.job(world.log.clone(), &Settings::default());
    let (outcome, lines) = logged(|| job.run(&Stop::default()));
    outcome.unwrap();
    let times = job.metrics.status(0).topics.input_log_time;
    assert_eq!(times, "LogAppendTime, CreateTime");

    let shown = lines
        .iter()
        .filter(|line| line.contains("the source topic's settings"));
    let shown: Vec<_> = shown.collect();
    assert_eq!(shown.len(), 2, "{lines:?}");

    for (line, topic, time) in [
        (shown[0], TOPICS[0], "LogAppendTime"),
        (shown[1], TOPICS[1], "CreateTime"),
    ] {
        let named = format!("topic={topic:?} log_time_type={time:?}");
        assert!(line.contains(&named), "{named} in {line}");
    }
    assert!(shown[1].contains("record_limit_bytes=123456"), "{shown:?}");
}

#[test]
fn a_second_topic_that_was_recreated_or_has_expired_is_named() {
    for is_recreated in [true, false] {
        let mut world = world();
        for time in [5, 15, 25] {
            put_each(&mut world, time);
        }
        let settings = Settings::default();
        world.run(&settings).unwrap();
        let before = world.log.records("counts").len();

        if is_recreated {
            world.recreate_topic(1);
            for id in [SECOND, SECOND + 1] {
                (0..9).for_each(|time| world.put(id, &[(7, 100 + time)]));
            }
        } else {
            put_each(&mut world, 100);
            let end = world.ends()[&SECOND];
            world.log.expire(TOPICS[1], 0, end);
        }

        let refused = world.run(&settings).unwrap_err();
        assert!(matches!(refused, JobError::Position(_)), "{refused:?}");
        let named = "of topic \"more-events\"";
        assert!(refused.to_string().contains(named), "{refused}");
        assert_eq!(world.log.records("counts").len(), before);
    }
}

#[test]
fn a_job_waits_for_each_of_its_topics() {
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    let settings = Settings::default();
    let of_two = world();
    let only_first = World::new(windows, 1);

    let mut job = of_two.run_of(of_two.pipeline(), only_first.log.clone(), &settings);
    job.settings.until_end = false;
    let stop = Stop::default();
    let run = || job.run(&stop).unwrap();
    beside(&stop, run, |running| {
        wait_until("the topics of output", || {
            only_first.log.partitions("counts").is_ok()
        });
        assert!(job.metrics.status(0).attempt.is_none() && !running.is_finished());

        let topic = TopicSpec {
            name: TOPICS[1].to_owned(),
            partitions: 2,
            cleanup: Cleanup::Delete,
            retention: Duration::from_secs(3600),
        };
        only_first.log.ensure_topics(&[topic]).unwrap();
        wait_until("an attempt", || job.metrics.status(0).attempt.is_some());
        stop.request();
    });
}

#[test]
fn a_topic_that_does_not_exist_ends_a_job_that_reads_to_the_end() {
    let only_first = World::new(Windows::tumbling(Duration::from_millis(10)).unwrap(), 1);
    let of_two = world();
    let settings = Settings::default();
    let job = of_two.run_of(of_two.pipeline(), only_first.log.clone(), &settings);

    let refused = job.run(&Stop::default()).unwrap_err().to_string();
    assert!(refused.contains("\"more-events\""), "{refused}");
}

/// The limit of a side output is that of its own topic, with room for the header that names the source.
#[test]
fn a_record_is_carried_in_part_by_the_limit_of_its_own_topic() {
    let settings = Settings::default();
    for (small, source) in [
        ("events-dead-letter", 0),
        ("more-events-dead-letter", SECOND),
    ] {
        let mut world = world();
        put_each(&mut world, 5);
        world.prepare(&settings);
        world.log.limit_records(small, 2_000);

        let value = format!("?{}", "x".repeat(10_000));
        world.put_values(0, vec![value.clone()]);
        world.put_values(SECOND, vec![value.clone()]);
        world.run(&settings).unwrap();

        for (topic, id) in [
            ("events-dead-letter", 0),
            ("more-events-dead-letter", SECOND),
        ] {
            let found = world.log.records(topic);
            assert_eq!(found.len(), 1, "{topic}");
            let carried = found[0].value.as_ref().unwrap().len();
            assert_eq!(carried < value.len(), id == source, "{topic}: {carried}");
        }
    }
}

#[test]
fn outputs_need_topics_of_their_own() {
    let world = world();
    let refusal = |results: &str, late: &str, dead_letters: &str| {
        let pipeline = Job::new("counts")
            .source(TOPICS[0], decode)
            .and(Sourced::of(TOPICS[1], decode))
            .side_outputs(late, dead_letters)
            .window(world.windows)
            .aggregate(|key| [(key, Count(1))])
            .sink(results, |_, _| {})
            .summarize("totals", 0, |one, other| one.cmp(&other), |_, _| {});
        let job = world.run_of(pipeline, world.log.clone(), &Settings::default());
        job.run(&Stop::default()).err().map(|it| it.to_string())
    };

    for [results, late, dead_letters] in [
        ["events", "late", "dead"],
        ["more-events", "late", "dead"],
        ["counts", "more-events", "dead"],
        ["counts", "late", "events"],
    ] {
        let refused = refusal(results, late, dead_letters).unwrap();
        assert!(
            refused.contains("read its own records without end"),
            "{refused}"
        );
    }
    for [results, late, dead_letters] in [
        ["counts", "counts", "dead"],
        ["counts", "late", "counts"],
        ["counts", "late", "totals"],
        ["totals", "late", "dead"],
    ] {
        let refused = refusal(results, late, dead_letters).unwrap();
        assert!(
            refused.contains("records of several kinds to topic"),
            "{refused}"
        );
    }
    assert_eq!(refusal("counts", "aside", "aside"), None);
}

/// Whatever the size of a record, it fits its topic with the headers that name its origin.
#[test]
fn a_record_of_a_second_topic_fits_with_the_header_of_its_topic() {
    let mut world = world();
    let settings = Settings::default();
    put_each(&mut world, 5);
    world.prepare(&settings);
    let limit = 2_000;
    world.log.limit_records("more-events-dead-letter", limit);

    let sizes = limit - 400..limit;
    let values = sizes.clone().map(|size| "?".repeat(size)).collect();
    world.put_values(SECOND, values);
    world.run(&settings).unwrap();

    let found = world.log.records("more-events-dead-letter");
    assert_eq!(found.len(), sizes.count());
    let whole = found.iter().filter(|record| {
        let is_cut = |(name, _): &(String, Vec<u8>)| name == "value_size";
        !record.headers.iter().any(is_cut)
    });
    let whole = whole.count();
    assert!(whole > 50 && whole < 350, "{whole} are whole");
}

/// A worker may see batches without a row of its own. It notes only the progress that its own publisher has committed.
#[test]
fn a_worker_notes_no_progress_that_it_has_not_committed() {
    let mut world = world();
    let settings = Settings {
        workers: 3,
        disorder: Duration::ZERO,
        ..Settings::default()
    };

    // One key: one worker commits all rows.
    for life in 1..=5 {
        for step in 0..4 {
            put_each(&mut world, life * 1000 + step * 100);
        }
        world.run(&settings).unwrap();
        world.check();
    }
    assert!(world.highest_revision() < 1_000_000, "no start fell back");
}

#[test]
fn a_job_whose_commits_fail_notes_no_progress() {
    let mut world = world();
    let settings = Settings {
        workers: 2,
        disorder: Duration::ZERO,
        ..Settings::default()
    };
    let is_full = Arc::new(AtomicBool::new(false));
    let failures = Arc::new(AtomicU64::new(0));
    let full = Arc::clone(&is_full);
    let failed = Arc::clone(&failures);
    let log = world.log.process(move |call| match call {
        Call::Commit { .. } if full.load(Ordering::SeqCst) => {
            failed.fetch_add(1, Ordering::SeqCst);
            Fault::Unavailable
        }
        _ => Fault::None,
    });

    let job = world.running(log, &settings);
    let stop = Stop::default();
    let run = || job.run(&stop).unwrap();
    beside(&stop, run, |_| {
        wait_until("an attempt", || job.metrics.status(0).attempt.is_some());
        is_full.store(true, Ordering::SeqCst);
        for step in 1..=5 {
            put_each(&mut world, step * 100);
        }
        wait_until("failures", || failures.load(Ordering::SeqCst) > 3);
        wait_until("a checkpoint", || {
            let checkpoint = job.metrics.status(0).checkpoint;
            checkpoint.is_some_and(|it| it.boundary_ms >= 400)
        });
        stop.request();
        stop.request();
    });

    for path in world.objects_in("manifests") {
        let noted = world.manifest(&path).furthest;
        assert!(noted.is_empty(), "{noted:?}");
    }
    world.run(&settings).unwrap();
    world.check();
}
