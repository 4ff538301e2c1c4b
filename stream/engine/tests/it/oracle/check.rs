//! The comparison of a world's results, side outputs and checkpoint with a plain recount.

use std::collections::{BTreeMap, BTreeSet};

use record_log::simulated::StoredRecord;
use stream::Count;
use stream::internals::part;

use super::counting::is_skipped;
use super::{Form, SECOND, World};
use crate::{joined, passing, processing, staged};

/// A row of the results: window start, key, revision and count.
type Row = (u64, u64, u32, u64);

/// A window's distinct keys, its count, and its first keys with their counts.
pub type Summary = (u64, u64, Vec<(u64, u64)>);

impl World {
    /// Returns the committed results, each row at its highest revision.
    ///
    /// # Panics
    /// If a revision of a row was committed twice.
    pub fn committed(&self) -> BTreeMap<(u64, u64), u64> {
        let mut rows: Vec<Row> = self
            .numbers("counts")
            .iter()
            .map(|n| (n[0], n[1], u32::try_from(n[2]).unwrap(), n[3]))
            .collect();
        rows.sort_unstable();
        if self.may_repeat {
            rows.dedup();
        }

        let distinct: BTreeSet<_> = rows
            .iter()
            .map(|(window, key, revision, _)| (window, key, revision))
            .collect();

        assert_eq!(
            distinct.len(),
            rows.len(),
            "a revision was committed twice: {rows:?}"
        );

        if self.is_filtered {
            let rows = self.newest("counts").into_values();
            return rows.map(|row| ((row[0], row[1]), row[3])).collect();
        }

        rows.into_iter()
            .map(|(window, key, _, count)| ((window, key), count))
            .collect()
    }

    /// Returns the newest value of each key of a topic, as numbers. Keys whose newest record is a
    /// tombstone are absent.
    ///
    /// # Panics
    /// If a record of a row has another revision in its header than in its value.
    pub fn newest(&self, topic: &str) -> BTreeMap<Vec<u8>, Vec<u64>> {
        let mut newest = BTreeMap::new();
        for record in self.published(topic) {
            let key = record.key.unwrap();
            let Some(value) = record.value else {
                newest.remove(&key);
                continue;
            };

            let row = numbers(&value);
            for (name, header) in record.headers {
                assert_eq!((&*name, numbers(&header)), ("revision", vec![row[2]]));
            }
            newest.insert(key, row);
        }

        newest
    }

    /// Returns the highest revision of all rows.
    pub fn highest_revision(&self) -> u64 {
        self.numbers("counts")
            .iter()
            .map(|numbers| numbers[2])
            .max()
            .unwrap_or(0)
    }

    /// Compares all committed results with a plain recount.
    ///
    /// # Panics
    /// If they differ, or if a record was sent to a side output twice.
    pub fn check(&self) {
        if self.form == Form::Passing {
            return passing::check(self, self.may_repeat);
        }
        for kind in ["late", "dead-letter"] {
            assert_eq!(
                self.side_outputs(kind).len(),
                self.side_records(kind).len(),
                "a record is in a topic of {kind} twice"
            );
        }
        self.check_results(false);
    }

    /// Compares all committed results of a job that may have sent records to side outputs more than once.
    ///
    /// # Panics
    /// If they differ.
    pub fn check_but_for_repeated_side_outputs(&self) {
        self.check_results(true);
    }

    fn check_results(&self, may_fall_back: bool) {
        if self.form == Form::Passing {
            return passing::check(self, true);
        }
        if self.form == Form::Processing {
            return processing::check(self, self.may_repeat);
        }
        let late = self.side_outputs("late");
        let dead = self.side_outputs("dead-letter");
        let mut expected: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let mut of_second = expected.clone();
        let mut counted = BTreeSet::new();

        for (position, event) in &self.records {
            assert_eq!(
                event.is_none(),
                dead.contains(position),
                "record {position:?} is {event:?}"
            );

            let Some((key, time)) = event.filter(|_| !late.contains(position)) else {
                continue;
            };
            if !counted.insert(self.ids[position]) {
                continue;
            }

            let is_second = self.is_joined() && position.0 >= SECOND;
            let of_topic = if is_second {
                &mut of_second
            } else {
                &mut expected
            };
            for window in self.windows_of(time) {
                *of_topic.entry((window, key)).or_default() += 1;
            }
        }

        if self.is_joined() {
            return joined::check(self, &expected, &of_second);
        }
        if self.form == Form::Staged {
            staged::check(self, &expected, may_fall_back);
        }
        self.check_summaries(&expected);
        self.check_tops(&expected);

        if self.is_filtered {
            expected.retain(|_, count| !is_skipped(*count));
        }
        assert_eq!(self.committed(), expected);
    }

    /// Returns the events that were counted, each with its position, key and time: those that are not late, and of
    /// copies the first.
    pub fn counted(&self) -> Vec<((u32, u64), u64, u64)> {
        let late = self.side_outputs("late");
        let mut ids = BTreeSet::new();
        let mut counted = Vec::new();
        for (position, event) in &self.records {
            let Some((key, time)) = event.filter(|_| !late.contains(position)) else {
                continue;
            };
            if ids.insert(self.ids[position]) {
                counted.push((*position, key, time));
            }
        }
        counted
    }

