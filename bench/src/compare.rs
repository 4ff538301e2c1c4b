//! Compares the results that were read with the expected ones.

use std::collections::BTreeMap;
use std::fmt;

use events::{WindowCount, WindowSummary};

use crate::oracle::Expected;

/// The result of the comparison; see [`is_exact`](Verdict::is_exact).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    /// Orders that should be counted.
    pub orders_expected: u64,
    /// Orders that the newest revisions count.
    pub orders_counted: u64,
    /// Results that should exist.
    pub results_expected: usize,
    /// Results that were read, of every revision.
    pub results_read: usize,
    /// Users and windows with orders and without a result.
    pub missing: usize,
    /// Results for users and windows without orders.
    pub unexpected: usize,
    /// Results with another count, total or window end.
    pub wrong: usize,
    /// Results beyond the first of the same user, window and revision.
    pub duplicated: usize,
    /// Newest summaries that disagree with the sum of their window's counts, and windows without
    /// one.
    pub summaries_wrong: usize,
    /// Other numbers that differ from the expected ones.
    pub numbers_wrong: usize,
    /// Examples of the differences, for people.
    pub examples: Vec<String>,
}

/// The most examples that are kept.
const EXAMPLES: usize = 5;

impl Verdict {
    /// Returns `true` if every user and window has exactly its count and total, once per revision,
    /// and there are no other results.
    pub fn is_exact(&self) -> bool {
        let results = self.missing + self.unexpected + self.wrong + self.duplicated;
        let faults = results + self.summaries_wrong + self.numbers_wrong;
        faults == 0 && self.orders_counted == self.orders_expected
    }

    /// Compares the summaries, of every revision and in any order, with the expected counts.
    pub fn compare_summaries(&mut self, expected: &[Expected], read: Vec<WindowSummary>) {
        let mut newest = BTreeMap::new();
        for summary in read {
            let kept = newest
                .entry(summary.window_start.as_ms())
                .or_insert_with(|| summary.clone());
            if summary.revision > kept.revision {
                *kept = summary;
            }
        }

        for window in expected.chunk_by(|a, b| a.window_start_ms == b.window_start_ms) {
            let sums = (
                window.iter().map(|row| row.order_count).sum(),
                Some(window.iter().map(|row| row.total_cents).sum()),
                window.len() as u64,
            );

            let summary = newest.remove(&window[0].window_start_ms);
            let read = summary.as_ref().map(|read| {
                (
                    read.order_count,
                    read.amounts.total_cents(),
                    read.user_count,
                )
            });

            if read != Some(sums) {
                self.summaries_wrong += 1;
                self.example(format!("summary: {summary:?} instead of {sums:?}"));
            }
        }
        self.summaries_wrong += newest.len();
    }

    /// Compares any other number with the expected one.
    pub fn compare_number(&mut self, what: &str, expected: u64, read: u64) {
        if expected != read {
            self.numbers_wrong += 1;
            self.example(format!("{what}: {read} instead of {expected}"));
        }
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text);
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "orders:  {} expected, {} counted",
            self.orders_expected, self.orders_counted
        )?;

        writeln!(
            f,
            "results: {} expected, {} read",
            self.results_expected, self.results_read
        )?;

        let missing = self.missing;
        let unexpected = self.unexpected;
        let wrong = self.wrong;
        let duplicated = self.duplicated;

        writeln!(
            f,
            "missing {missing}, unexpected {unexpected}, wrong {wrong}, duplicated {duplicated}"
        )?;

        writeln!(
            f,
            "summaries wrong {}, other numbers wrong {}",
            self.summaries_wrong, self.numbers_wrong
        )?;

        self.examples
            .iter()
            .try_for_each(|example| writeln!(f, "  {example}"))?;

        f.write_str(if self.is_exact() {
            "EXACT"
        } else {
            "NOT EXACT"
        })
    }
}

/// Compares results, in any order, with the expected ones, sorted as
/// [`counts`](crate::oracle::counts) returns them.
pub fn compare(expected: &[Expected], mut read: Vec<WindowCount>, window_ms: u64) -> Verdict {
    let mut verdict = Verdict {
        orders_expected: expected.iter().map(|row| row.order_count).sum(),
        results_expected: expected.len(),
        results_read: read.len(),
        ..Verdict::default()
    };

    read.sort_unstable_by_key(|row| (row.window_start, row.user_id, row.revision));
    note_duplicates(&read, &mut verdict);
    let groups = read.chunk_by(|a, b| (a.window_start, a.user_id) == (b.window_start, b.user_id));
    let mut expected = expected.iter().peekable();

    for newest in groups.map(|group| &group[group.len() - 1]) {
        let key = (newest.window_start.as_ms(), newest.user_id);
        while let Some(missing) = expected.next_if(|row| (row.window_start_ms, row.user_id) < key) {
            note_missing(missing, &mut verdict);
        }

        match expected.next_if(|row| (row.window_start_ms, row.user_id) == key) {
            Some(row) => note_values(row, newest, window_ms, &mut verdict),
            None => {
                verdict.unexpected += 1;
                verdict.example(format!("unexpected: {newest:?}"));
            }
        }
        verdict.orders_counted += newest.order_count;
    }

    expected.for_each(|row| note_missing(row, &mut verdict));
    verdict
}

fn note_duplicates(sorted: &[WindowCount], verdict: &mut Verdict) {
    let same = |pair: &&[WindowCount]| {
        let key = |row: &WindowCount| (row.window_start, row.user_id, row.revision);
        key(&pair[0]) == key(&pair[1])
    };
    for pair in sorted.windows(2).filter(same) {
        verdict.duplicated += 1;
        verdict.example(format!("duplicated: {:?}", pair[1]));
    }
}

fn note_missing(row: &Expected, verdict: &mut Verdict) {
    verdict.missing += 1;
    verdict.example(format!("missing: {row:?}"));
}

fn note_values(row: &Expected, read: &WindowCount, window_ms: u64, verdict: &mut Verdict) {
    let total_cents = read.amounts.total_cents();
    let values = (read.order_count, total_cents, read.window_end.as_ms());
    let end_ms = row.window_start_ms + window_ms;
    if values != (row.order_count, Some(row.total_cents), end_ms) {
        verdict.wrong += 1;
        verdict.example(format!("wrong: {read:?} instead of {row:?}"));
    }
}
