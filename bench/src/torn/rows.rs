//! The rows of a schedule's transactions, and the comparison of those that an independent reader has with those that
//! were committed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// The transactions of a schedule that meet faults. One more follows without faults.
pub const TRANSACTIONS: u64 = 5;
/// The partitions of the topic.
pub const PARTITIONS: u32 = 4;
/// The small rows of a transaction.
const SMALL: u64 = 3;
/// The size of a large row. Two of them in a partition make two batches, and so two requests of one transaction.
const LARGE_BYTES: usize = 140_000;

/// A row: the transaction of a schedule, the attempt to publish it, and its place in it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct NumberedRow {
    pub schedule: u64,
    pub transaction: u64,
    pub attempt: u64,
    pub place: u64,
}

impl NumberedRow {
    /// Returns the number of rows of a transaction.
    pub fn count(transaction: u64) -> u64 {
        SMALL + if transaction.is_multiple_of(2) { 2 } else { 0 }
    }

    /// Returns its partition. Large rows share one.
    pub fn partition(self) -> u32 {
        let place = if self.is_large() { 0 } else { self.place };
        u32::try_from((self.schedule + place) % u64::from(PARTITIONS)).unwrap_or(0)
    }

    /// Returns its value: its numbers, and spaces.
    pub fn value(self) -> String {
        let mut value = self.to_string();
        if self.is_large() {
            let spaces = LARGE_BYTES - value.len();
            value.extend(std::iter::repeat_n(' ', spaces));
        }
        value
    }

    fn is_large(self) -> bool {
        self.place >= SMALL
    }

    /// Reads the numbers of a row.
    pub fn parse(name: &str) -> Option<Self> {
        let mut numbers = name.split('/').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        let row = Self {
            schedule: next()?,
            transaction: next()?,
            attempt: next()?,
            place: next()?,
        };
        numbers.next().is_none().then_some(row)
    }
}

impl fmt::Display for NumberedRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            schedule,
            transaction,
            attempt,
            place,
        } = self;
        write!(formatter, "{schedule}/{transaction}/{attempt}/{place}")
    }
}

/// The rows that the reader has, by schedule.
#[derive(Debug, Default)]
pub struct Books {
    rows: HashMap<u64, Vec<NumberedRow>>,
}

/// A transaction that is not there once and whole.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wrong {
    pub transaction: u64,
    /// A row is missing.
    pub is_lost: bool,
    /// A row is there more than once.
    pub is_doubled: bool,
    /// Some rows of an attempt are there, and others are not.
    pub is_torn: bool,
}

impl Books {
    pub fn add(&mut self, row: NumberedRow) {
        self.rows.entry(row.schedule).or_default().push(row);
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.values().map(Vec::len).sum()
    }

    /// Returns the transactions of a schedule, of which all up to `committed` were committed, that are wrong.
    pub fn wrong(&self, schedule: u64, committed: u64) -> Vec<Wrong> {
        let mut by_transaction: BTreeMap<u64, Vec<NumberedRow>> = BTreeMap::new();
        for row in self.rows.get(&schedule).into_iter().flatten() {
            by_transaction
                .entry(row.transaction)
                .or_default()
                .push(*row);
        }

        let last = by_transaction.keys().copied().max().unwrap_or(0);
        let none = Vec::new();
        (1..=committed.max(last))
            .filter_map(|transaction| {
                let rows = by_transaction.get(&transaction).unwrap_or(&none);
                wrong(transaction, rows, transaction <= committed)
            })
            .collect()
    }
}

fn wrong(transaction: u64, rows: &[NumberedRow], is_committed: bool) -> Option<Wrong> {
    let count = NumberedRow::count(transaction);
    let copies = |place| rows.iter().filter(|row| row.place == place).count();
    let mut by_attempt: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for row in rows {
        by_attempt.entry(row.attempt).or_default().push(row.place);
    }
    let is_whole = |places: &Vec<u64>| (0..count).all(|place| places.contains(&place));

    let wrong = Wrong {
        transaction,
        is_lost: is_committed && (0..count).any(|place| copies(place) == 0),
        is_doubled: rows.iter().any(|row| copies(row.place) > 1),
        is_torn: !by_attempt.values().all(is_whole),
    };
    (wrong.is_lost || wrong.is_doubled || wrong.is_torn).then_some(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(rows: &[(u64, u64, u64)]) -> Books {
        let mut books = Books::default();
        for (transaction, attempt, place) in rows {
            let row = NumberedRow {
                schedule: 9,
                transaction: *transaction,
                attempt: *attempt,
                place: *place,
            };
            books.add(NumberedRow::parse(row.value().trim_end()).unwrap());
        }
        books
    }

    fn found(rows: &[(u64, u64, u64)], committed: u64) -> String {
        let wrong = books(rows).wrong(9, committed);
        let names = wrong.iter().map(|wrong| {
            let flags = [
                (wrong.is_lost, "lost"),
                (wrong.is_doubled, "doubled"),
                (wrong.is_torn, "torn"),
            ];
            let set: Vec<&str> = flags
                .iter()
                .filter(|flag| flag.0)
                .map(|flag| flag.1)
                .collect();
            format!("{}: {}", wrong.transaction, set.join(" "))
        });
        names.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_transaction_is_exact_only_if_one_attempt_is_there_once_and_whole() {
        let first = [(1, 1, 0), (1, 1, 1), (1, 1, 2)];
        assert_eq!(found(&first, 1), "");
        let again = first.map(|(transaction, _, place)| (transaction, 2, place));
        assert_eq!(found(&again, 1), "");

        assert_eq!(found(&[], 1), "1: lost");
        assert_eq!(found(&first[1..], 1), "1: lost torn");
        assert_eq!(found(&[&first[..], &again[..]].concat(), 1), "1: doubled");
        assert_eq!(
            found(&[&first[..], &again[..1]].concat(), 1),
            "1: doubled torn"
        );
        // Two halves of different attempts have every row once.
        assert_eq!(found(&[&first[..1], &again[1..]].concat(), 1), "1: torn");
        assert_eq!(found(&[&first[..], &first[2..]].concat(), 1), "1: doubled");
        // A fourth row of a transaction with three is part of no commit, and neither is another transaction.
        assert_eq!(found(&first[..2], 0), "1: torn");
        assert_eq!(found(&first, 2), "2: lost");
    }

    #[test]
    fn large_rows_share_a_partition_and_do_not_fit_one_batch() {
        let row = |place| NumberedRow {
            schedule: 3,
            transaction: 2,
            attempt: 1,
            place,
        };
        let large: Vec<NumberedRow> = (0..NumberedRow::count(2))
            .map(row)
            .filter(|row| row.is_large())
            .collect();
        assert_eq!(large.len(), 2);
        assert!(
            large
                .iter()
                .all(|row| row.partition() == 3 && row.value().len() == LARGE_BYTES)
        );
        let size_bytes: usize = large.iter().map(|row| row.value().len()).sum();
        assert!(size_bytes > 256 << 10, "one batch has room for both");
        assert_eq!(NumberedRow::parse("1/2/3"), None);
        assert_eq!(NumberedRow::parse("1/2/3/4/5"), None);
    }
}
