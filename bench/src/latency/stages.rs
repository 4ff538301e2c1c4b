//! The stages between a window's end and its results, from the milestones in the job's log.
//!
//! A window has passed a milestone when the last worker has. A worker's line about a later boundary
//! counts for the windows before it, too, because a worker may pass several at once.

use std::collections::{BTreeMap, BTreeSet};

use events::Timestamp;

use crate::results::{Measure, Table};

/// The milestones in their order, and the stages that end with them.
const STAGES: [(&str, &str); 8] = [
    ("Crossed", "the watermark of each source passes the end"),
    ("Frontier", "all workers know of it"),
    ("Closed", "entries are sorted and merged"),
    ("Rows", "rows are made"),
    ("Part", "parts are written"),
    ("Manifest", "the manifest is written"),
    ("Commit", "the committer begins"),
    (
        "Committed",
        "rows are sent and the transaction is committed",
    ),
];

/// A line of the log about a milestone.
#[derive(Debug, PartialEq)]
struct Line {
    at_us: u64,
    milestone: String,
    event_ms: u64,
    thread: String,
}

/// A window, and the time at which a reader had all of its results.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The end of the window.
    pub end_ms: u64,
    /// The time at which the watermark may pass the window: its end plus the allowed disorder.
    pub due_ms: u64,
    /// The time at which the last of its results was read.
    pub read_at_ms: u64,
}

/// Prints the time from the moment at which windows were due to each milestone, and from one
/// milestone to the next: medians, and the greatest. Returns them; none if the log names no milestone.
pub fn report(log: &str, windows: &[Window], pane_ms: u64) -> Option<Table> {
    let lines: Vec<Line> = log.lines().filter_map(line).collect();
    println!(
        "{:<48} {:>12} {:>12} {:>12}",
        "milestone", "median ms", "at most ms", "stage ms"
    );

    let measures = ["median", "most", "stage"].map(|name| Measure::new(name, "ms"));
    let mut table = Table::new("Milestones of a window", &measures);
    let mut before_ms = 0.0;
    for (milestone, about) in STAGES {
        let delay = |window: &Window| {
            let passed_us = passed(&lines, milestone, window, pane_ms)?;
            Some(passed_us.saturating_sub(window.due_ms * 1_000))
        };
        let delays: Vec<u64> = windows.iter().filter_map(delay).collect();
        before_ms = print(about, delays, before_ms, &mut table);
    }

    let read = |window: &Window| window.read_at_ms.saturating_sub(window.due_ms) * 1_000;
    print(
        "a reader has them",
        windows.iter().map(read).collect(),
        before_ms,
        &mut table,
    );
    (!lines.is_empty()).then_some(table)
}

/// Prints a line, adds it to the table, and returns the median in milliseconds.
#[allow(clippy::cast_precision_loss, reason = "delays are far below 2^53 µs")]
fn print(about: &str, mut delays_us: Vec<u64>, before_ms: f64, table: &mut Table) -> f64 {
    delays_us.sort_unstable();
    let Some(most) = delays_us.last() else {
        println!("{about:<48} {:>12}", "not seen");
        return before_ms;
    };

    let median = delays_us[delays_us.len() / 2] as f64 / 1e3;
    let most = *most as f64 / 1e3;
    println!(
        "{about:<48} {median:>12.1} {most:>12.1} {:>12.1}",
        median - before_ms
    );
    table.add(about, &[], &[median, most, median - before_ms]);
    median
}

