//! A job that counts records of a simulated log, and the plain recount that it must agree with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use record_log::simulated::SimulatedLog;
use record_log::{Cleanup, Delivery, NewRecord, Record, RecordLog, TopicSpec};
use stream::internals::part;
use stream::{
    Aggregate, ByteSize, CheckpointStore, Count, Job, JobError, Key, Metrics, Output, Pipeline,
    Rejected, Run, Settings, Slots, Stop, Windows, system_clock,
};

/// The environment of a test: a log, a store of checkpoints, and the records that were published.
pub struct World {
    pub log: SimulatedLog,
    /// The log's clock.
    clock_ms: Arc<AtomicU64>,
    pub objects: Arc<InMemory>,
    pub windows: Windows,
    /// Key and event time of each record, by partition and offset; none for a record that cannot be
    /// decoded.
    pub records: BTreeMap<(u32, u64), Option<(u64, u64)>>,
    /// Whether some records are published twice.
    pub has_copies: bool,
    /// The event id of each record, by partition and offset.
    ids: BTreeMap<(u32, u64), u64>,
    /// Whether results may have been committed more than once, always with the same content.
    pub may_repeat: bool,
    /// Whether rows whose count is a multiple of three are skipped. The keys of records then name
    /// their window.
    pub is_filtered: bool,
    /// The share of records that are no events.
    pub malformed: f64,
    /// The share of events that are behind others.
    pub behind: f64,
    times: Vec<u64>,
}

/// A row of the results: window start, key, revision and count.
type Row = (u64, u64, u32, u64);

/// A window's distinct keys, its count, and its first keys with their counts.
pub type Summary = (u64, u64, Vec<(u64, u64)>);

impl World {
    /// Creates a world with an empty topic of `partitions` partitions.
    pub fn new(windows: Windows, partitions: u32) -> Self {
        let clock_ms = Arc::new(AtomicU64::new(1_000_000));
        let of_log = Arc::clone(&clock_ms);
        let log = SimulatedLog::new(move || of_log.load(Ordering::SeqCst));
        let retention = Duration::from_secs(3600);
        let topic = TopicSpec {
            name: "events".to_owned(),
            partitions,
            cleanup: Cleanup::Delete,
            retention,
        };
        log.ensure_topics(&[topic]).unwrap();

        let times = vec![0; partitions as usize];
        let objects = Arc::default();
        let records = BTreeMap::new();

        Self {
            log,
            clock_ms,
            objects,
            windows,
            records,
            has_copies: false,
            ids: BTreeMap::new(),
            may_repeat: false,
            is_filtered: false,
            malformed: 0.03,
            behind: 0.5,
            times,
        }
    }

    /// Publishes `count` records. Event time advances in each partition; some records are out of
    /// order, some are late, and some cannot be decoded. Transactions of many sizes leave their
    /// markers between them.
    pub fn publish(&mut self, count: usize, random: &mut SmallRng) {
        let mut publisher = self
            .log
            .publisher("generator", Delivery::Transactional)
            .unwrap();

        let mut written: Vec<(u32, String)> = Vec::new();
        for _ in 0..count {
            let partition = random.random_range(0..self.times.len());
            self.times[partition] += *[0, 0, 1, 2, 9].choose(random).unwrap();
            let behind = if random.random_bool(self.behind) {
                *[0, 0, 3, 7, 7, 25, 90].choose(random).unwrap()
            } else {
                0
            };

            let event = (
                random.random_range(0..7),
                self.times[partition].saturating_sub(behind),
            );

            let value = if random.random_bool(self.malformed) {
                "?".to_owned()
            } else {
                format!("{} {} {}", event.0, event.1, random.next_u64())
            };
            let mut record = (u32::try_from(partition).unwrap(), value);

            if self.has_copies && random.random_bool(0.1) {
                record = written.choose(random).cloned().unwrap_or(record);
            }
            written.push(record.clone());

            let (partition, value) = record;
            let key = None;
            let value = Some(value.as_bytes());

            publisher
                .send(NewRecord {
                    topic: "events",
                    partition: Some(partition),
                    key,
                    value,
                    headers: &[],
                })
                .unwrap();

            if random.random_bool(0.1) {
                publisher.commit(&[]).unwrap();
            }
        }

        publisher.commit(&[]).unwrap();
        self.note();
    }