    /// Compares the panes in the newest checkpoint with a plain recount, as far back as the
    /// checkpoint is complete.
    ///
    /// # Panics
    /// If they differ.
    pub fn check_checkpoint(&self) {
        if matches!(self.form, Form::Passing | Form::Processing) {
            // Such a checkpoint has no committed records, or states in the place of counts.
            return;
        }
        let counts = if self.is_joined() {
            joined::counts_of_part
        } else {
            counts_of_part
        };
        let Some(newest) = self.objects_in("manifests").pop() else {
            return;
        };
        let manifest = self.manifest(&newest);
        let from = manifest.complete_from();

        let mut kept: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for info in &manifest.parts {
            let bytes = self.bytes(&self.part(&info.name));
            for (pane, key, count) in counts(&bytes, info.last + 1) {
                *kept.entry((pane, key)).or_default() += count;
            }
        }
        kept.retain(|(pane, _), _| *pane >= from);

        let late = self.side_outputs("late");
        let mut expected: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let mut counted = BTreeSet::new();
        for (position, event) in &self.records {
            let Some((key, time)) = event.filter(|_| !late.contains(position)) else {
                continue;
            };
            if counted.insert(self.ids[position]) && self.windows.pane_of(time) >= from {
                *expected
                    .entry((self.windows.pane_of(time), key))
                    .or_default() += 1;
            }
        }
        assert_eq!(kept, expected, "the checkpoint, from {from} on");
    }

    fn check_summaries(&self, rows: &BTreeMap<(u64, u64), u64>) {
        let mut expected: BTreeMap<u64, Summary> = BTreeMap::new();
        for ((window, key), count) in rows {
            let (keys, total, top) = expected.entry(*window).or_default();
            (*keys, *total) = (*keys + 1, *total + count);
            top.push((*key, *count));
            top.sort_by_key(|(key, count)| (std::cmp::Reverse(*count), *key));
            top.truncate(3);
        }

        assert_eq!(self.summaries(), expected);
    }

    /// Returns the newest committed summary of each window.
    ///
    /// # Panics
    /// If a revision of a summary was committed twice.
    pub fn summaries(&self) -> BTreeMap<u64, Summary> {
        let mut summaries = self.numbers("totals");
        summaries.sort_unstable();
        if self.may_repeat {
            summaries.dedup();
        }

        let revisions: BTreeSet<_> = summaries
            .iter()
            .map(|numbers| (numbers[0], numbers[1]))
            .collect();

        assert_eq!(
            revisions.len(),
            summaries.len(),
            "a summary was committed twice: {summaries:?}"
        );

        let top = |numbers: &[u64]| numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let newest = summaries.iter().map(|n| (n[0], (n[2], n[3], top(&n[4..]))));
        newest.collect()
    }

    /// Compares the keys at the first two ranks that have more than one event.
    fn check_tops(&self, rows: &BTreeMap<(u64, u64), u64>) {
        let mut ranked: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
        for ((window, key), count) in rows {
            ranked.entry(*window).or_default().push((*key, *count));
        }

        let mut expected = BTreeMap::new();
        for (window, mut keys) in ranked {
            keys.sort_by_key(|(key, count)| (std::cmp::Reverse(*count), *key));
            let kept = (1..3).zip(keys).filter(|(_, (_, count))| *count > 1);
            expected.extend(kept.map(|(rank, found)| ((window, rank), found)));
        }

        let tops = self.newest("tops").into_values();
        let tops: BTreeMap<_, _> = tops.map(|n| ((n[0], n[1]), (n[3], n[4]))).collect();
        assert_eq!(tops, expected);
    }

    /// Returns the records of a topic whose values are numbers, without tombstones.
    pub fn numbers(&self, topic: &str) -> Vec<Vec<u64>> {
        let values = self.published(topic).into_iter();
        values
            .filter_map(|record| record.value.as_deref().map(numbers))
            .collect()
    }

    /// Returns the records of the side outputs of a kind, `late` or `dead-letter`, each with the
    /// number of its source.
    pub fn side_records(&self, kind: &str) -> Vec<(u32, StoredRecord)> {
        let topics = (0..).zip(self.topics());
        let of_topic = |(source, topic): (u32, &&str)| {
            let records = self.published(&format!("{topic}-{kind}")).into_iter();
            records.map(move |record| (source, record))
        };
        topics.flat_map(of_topic).collect()
    }

    /// Returns the source positions of the side outputs of a kind.
    ///
    /// # Panics
    /// If one does not name the topic that it was read from, or names one where there is only one.
    pub fn side_outputs(&self, kind: &str) -> BTreeSet<(u32, u64)> {
        let mut side_outputs = BTreeSet::new();
        for (source, record) in self.side_records(kind) {
            let header = |name: &str| {
                let header = record.headers.iter().find(|(header, _)| header == name);
                header.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
            };
            let number = |name: &str| header(name).unwrap().parse::<u64>().unwrap();
            let topic =
                (self.topics().len() > 1).then(|| self.topics()[source as usize].to_owned());
            let is_former = self.had_one_topic && source == 0 && header("source_topic").is_none();
            assert!(is_former || header("source_topic") == topic, "{topic:?}");

            let partition = u32::try_from(number("source_partition")).unwrap();
            side_outputs.insert((source * SECOND + partition, number("source_offset")));
        }

        side_outputs
    }
}

/// Returns the pane, key and count of each entry of a part's panes before `until`.
fn counts_of_part(bytes: &[u8], until: u64) -> Vec<(u64, u64, u64)> {
    let panes = part::read::<u64, Count>(bytes, until).unwrap();
    let entries = panes.into_iter().flat_map(|pane| pane.entries);
    entries
        .map(|entry| (entry.pane, entry.key, entry.aggregate.0))
        .collect()
}

/// Parses numbers that are separated by spaces.
fn numbers(value: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(value).unwrap();
    text.split(' ')
        .map(|number| number.parse().unwrap())
        .collect()
}
