//! The status that a job reports while it runs and afterwards.

use std::sync::Arc;
use std::time::Duration;

use record_log::simulated::SimulatedLog;
use record_log::{Cleanup, Delivery, NewRecord, Record, RecordLog, TopicSpec};
use stream::{Count, Job, Rejected, Run, Settings, Stop, Windows};

use crate::oracle::{World, random};

#[test]
fn a_job_that_ran_tells_what_it_read_and_where_it_stands() {
    let mut world = World::new(Windows::tumbling(Duration::from_millis(10)).unwrap(), 2);
    world.publish(300, &mut random(1));
    let job = world.job(
        world.log.clone(),
        &Settings {
            workers: 2,
            ..Settings::default()
        },
    );
    job.run(&Stop::default()).unwrap();

    let status = job.metrics.status(u64::MAX / 2);
    assert_eq!(
        (status.records, status.attempt, status.is_running),
        (world.records.len() as u64, Some(1), false)
    );

    assert_eq!(
        (
            status.partitions.len(),
            status.workers.len(),
            status.troubles.len()
        ),
        (2, 2, 0)
    );

    for partition in &status.partitions {
        let last = world
            .records
            .keys()
            .rfind(|(id, _)| *id == partition.partition)
            .unwrap();
        assert!(partition.next_offset > last.1, "all was read");
    }

    let checkpoint = status.checkpoint.unwrap();
    assert_eq!(Some(checkpoint.boundary_ms), status.watermark_ms);
    assert_eq!(
        (&*status.topics.input, status.topics.summaries.as_deref()),
        ("events", Some("totals, tops"))
    );

    assert_eq!(status.topics.input_log_time, "LogAppendTime");
    let text = job.metrics.to_text();
    for metric in [
        "checkpoint_size_bytes",
        "checkpoint_parts",
        "checkpoint_age_seconds",
        "watermark_delay_seconds",
        "restarts_total",
        "retries_total",
        "operator_seconds_total",
        "partition_watermark_timestamp_seconds",
        "partition_holds_back",
    ] {
        let begin = format!("tidemark_job_{metric}{{");
        let is_it = |line: &str| line.starts_with(&begin) && line.contains("job_name=\"counts\"");
        assert!(text.lines().any(is_it), "{metric} is not in {text}");
    }
}

/// Returns the status of a job that has read these values, each of which is the id of an event, `bad`, or `other`.
fn status_after(values: &[String]) -> stream::Status {
    let log = SimulatedLog::default();
    let topic = TopicSpec {
        name: "events".to_owned(),
        partitions: 1,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(60),
    };
    log.ensure_topics(&[topic]).unwrap();

    let mut publisher = log.publisher("producer", Delivery::AtLeastOnce).unwrap();
    for value in values {
        let record = NewRecord {
            topic: "events",
            partition: None,
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        };
        publisher.send(record).unwrap();
    }
    publisher.commit(&[]).unwrap();

    let decode = |record: &Record<'_>| {
        let text = std::str::from_utf8(record.value.unwrap_or_default()).unwrap();
        match text {
            "bad" => Err(Rejected("not an id".to_owned())),
            text => Ok(text.parse::<u128>().ok().map(|id| (1_000, id))),
        }
    };
    let job = Job::new("counts")
        .source_of_some("events", decode)
        .identified_by(|id| Some(*id))
        .window(Windows::tumbling(Duration::from_secs(1)).unwrap())
        .aggregate(|_| [(0_u64, Count(1))])
        .sink("counts", |_, _| {});

    let settings = Settings {
        until_end: true,
        ..Settings::default()
    };
    let run = Run::new(job, settings, Arc::new(log)).unwrap();
    let metrics = run.metrics.clone();
    run.run(&Stop::default()).unwrap();
    metrics.status(u64::MAX / 2)
}

#[test]
fn records_that_are_left_out_and_copies_are_counted() {
    let values = ["1", "other", "2", "other", "other", "2"].map(str::to_owned);
    let status = status_after(&values);
    assert_eq!(
        (
            status.records,
            status.left_out,
            status.copies,
            status.rejected
        ),
        (6, 3, 1, 0)
    );
}

#[test]
fn the_last_side_outputs_are_shown_with_their_reasons() {
    let values: Vec<String> = (0..30)
        .map(|number| match number % 2 {
            0 => "bad".to_owned(),
            _ => number.to_string(),
        })
        .collect();
    let status = status_after(&values);
    assert_eq!(status.rejected, 15);

    let shown: Vec<_> = status
        .side_outputs
        .iter()
        .map(|side| (side.offset, &*side.partition, &*side.reason))
        .collect();
    let last = (10..30).rev().filter(|offset| offset % 2 == 0);
    let last: Vec<_> = last.map(|offset| (offset, "0", "not an id")).collect();
    assert_eq!(shown, last, "the newest first");
    assert_eq!(status.side_outputs[0].topic, status.topics.dead_letters);
}

#[test]
fn the_time_of_operators_is_known_after_a_run() {
    let status = status_after(&["1".to_owned(), "2".to_owned()]);
    let operators: Vec<_> = status.operators.iter().map(|it| it.operator).collect();
    let expected = [
        "read",
        "close_panes",
        "write_parts",
        "write_manifests",
        "close_windows",
        "commit",
    ];
    assert_eq!(operators, expected);

    for operator in &status.operators {
        let sum: f64 = operator.shares.values().sum();
        assert!((sum - 1.0).abs() < 0.01, "{operator:?}");
    }
    assert!(status.operators[0].shares.contains_key("busy"));
    assert!(status.partitions[0].watermark_ms.is_some());
}