    /// Publishes events without ids, each a key and an event time, to a partition.
    pub fn put(&mut self, partition: u32, events: &[(u64, u64)]) {
        let values = events.iter().map(|(key, time)| format!("{key} {time}"));
        self.put_values(partition, values.collect());
    }

    /// Publishes records that are no events.
    pub fn put_malformed(&mut self, partition: u32, count: usize) {
        self.put_values(partition, vec!["?".to_owned(); count]);
    }

    /// Publishes records with these values to a partition.
    pub fn put_values(&mut self, partition: u32, values: Vec<String>) {
        let mut publisher = self
            .log
            .publisher("generator", Delivery::Transactional)
            .unwrap();

        for value in values {
            let record = NewRecord {
                topic: "events",
                partition: Some(partition),
                key: None,
                value: Some(value.as_bytes()),
                headers: &[],
            };
            publisher.send(record).unwrap();
        }

        publisher.commit(&[]).unwrap();
        self.note();
    }

    /// Records everything that was published.
    fn note(&mut self) {
        for record in self.log.records("events") {
            let value = record.value.as_deref().unwrap();
            let position = (record.partition, record.offset);
            let event = parse(value).map(|(time, key)| (key, time));
            let event = event.filter(|(_, time)| *time >= self.windows.offset_ms());
            self.records.insert(position, event);
            let own_id = 1 << 63 | u64::from(record.partition) << 40 | record.offset;
            let id = parse_id(value).unwrap_or(own_id);
            self.ids.insert(position, id);
        }
    }

    /// Returns the number of records that are no events.
    pub fn malformed_records(&self) -> usize {
        self.records
            .values()
            .filter(|event| event.is_none())
            .count()
    }

    /// Returns the rows of windows that end by `boundary`, if none of their records is late.
    pub fn rows_ending_by(&self, boundary: u64) -> BTreeMap<(u64, u64), u64> {
        let mut rows = BTreeMap::new();
        for (key, time) in self.records.values().flatten() {
            for window in self.windows_of(*time) {
                if window + self.windows.size_ms() <= boundary {
                    *rows.entry((window, *key)).or_default() += 1;
                }
            }
        }
        rows
    }

    /// Creates the topics to which a job publishes.
    pub fn prepare(&self, settings: &Settings) {
        stream::internals::ensure_topics(&self.log, &self.pipeline(), settings).unwrap();
    }

    /// Creates the counting job over this world that runs until a stop is requested.
    pub fn running(&self, log: SimulatedLog, settings: &Settings) -> Run<u64, Count> {
        let mut job = self.job(log, settings);
        job.settings.until_end = false;
        // A test may read the results before the job has created their topics.
        self.prepare(settings);
        job
    }

