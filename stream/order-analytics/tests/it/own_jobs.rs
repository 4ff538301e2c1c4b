//! Jobs that the tests define, on a real Kafka: sliding windows, a worker that hangs in the job's own code, and more
//! rows than a transaction takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::kafka::{Shop, WINDOW_START_MS};
use record_log::Record;
use serde::{Deserialize, Serialize};
use stream::{
    Aggregate, Count, Job, JobError, Pipeline, Rejected, Row, Run, Settings, Stop, Windows,
};

/// The number of times that aggregates were merged in this process.
static MERGES: AtomicU64 = AtomicU64::new(0);

/// A count that notes each merge.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Noted(u64);

impl Aggregate for Noted {
    fn merge(&mut self, other: &Self) {
        MERGES.fetch_add(1, Ordering::Relaxed);
        self.0 += other.0;
    }
}

/// Reads a record as its time in milliseconds after the beginning, and a user.
fn decode(record: &Record<'_>) -> Result<(u64, u64), Rejected> {
    let text = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
    let (time, user) = text
        .split_once(' ')
        .ok_or(Rejected::because("two numbers are expected"))?;
    let number = |text: &str| text.parse::<u64>().map_err(Rejected::because);
    Ok((WINDOW_START_MS + number(time)?, number(user)?))
}

fn settings(shop: &Shop) -> Settings {
    Settings {
        checkpoints: shop.checkpoints(),
        until_end: true,
        ..Settings::default()
    }
}

fn run<A: Aggregate>(
    shop: &Shop,
    pipeline: Pipeline<u64, A>,
    settings: Settings,
) -> Result<(), JobError> {
    Run::new(pipeline, settings, Arc::clone(&shop.log))?.run(&Stop::default())
}

/// The counts in the topic of results, by window and user, once there are so many.
fn counts(shop: &Shop, expected: usize) -> BTreeMap<(u64, u64), u64> {
    let rows = shop.await_records("results", expected).into_iter();
    let rows = rows.map(|row| serde_json::from_slice(&row.value.unwrap()).unwrap());

    let mut counts: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for (start_ms, user, count) in rows {
        let is_repeated = counts.insert((start_ms, user), count).is_some();
        assert!(!is_repeated, "{start_ms} {user}");
    }
    counts
}

#[test]
fn sliding_windows_merge_each_pane_a_few_times() {
    let Some(shop) = Shop::open() else {
        return;
    };
    let events: Vec<(u64, u64)> = (0..3_000).map(|n| (n * 100, n % 5)).collect();
    shop.produce_all(events.iter().map(|(time, user)| format!("{time} {user}")));

    let windows = Windows::sliding(Duration::from_secs(60), Duration::from_secs(1)).unwrap();
    let pipeline = Job::new(&shop.name)
        .source(&shop.input(), decode)
        .window(windows)
        .aggregate(|user| [(user, Noted(1))])
        .sink(&shop.topic("results"), |row: &Row<u64, Noted>, output| {
            let row = (row.window_start, row.key, row.aggregate.0);
            serde_json::to_writer(&mut output.value, &row).unwrap();
        });
    run(&shop, pipeline, settings(&shop)).unwrap();

    let mut expected = BTreeMap::new();
    for (time, user) in &events {
        let last = WINDOW_START_MS + time - time % 1_000;
        for step in 0..60 {
            *expected.entry((last - step * 1_000, *user)).or_insert(0) += 1;
        }
    }
    assert_eq!(counts(&shop, expected.len()), expected);

    // A window that began anew at each slide would merge sixty panes of each user.
    let panes = (events.last().unwrap().0 / 1_000 + 1) * 5;
    let merges = MERGES.load(Ordering::Relaxed);
    assert!((panes..8 * panes).contains(&merges), "{merges} of {panes}");
}

/// Lets a decoder that hangs return when the test is over.
struct Release(Arc<AtomicBool>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Counts the events of each user in windows of a second.
fn counting(
    shop: &Shop,
    decode: impl Fn(&Record<'_>) -> Result<(u64, u64), Rejected> + Send + Sync + 'static,
) -> Pipeline<u64, Count> {
    Job::new(&shop.name)
        .source(&shop.input(), decode)
        .window(Windows::tumbling(Duration::from_secs(1)).unwrap())
        .aggregate(|user| [(user, Count(1))])
        .sink(&shop.topic("results"), |row: &Row<u64, Count>, output| {
            let row = (row.window_start, row.key, row.aggregate.0);
            serde_json::to_writer(&mut output.value, &row).unwrap();
        })
}

#[test]
fn a_worker_that_hangs_ends_the_job_and_the_next_start_counts_everything_once() {
    let Some(shop) = Shop::open() else {
        return;
    };
    let events: Vec<(u64, u64)> = (0..500).map(|n| (n * 20, n % 5)).collect();
    shop.produce_all(events.iter().map(|(time, user)| format!("{time} {user}")));
    let stop_at = format!("{} 0", 400 * 20);

    let is_released = Arc::new(AtomicBool::new(false));
    let _release = Release(Arc::clone(&is_released));
    let hanging = move |record: &Record<'_>| {
        while record.value == Some(stop_at.as_bytes()) && !is_released.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        decode(record)
    };
    let impatient = Settings {
        step_limit: Duration::from_secs(1),
        ..settings(&shop)
    };
    let error = run(&shop, counting(&shop, hanging), impatient).unwrap_err();
    assert!(matches!(error, JobError::Hung { .. }), "{error}");
    assert!(error.to_string().contains("--step-limit"), "{error}");

    run(&shop, counting(&shop, decode), settings(&shop)).unwrap();
    let mut expected = BTreeMap::new();
    for (time, user) in events {
        *expected
            .entry((WINDOW_START_MS + time - time % 1_000, user))
            .or_insert(0) += 1;
    }
    assert_eq!(counts(&shop, expected.len()), expected);
}

/// The users of a window, each with one event.
const USERS: u64 = 1_500;
/// The rows that a transaction may have.
const ROW_LIMIT: u32 = 100;

#[test]
fn rows_beyond_the_limit_of_a_transaction_are_committed_by_others() {
    let Some(shop) = Shop::open() else {
        return;
    };
    shop.produce_all((0..USERS).map(|user| format!("{} {user}", user % 1_000)));
    let limited = Settings {
        max_transaction_rows: ROW_LIMIT,
        ..settings(&shop)
    };
    run(&shop, counting(&shop, decode), limited).unwrap();

    let expected = (0..USERS)
        .map(|user| ((WINDOW_START_MS, user), 1))
        .collect();
    assert_eq!(counts(&shop, USERS as usize), expected);

    // Beside the rows there is a marker of each transaction.
    let ranges = shop.log.offsets(&shop.topic("results")).unwrap();
    let offsets: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let markers = offsets - USERS;
    assert!(markers >= USERS / u64::from(ROW_LIMIT), "{markers}");
}
