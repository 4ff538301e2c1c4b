//! The status that a job reports while it runs and afterwards.

use std::time::Duration;

use stream::{Settings, Stop, Windows};

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
        "checkpoint_age_ms",
        "watermark_delay_ms",
        "restarts_total",
    ] {
        assert!(
            text.contains(&format!("tidemark_job_{metric}{{job_name=\"counts\"")),
            "{metric} is not in {text}"
        );
    }
}