/// Returns the time at which the last worker passed a milestone with a window; none if a worker did
/// not.
fn passed(lines: &[Line], milestone: &str, window: &Window, pane_ms: u64) -> Option<u64> {
    let of_milestone = || lines.iter().filter(|line| line.milestone == milestone);
    let threads: BTreeSet<&str> = of_milestone().map(|line| line.thread.as_str()).collect();

    // Some milestones name the last pane of the window, others the boundary after it.
    let names_a_pane = matches!(milestone, "Frontier" | "Closed" | "Rows" | "Part");
    let wanted_ms = if names_a_pane {
        window.end_ms - pane_ms
    } else {
        window.end_ms
    };

    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    for line in of_milestone().filter(|line| line.event_ms >= wanted_ms) {
        first.entry(&line.thread).or_insert(line.at_us);
    }

    let has_all = !threads.is_empty() && first.len() == threads.len();
    has_all.then(|| first.into_values().max()).flatten()
}

/// Reads a line of the log; none if it is about something else.
fn line(text: &str) -> Option<Line> {
    let text = without_colours(text);
    let (at, rest) = text.trim_start().split_once(' ')?;
    let field = |name: &str| {
        let (_, after) = rest.split_once(&format!("{name}="))?;
        after.split(' ').next()
    };

    let (_, fraction) = at.split_once('.')?;
    let microseconds: u64 = fraction.get(3..6)?.parse().ok()?;
    let at: Timestamp = at.parse().ok()?;
    Some(Line {
        at_us: at.as_ms() * 1_000 + microseconds,
        milestone: field("milestone")?.to_owned(),
        event_ms: field("event_ms")?.parse().ok()?,
        thread: field("thread")?.to_owned(),
    })
}

/// Leaves out the sequences by which terminals change colours.
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default();
    let others = parts.map(|part| part.split_once('m').map_or(part, |(_, after)| after));
    std::iter::once(first).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-29T09:00:00.100250Z DEBUG stream::milestones: milestone=Crossed event_ms=5000 thread=ThreadId(3)
\x1b[2m2026-11-29T09:00:00.120000Z\x1b[0m \x1b[34mDEBUG\x1b[0m stream::milestones\x1b[2m:\x1b[0m \x1b[3mmilestone\x1b[0m\x1b[2m=\x1b[0mCrossed \x1b[3mevent_ms\x1b[0m\x1b[2m=\x1b[0m10000 \x1b[3mthread\x1b[0m\x1b[2m=\x1b[0mThreadId(4)
2026-11-29T09:00:00.130000Z DEBUG stream::milestones: milestone=Closed event_ms=0 thread=ThreadId(3)
2026-11-29T09:00:00.140000Z DEBUG stream::milestones: milestone=Crossed event_ms=10000 thread=ThreadId(3)
2026-11-29T09:00:00.145000Z DEBUG stream::milestones: milestone=Crossed event_ms=15000 thread=ThreadId(3)
2026-11-29T09:00:00.150000Z  WARN stream::run: the attempt ended
";

    fn window(end_ms: u64) -> Window {
        Window {
            end_ms,
            due_ms: end_ms,
            read_at_ms: 0,
        }
    }

    #[test]
    fn a_window_has_passed_a_milestone_when_the_last_worker_has() {
        let lines: Vec<Line> = LOG.lines().filter_map(line).collect();
        assert_eq!(lines.len(), 5);

        let start: Timestamp = "2026-11-29T09:00:00Z".parse().unwrap();
        let after_us = |milestone, end_ms| {
            let passed = passed(&lines, milestone, &window(end_ms), 5_000)?;
            Some(passed - start.as_ms() * 1_000)
        };
        assert_eq!(after_us("Crossed", 5_000), Some(120_000));
        assert_eq!(after_us("Crossed", 10_000), Some(140_000));
        assert_eq!(after_us("Crossed", 15_000), None);
        assert_eq!(after_us("Closed", 5_000), Some(130_000));
        assert_eq!(after_us("Closed", 10_000), None);
        assert_eq!(after_us("Part", 5_000), None);
    }

    #[test]
    fn a_moment_is_read_to_the_microsecond() {
        let first = line(LOG.lines().next().unwrap()).unwrap();
        assert_eq!(first.at_us % 1_000_000, 100_250);
    }
}
