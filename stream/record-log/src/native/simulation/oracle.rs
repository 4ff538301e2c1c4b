//! Compares the brokers' logs with the outcomes that the publishers reported, and with the records that the reader
//! received.
//!
//! The records are read from the logs without the client: markers alone decide which are committed. Each transaction of
//! a publication must be there once, whole and in its place.

use std::collections::{BTreeMap, BTreeSet};

use super::attempt::{Attempt, Seen, Told};
use super::kafka::{Kafka, PROGRESS_AT, ROWS_AT};
use super::partition::{Ending, Partition, Stored};
use crate::Offset;
use crate::native::batch::walk::{Fetched, Scratch, Walk};

/// A committed record.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Committed {
    offset: Offset,
    key: Option<String>,
    value: String,
}

/// Returns the number of the transaction with this progress.
pub(super) fn number_of(progress: &[u8]) -> u64 {
    words(std::str::from_utf8(progress).unwrap()).0 as u64
}

/// Returns the first two numbers of a text.
fn words(text: &str) -> (usize, usize) {
    let mut words = text.split(' ').map(|word| word.parse().unwrap_or(0));
    (words.next().unwrap(), words.next().unwrap())
}

pub(super) fn compare(kafka: &Kafka, attempts: &[Attempt], last: u64, seen: &Seen) {
    let progress = kafka.topics[PROGRESS_AT].partitions.iter();
    let progress: Vec<Committed> = progress.flat_map(committed).collect();
    let rows: Vec<Vec<Committed>> = kafka.topics[ROWS_AT]
        .partitions
        .iter()
        .map(committed)
        .collect();

    let ids: BTreeSet<&String> = attempts.iter().map(|attempt| &attempt.id).collect();
    let mut visible: BTreeSet<usize> = BTreeSet::new();
    for id in ids {
        let of_id = progress
            .iter()
            .filter(|record| record.key.as_ref() == Some(id));
        let of_id: Vec<(usize, usize)> = of_id.map(|record| words(&record.value)).collect();
        let numbers: Vec<u64> = of_id.iter().map(|(number, _)| *number as u64).collect();
        let expected: Vec<u64> = (1..=last).collect();
        assert_eq!(numbers, expected, "the progress of {id}");

        let chosen: Vec<usize> = of_id.iter().map(|(_, attempt)| *attempt).collect();
        for (partition, rows) in rows.iter().enumerate() {
            compare_rows(partition, rows, attempts, &chosen, id);
        }
        visible.extend(chosen);
    }

    compare_told(attempts, &visible);
    compare_seen(&rows, seen);
}

/// Checks that the rows of an id in a partition are those of the attempts whose progress is visible, in that order.
fn compare_rows(
    partition: usize,
    rows: &[Committed],
    attempts: &[Attempt],
    chosen: &[usize],
    id: &str,
) {
    let is_of_id = |row: &&Committed| attempts[words(&row.value).0].id == id;
    let found: Vec<&str> = rows
        .iter()
        .filter(is_of_id)
        .map(|row| row.value.as_str())
        .collect();
    let expected: Vec<&str> = chosen
        .iter()
        .flat_map(|attempt| &attempts[*attempt].rows)
        .filter(|(of, _)| *of as usize == partition)
        .map(|(_, value)| value.as_str())
        .collect();

    let short =
        |rows: &[&str]| -> Vec<(usize, usize)> { rows.iter().map(|row| words(row)).collect() };
    assert_eq!(
        short(&found),
        short(&expected),
        "rows (attempt, number) of {id} in partition {partition}"
    );
    assert!(
        found == expected,
        "the bytes of {id} in partition {partition}"
    );
}

fn compare_told(attempts: &[Attempt], visible: &BTreeSet<usize>) {
    for (number, attempt) in attempts.iter().enumerate() {
        let is_visible = visible.contains(&number);
        let is_true = match attempt.told {
            Told::Committed => is_visible,
            Told::Killed | Told::Not | Told::Fenced => !is_visible,
            Told::InDoubt => true,
            Told::Nothing => false,
        };
        assert!(
            is_true,
            "attempt {number} of {}, {}: told {:?}, visible: {is_visible}",
            attempt.id, attempt.number, attempt.told
        );
    }
}

fn compare_seen(rows: &[Vec<Committed>], seen: &Seen) {
    for (partition, rows) in rows.iter().enumerate() {
        let expected: Vec<(Offset, &str)> = rows
            .iter()
            .map(|row| (row.offset, row.value.as_str()))
            .collect();
        let found = seen.get(&(partition as u32)).map_or(&[][..], Vec::as_slice);
        let found: Vec<(Offset, &str)> = found
            .iter()
            .map(|(offset, value)| (*offset, value.as_str()))
            .collect();
        let short =
            |rows: &[(Offset, &str)]| -> Vec<Offset> { rows.iter().map(|row| row.0).collect() };
        assert_eq!(
            short(&found),
            short(&expected),
            "the reader of partition {partition}"
        );
        assert!(
            found == expected,
            "the reader's bytes of partition {partition}"
        );
    }
}

/// Returns the committed records of a partition, by their markers.
fn committed(partition: &Partition) -> Vec<Committed> {
    let mut open: BTreeMap<i64, Vec<Committed>> = BTreeMap::new();
    let mut committed = Vec::new();
    for stored in &partition.log {
        let of_producer = open.entry(stored.producer.id).or_default();
        match stored.marker {
            None => of_producer.extend(records(stored)),
            Some(Ending::Commit) => committed.append(of_producer),
            Some(Ending::Abort) => of_producer.clear(),
        }
    }

    let is_hanging = open.values().any(|records| !records.is_empty());
    assert!(!is_hanging, "a transaction was left open: {open:?}");
    committed.sort();
    committed
}

fn records(stored: &Stored) -> Vec<Committed> {
    let fetched = Fetched {
        id: 1,
        bytes: &stored.bytes,
        max: usize::MAX,
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut records = Vec::new();
    let mut walk = Walk::new(stored.base, -1, Vec::new());
    walk.run(&fetched, &mut Scratch::default(), &mut |record| {
        records.push(Committed {
            offset: record.offset.cast_unsigned(),
            key: record.key.map(text),
            value: text(record.value.unwrap()),
        });
    })
    .unwrap();
    records
}