    /// Returns the number of partitions.
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.times.len()).unwrap()
    }

    /// Adds an empty partition, whose events are as old as those of the others were at first.
    pub fn add_partition(&mut self) {
        self.times.push(0);
        self.log.grow("events", self.partitions());
    }

    /// Deletes the topic and creates it again, a while later.
    pub fn recreate_topic(&mut self) {
        self.clock_ms.fetch_add(1_000_000, Ordering::SeqCst);
        self.log.recreate("events");
        self.records.clear();
    }

    /// Creates the counting job over this world, for the process with the handle `log`.
    pub fn job(&self, log: SimulatedLog, settings: &Settings) -> Run<u64, Count> {
        self.run_of(self.pipeline(), log, settings)
    }

    /// Defines the counting job of this world.
    fn pipeline(&self) -> Pipeline<u64, Count> {
        pipeline(self.windows, self.is_filtered)
    }

    /// Creates another job over this world.
    pub fn run_of<K: Key, A: Aggregate>(
        &self,
        pipeline: Pipeline<K, A>,
        log: SimulatedLog,
        settings: &Settings,
    ) -> Run<K, A> {
        Run {
            pipeline,
            settings: Settings {
                until_end: true,
                ..settings.clone()
            },
            log: Arc::new(log),
            store: CheckpointStore::new(self.objects.clone(), Path::default(), "counts"),
            metrics: Metrics::new("counts"),
            clock: system_clock(),
            members: None,
        }
    }

    /// Runs the counting job until everything published is read.
    pub fn run(&self, settings: &Settings) -> Result<(), JobError> {
        self.job(self.log.clone(), settings).run(&Stop::default())
    }

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
    fn newest(&self, topic: &str) -> BTreeMap<Vec<u8>, Vec<u64>> {
        let mut newest = BTreeMap::new();
        for record in self.log.records(topic) {
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
        for topic in ["events-late", "events-dead-letter"] {
            assert_eq!(
                self.side_outputs(topic).len(),
                self.log.records(topic).len(),
                "a record is in {topic} twice"
            );
        }
        self.check_but_for_repeated_side_outputs();
    }

    /// Does the same for a job that may have sent records to side outputs more than once.
    ///
    /// # Panics
    /// If they differ.
    pub fn check_but_for_repeated_side_outputs(&self) {
        let late = self.side_outputs("events-late");
        let dead = self.side_outputs("events-dead-letter");
        let mut expected: BTreeMap<(u64, u64), u64> = BTreeMap::new();
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

            for window in self.windows_of(time) {
                *expected.entry((window, key)).or_default() += 1;
            }
        }

        self.check_summaries(&expected);
        self.check_tops(&expected);

        if self.is_filtered {
            expected.retain(|_, count| !is_skipped(*count));
        }
        assert_eq!(self.committed(), expected);
    }

    /// Compares the panes in the newest checkpoint with a plain recount, as far back as the
    /// checkpoint is complete.
    ///
    /// # Panics
    /// If they differ.
    pub fn check_checkpoint(&self) {
        let Some(newest) = self.objects_in("manifests").pop() else {
            return;
        };
        let manifest = self.manifest(&newest);
        let from = manifest.complete_from();

        let mut kept: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for info in &manifest.parts {
            let bytes = self.bytes(&self.part(&info.name));
            let panes = part::read::<u64, Count>(&bytes, info.last + 1).unwrap();
            for entry in panes.iter().flat_map(|pane| &pane.entries) {
                *kept.entry((entry.pane, entry.key)).or_default() += entry.aggregate.0;
            }
        }
        kept.retain(|(pane, _), _| *pane >= from);

        let late = self.side_outputs("events-late");
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
        assert_eq!(newest.collect::<BTreeMap<_, _>>(), expected);
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

    /// Returns the windows that contain an event, found by trying all of them.
    pub fn windows_of(&self, time: u64) -> Vec<u64> {
        let starts = self.windows.offset_ms()..=time;
        let starts = starts.step_by(usize::try_from(self.windows.slide_ms()).unwrap());
        starts
            .filter(|start| time < start + self.windows.size_ms())
            .collect()
    }

    /// Returns the records of a topic whose values are numbers, without tombstones.
    pub fn numbers(&self, topic: &str) -> Vec<Vec<u64>> {
        let values = self.log.records(topic).into_iter();
        values
            .filter_map(|record| record.value.as_deref().map(numbers))
            .collect()
    }

    /// Returns the source positions of the records in a late or dead-letter topic.
    pub fn side_outputs(&self, topic: &str) -> BTreeSet<(u32, u64)> {
        let mut side_outputs = BTreeSet::new();
        for record in self.log.records(topic) {
            let header = |name: &str| {
                let value = record
                    .headers
                    .iter()
                    .find(|(header, _)| header == name)
                    .unwrap()
                    .1
                    .clone();
                String::from_utf8(value).unwrap().parse::<u64>().unwrap()
            };
            side_outputs.insert((
                u32::try_from(header("source_partition")).unwrap(),
                header("source_offset"),
            ));
        }

        side_outputs
    }
}

/// Parses numbers that are separated by spaces.
fn numbers(value: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(value).unwrap();
    text.split(' ')
        .map(|number| number.parse().unwrap())
        .collect()
}

/// Returns whether a filtered job skips rows with this count.
fn is_skipped(count: u64) -> bool {
    count.is_multiple_of(3)
}

/// Orders keys by their counts: the greatest first, then the least key.
fn rank((key, count): (&u64, &Count), (other, than): (&u64, &Count)) -> std::cmp::Ordering {
    (std::cmp::Reverse(count), key).cmp(&(std::cmp::Reverse(than), other))
}

