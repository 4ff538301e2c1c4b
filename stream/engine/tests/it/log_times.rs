//! Times in the log that are not milliseconds of the present: seconds, microseconds, none at all, or years ahead, set
//! by producers or by a broker whose clock is wrong. Each event is counted by its own time, or rejected with both
//! times.

use std::time::Duration;

use record_log::LogTimeType;
use stream::{Settings, Windows, system_clock};

use crate::oracle::World;

const EVENTS: u64 = 20;

/// Runs a job over events of a minute ago whose times in the log are all odd, and returns the world and its events.
fn run(log_time_ms: u64, log_time_type: LogTimeType) -> (World, Vec<u64>) {
    let windows = Windows::tumbling(Duration::from_secs(1)).unwrap();
    let world = World::new(windows, 2);
    world.log.stamp_by("events", log_time_type);

    let first_ms = system_clock()() - 60_000;
    let times: Vec<u64> = (0..EVENTS).map(|number| first_ms + number * 100).collect();
    for (number, time) in (0..).zip(&times) {
        let value = format!("7 {time} {number}");
        let stamp = (log_time_ms, log_time_type);
        let partition = number % 2;
        world
            .log
            .append_at("events", partition, value.as_bytes(), stamp);
    }

    let settings = Settings {
        disorder: Duration::from_secs(1),
        allowed_lateness: Duration::ZERO,
        ..Settings::default()
    };
    // Twice: the second start reads the end again.
    world.run(&settings).unwrap();
    world.run(&settings).unwrap();
    (world, times)
}

fn counted(world: &World) -> u64 {
    world.committed().values().sum()
}

#[test]
fn a_time_in_the_log_that_a_producer_set_decides_nothing() {
    let now_ms = system_clock()();
    for log_time_ms in [
        0,
        1,
        now_ms / 1_000,
        now_ms * 1_000,
        4_100_000_000_000,
        i64::MAX as u64,
        u64::MAX,
    ] {
        let (world, _) = run(log_time_ms, LogTimeType::Create);
        assert_eq!(counted(&world), EVENTS, "{log_time_ms}");
        assert_eq!(world.log.records("events-dead-letter").len(), 0);
        assert_eq!(world.log.records("events-late").len(), 0);
    }
}

#[test]
fn a_broker_s_clock_that_is_behind_rejects_events_with_both_times() {
    let now_ms = system_clock()();
    for log_time_ms in [0, 1, now_ms / 1_000] {
        let (world, times) = run(log_time_ms, LogTimeType::Append);
        assert_eq!(counted(&world), 0, "{log_time_ms}");

        let dead = world.log.records("events-dead-letter");
        assert_eq!(dead.len() as u64, EVENTS, "each is rejected once");
        let reason = dead[0].headers.iter().find(|(name, _)| name == "reason");
        let reason = String::from_utf8(reason.unwrap().1.clone()).unwrap();
        let year = |ms: u64| stream::units::instant(ms)[..10].to_owned();
        for named in [year(times[0]), year(log_time_ms + 60_000)] {
            assert!(reason.contains(&named), "{named} in {reason}");
        }
    }
}

#[test]
fn a_broker_s_clock_that_is_years_ahead_loses_nothing() {
    let now_ms = system_clock()();
    for log_time_ms in [
        now_ms + 600_000,
        now_ms * 1_000,
        4_100_000_000_000,
        u64::MAX,
    ] {
        let (world, _) = run(log_time_ms, LogTimeType::Append);
        assert_eq!(counted(&world), EVENTS, "{log_time_ms}");
        assert_eq!(world.log.records("events-late").len(), 0);
    }
}
