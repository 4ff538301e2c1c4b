//! The stages that are part of a job. Each runs a whole job on a [`FixedLog`], with one worker.
//!
//! One job reads once or twice as many events of the same keys in the same panes; the difference is the work for an event.
//! Another reads the same number of events of once or twice as many keys; the difference is the work for a key in a pane.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use events::{ANALYTICS_RESULTS, ORDERS};
use order_analytics::OrderAnalytics;
use record_log::Record;
use stream::{
    Count, Job, JobError, Output, Pipeline, Rejected, Run, Settings, Sourced, Stop, Windows,
};

use super::inputs::{self, START_MS, WINDOW_MS};
use super::log::{FixedLog, Stored};

const SOURCE: &str = "events";
const RESULTS: &str = "counts";
/// The number of panes that events are spread over.
const PANES: u64 = 5;
/// The most passes over a stage's input.
const PASSES: u64 = 2;

/// An event of fixed length: its time, its key and its id.
struct Event {
    key: u64,
    id: u128,
}

/// The command line of the job `order-analytics`.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    job: OrderAnalytics,
}

/// Counts events of a thousand keys.
pub fn admit(units: u64, passes: u64) -> Result<u64, Box<dyn Error>> {
    count_few_keys(units, passes, counting()?)
}

/// Counts the same events as [`admit`], without their ids.
pub fn admit_without_ids(units: u64, passes: u64) -> Result<u64, Box<dyn Error>> {
    count_few_keys(units, passes, counting_without_ids()?)
}

fn count_few_keys(
    units: u64,
    passes: u64,
    pipeline: Pipeline<u64, Count>,
) -> Result<u64, Box<dyn Error>> {
    const KEYS: u64 = 1_000;

    let read = units * passes;
    let results = count(units * PASSES, read, KEYS, pipeline)?;
    check(results, KEYS * PANES)?;
    Ok(read)
}

/// Counts the events of many keys: `units` times `passes` of them in all panes together.
pub fn close(units: u64, passes: u64) -> Result<u64, Box<dyn Error>> {
    let events = units * PASSES;
    count(events, events, units * passes / PANES, counting()?)
}

/// Runs the job `order-analytics` over orders.
pub fn whole(units: u64, passes: u64) -> Result<u64, Box<dyn Error>> {
    let read = units * passes;
    let orders = inputs::orders(units * PASSES).map(|order| Stored {
        time_ms: order.created_at.as_ms(),
        key: order.user_id.to_string().into_bytes(),
        value: inputs::published(&order),
    });

    let log = FixedLog::new(ORDERS, ANALYTICS_RESULTS, orders, read);
    let published = log.published();

    let line = Line::try_parse_from(["order-analytics", "--until-end", "--workers", "1"])?;
    line.job.on(Arc::new(log))?.run(&Stop::default())?;
    check(published.load(Ordering::Relaxed).min(read / 2), read / 2)?;
    Ok(read)
}

/// Makes `made` events, counts the first `read` of them, and returns the number of results.
fn count(
    made: u64,
    read: u64,
    keys: u64,
    pipeline: Pipeline<u64, Count>,
) -> Result<u64, Box<dyn Error>> {
    let records = (0..made).map(|number| event(number, read, keys));
    let log = FixedLog::new(SOURCE, RESULTS, records, read);
    let published = log.published();

    let settings = Settings {
        workers: 1,
        until_end: true,
        ..Settings::default()
    };
    Run::new(pipeline, settings, Arc::new(log))?.run(&Stop::default())?;

    Ok(published.load(Ordering::Relaxed))
}

fn check(found: u64, expected: u64) -> Result<(), Box<dyn Error>> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("the job published {found} results instead of {expected}").into())
    }
}

fn counting() -> Result<Pipeline<u64, Count>, JobError> {
    let source = Job::new("counting").source(SOURCE, decode);
    counted(source.identified_by(|event| Some(event.id)))
}

fn counting_without_ids() -> Result<Pipeline<u64, Count>, JobError> {
    counted(Job::new("counting").source(SOURCE, decode))
}

fn counted(source: Sourced<Event>) -> Result<Pipeline<u64, Count>, JobError> {
    let windows = Windows::tumbling(Duration::from_millis(WINDOW_MS))?;
    Ok(source
        .window(windows)
        .aggregate(|event: Event| [(event.key, Count(1))])
        .sink(RESULTS, |row, output: &mut Output| {
            output.key.extend_from_slice(&row.key.to_le_bytes());
            output
                .value
                .extend_from_slice(&row.aggregate.0.to_le_bytes());
        }))
}

/// Returns event `number` of `count`. Its pane and its key follow from the number, so that all keys
/// have the same number of events.
fn event(number: u64, count: u64, keys: u64) -> Stored {
    let time_ms = START_MS + PANES * WINDOW_MS * number / count;
    let key = (number % keys).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let id = u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Stored {
        time_ms,
        key: Vec::new(),
        value: [
            &time_ms.to_le_bytes()[..],
            &key.to_le_bytes(),
            &id.to_le_bytes(),
        ]
        .concat(),
    }
}

fn decode(record: &Record<'_>) -> Result<(u64, Event), Rejected> {
    let read = || {
        let (time_ms, rest) = record.value?.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        let event = Event {
            key: u64::from_le_bytes(*key),
            id: u128::from_le_bytes(*rest.first_chunk()?),
        };
        Some((u64::from_le_bytes(*time_ms), event))
    };
    read().ok_or_else(|| Rejected::because("the event is too short"))
}