/// Defines a job that counts by key, totals each window with its first three keys, and publishes the
/// first two keys of each window that have more than one event.
fn pipeline(windows: Windows, is_filtered: bool) -> Pipeline<u64, Count> {
    Job::new("counts")
        .source("events", |record| {
            let (time, key) = decode(record)?;
            Ok((time, (key, record.value.and_then(parse_id))))
        })
        .identified_by(|(_, id)| id.map(Into::into))
        .window(windows)
        .aggregate(|(key, _): (u64, Option<u64>)| [(key, Count(1))])
        .sink("counts", move |row, output| {
            output.key.extend(row.key.to_string().bytes());
            if is_filtered {
                let revision = row.revision.to_string().into_bytes();
                output.key.extend(format!(" {}", row.window_start).bytes());
                output.headers.push(("revision".to_owned(), revision));
            }
            if is_filtered && is_skipped(row.aggregate.0) {
                output.skip();
            }
            write(
                &[
                    row.window_start,
                    row.key,
                    row.revision.into(),
                    row.aggregate.0,
                ],
                output,
            );
        })
        .summarize("totals", 3, rank, |totals, output| {
            let mut numbers = vec![
                totals.window_start,
                totals.revision().into(),
                totals.keys,
                totals.aggregate.0,
            ];
            numbers.extend(totals.top.iter().flat_map(|(key, count)| [*key, count.0]));
            write(&numbers, output);
        })
        .top("tops", 2, rank, |ranked, output| {
            let place = format!("{} {}", ranked.window_start, ranked.rank);
            output.key.extend(place.bytes());
            if ranked.aggregate.0 < 2 {
                output.skip();
            }

            let Count(count) = ranked.aggregate;
            let [rank, revision] = [ranked.rank, ranked.revision].map(u64::from);
            let numbers = [ranked.window_start, rank, revision, ranked.key, count];
            write(&numbers, output);
        })
}

/// Decodes a record into its event time and its key.
pub fn decode(record: &Record<'_>) -> Result<(u64, u64), Rejected> {
    parse(record.value.unwrap_or_default())
        .ok_or_else(|| Rejected::because("two numbers are expected"))
}

/// Writes numbers as a record's value.
pub fn write(numbers: &[u64], output: &mut Output) {
    let text: Vec<String> = numbers.iter().map(u64::to_string).collect();
    output.value.extend(text.join(" ").bytes());
}

fn parse(value: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = std::str::from_utf8(value).ok()?.split(' ');
    let key = numbers.next()?.parse().ok()?;
    let time = numbers.next()?.parse().ok()?;
    Some((time, key))
}

fn parse_id(value: &[u8]) -> Option<u64> {
    let id = std::str::from_utf8(value).ok()?.split(' ').nth(2)?;
    id.parse().ok()
}

/// Draws settings: any number of workers, any disorder.
pub fn settings(random: &mut SmallRng) -> Settings {
    Settings {
        workers: random.random_range(1..=4),
        sink_slots: *[1, 4, 64, 1024]
            .map(|count| Slots::new(count).unwrap())
            .choose(random)
            .unwrap(),
        max_transaction_rows: *[1, 3, 250_000].choose(random).unwrap(),
        side_output_memory: *[1, 1_000, 8 << 20]
            .map(ByteSize::bytes)
            .choose(random)
            .unwrap(),
        disorder: Duration::from_millis(*[0, 7, 30].choose(random).unwrap()),
        allowed_lateness: Duration::from_millis(*[0, 40, 1000].choose(random).unwrap()),
        max_open_panes: random.random_range(2..=8),
        ..Settings::default()
    }
}

/// Draws windows: tumbling of one pane or several, or sliding, with a slide that divides the size
/// or does not, and with an offset or without one.
pub fn windows(random: &mut SmallRng) -> Windows {
    let ms = Duration::from_millis;
    match random.random_range(0..6) {
        0 => Windows::tumbling(ms(10)).unwrap(),
        1 => Windows::tumbling(ms(30))
            .unwrap()
            .in_panes_of(ms(10))
            .unwrap(),
        2 => Windows::sliding(ms(30), ms(10)).unwrap(),
        3 => Windows::tumbling(ms(20)).unwrap().offset(ms(10)),
        4 => Windows::sliding(ms(30), ms(10)).unwrap().offset(ms(25)),
        _ => Windows::sliding(ms(25), ms(10)).unwrap(),
    }
}

/// Creates a random number generator from a seed, so that a failing test can name it.
pub fn random(seed: u64) -> SmallRng {
    let mut random = SmallRng::seed_from_u64(seed);
    random.next_u64();
    random
}
