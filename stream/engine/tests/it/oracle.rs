//! A job that counts records of a simulated log, and the plain recount that it must agree with.

mod check;
mod counting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use record_log::simulated::SimulatedLog;
use record_log::{Cleanup, Delivery, NewRecord, RecordLog, TopicSpec};
use stream::{
    Aggregate, ByteSize, CheckpointStore, Count, FileFormat, JobError, Key, Metrics, Pipeline, Run,
    Settings, Slots, Stop, Windows, system_clock,
};

pub use check::Summary;
pub use counting::{decode, identified, write};

use crate::{file_sink, joined, passing, processing, staged};
use counting::{parse, parse_id, pipeline};

/// The topics of a world. The second one exists only in worlds of two.
const TOPICS: [&str; 2] = ["events", "more-events"];

/// The first id of a partition of the second topic.
pub const SECOND: u32 = 1 << 20;

/// Returns the topic of a partition with this id, and its number there.
pub fn place(id: u32) -> (&'static str, u32) {
    (TOPICS[(id / SECOND) as usize], id % SECOND)
}

/// The form of a world's job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// It counts by key and window.
    Counting,
    /// It has no window.
    Passing,
    /// It has a process function.
    Processing,
    /// It counts by key and window, and has stages behind the window.
    Staged,
    /// It counts both topics by key and window, and joins the counts.
    Joined,
    /// It does the same as `Joined`, and also keeps keys that only the first topic has.
    LeftJoined,
}

/// The environment of a test: a log, a store of checkpoints, and the records that were published.
pub struct World {
    pub log: SimulatedLog,
    /// The log's clock.
    clock_ms: Arc<AtomicU64>,
    pub objects: Arc<InMemory>,
    pub windows: Windows,
    pub form: Form,
    /// Key and event time of each record, by the partition's id and offset; none for a record that cannot be
    /// decoded.
    pub records: BTreeMap<(u32, u64), Option<(u64, u64)>>,
    /// The format of the files that the job publishes to, in the store of its checkpoints; none if it publishes to the
    /// log.
    pub files: Option<FileFormat>,
    /// True if some records are published twice.
    pub has_copies: bool,
    /// The event id of each record, by the partition's id and offset.
    ids: BTreeMap<(u32, u64), u64>,
    /// True if results may have been committed more than once, always with the same content.
    pub may_repeat: bool,
    /// True if rows whose count is a multiple of three are skipped. The keys of records then name their window.
    pub is_filtered: bool,
    /// The share of records that are no events.
    pub malformed: f64,
    /// The share of events that are behind others.
    pub behind: f64,
    /// True if the second topic was added when the first one had been read.
    had_one_topic: bool,
    /// The time that events have reached, by the partition's id.
    times: BTreeMap<u32, u64>,
}

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

        let times = (0..partitions).map(|id| (id, 0)).collect();
        let objects = Arc::default();
        let records = BTreeMap::new();

        Self {
            log,
            clock_ms,
            objects,
            windows,
            form: Form::Counting,
            records,
            files: None,
            has_copies: false,
            ids: BTreeMap::new(),
            may_repeat: false,
            is_filtered: false,
            malformed: 0.03,
            behind: 0.5,
            had_one_topic: false,
            times,
        }
    }

    /// Adds an empty second topic of `partitions` partitions, which the job reads, too.
    #[must_use]
    pub fn and(mut self, partitions: u32) -> Self {
        let topic = TopicSpec {
            name: TOPICS[1].to_owned(),
            partitions,
            cleanup: Cleanup::Delete,
            retention: Duration::from_secs(3600),
        };
        self.log.ensure_topics(&[topic]).unwrap();
        self.had_one_topic = !self.records.is_empty();
        self.times
            .extend((0..partitions).map(|it| (SECOND + it, 0)));
        self
    }

    /// Returns whether the world's job joins its topics.
    pub fn is_joined(&self) -> bool {
        matches!(self.form, Form::Joined | Form::LeftJoined)
    }

    /// Returns the topics.
    pub fn topics(&self) -> &'static [&'static str] {
        let has_second = self.times.keys().any(|id| *id >= SECOND);
        &TOPICS[..1 + usize::from(has_second)]
    }

    /// Publishes `count` records. Event time advances in each partition; some records are out of
    /// order, some are late, and some cannot be decoded. Transactions of many sizes leave their
    /// markers between them.
    pub fn publish(&mut self, count: usize, random: &mut SmallRng) {
        let mut publisher = self
            .log
            .publisher("generator", Delivery::Transactional)
            .unwrap();

        let ids = self.ids();
        let mut written: Vec<(u32, String)> = Vec::new();
        for _ in 0..count {
            let id = ids[random.random_range(0..ids.len())];
            let reached = self.times.get_mut(&id).unwrap();
            *reached += *[0, 0, 1, 2, 9].choose(random).unwrap();
            let reached = *reached;
            let behind = if random.random_bool(self.behind) {
                *[0, 0, 3, 7, 7, 25, 90].choose(random).unwrap()
            } else {
                0
            };

            let event = (random.random_range(0..7), reached.saturating_sub(behind));

            let value = if random.random_bool(self.malformed) {
                "?".to_owned()
            } else {
                format!("{} {} {}", event.0, event.1, random.next_u64())
            };
            let mut record = (id, value);

            if self.has_copies && random.random_bool(0.1) {
                record = written.choose(random).cloned().unwrap_or(record);
            }
            written.push(record.clone());

            let (topic, partition) = place(record.0);
            publisher
                .send(NewRecord {
                    topic,
                    partition: Some(partition),
                    key: None,
                    value: Some(record.1.as_bytes()),
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
    pub fn put_values(&mut self, id: u32, values: Vec<String>) {
        let (topic, partition) = place(id);
        let mut publisher = self
            .log
            .publisher("generator", Delivery::Transactional)
            .unwrap();

        for value in values {
            let record = NewRecord {
                topic,
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
        let records = (0..).zip(self.topics()).flat_map(|(source, topic)| {
            let records = self.log.records(topic).into_iter();
            records.map(move |record| (source * SECOND + record.partition, record))
        });
        for (id, record) in records.collect::<Vec<_>>() {
            let value = record.value.as_deref().unwrap();
            let position = (id, record.offset);
            let event = parse(value).map(|(time, key)| (key, time));
            let event = event.filter(|(_, time)| *time >= self.windows.offset_ms());
            self.records.insert(position, event);
            let own_id = 1 << 63 | u64::from(id) << 40 | record.offset;
            let event_id = parse_id(value).unwrap_or(own_id);
            self.ids.insert(position, event_id);
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

    /// Returns the ids of the partitions.
    pub fn ids(&self) -> Vec<u32> {
        self.times.keys().copied().collect()
    }

    /// Returns the end of each partition, by its id.
    pub fn ends(&self) -> BTreeMap<u32, u64> {
        let end = |id: u32| {
            let (topic, partition) = place(id);
            self.log.offsets(topic).unwrap()[partition as usize].end
        };
        self.ids().into_iter().map(|id| (id, end(id))).collect()
    }

    /// Adds an empty partition to the first topic, whose events are as old as those of the others were
    /// at first.
    pub fn add_partition(&mut self) {
        let partitions = self.times.range(..SECOND).count();
        let added = u32::try_from(partitions).unwrap();
        self.times.insert(added, 0);
        self.log.grow("events", added + 1);
    }

    /// Takes in the partitions that an operator has added to the first topic, and their records.
    pub fn take_added_partitions(&mut self) {
        for added in 0..self.log.partitions("events").unwrap() {
            self.times.entry(added).or_insert(0);
        }
        self.note();
    }

    /// Deletes the topic of a source and creates it again, a while later.
    pub fn recreate_topic(&mut self, source: u32) {
        self.clock_ms.fetch_add(1_000_000, Ordering::SeqCst);
        self.log.recreate(place(source * SECOND).0);
        self.records.retain(|(id, _), _| *id / SECOND != source);
    }

    /// Creates the counting job over this world, for the process with the handle `log`.
    pub fn job(&self, log: SimulatedLog, settings: &Settings) -> Run<u64, Count> {
        self.run_of(self.pipeline(), log, settings)
    }

    /// Defines the counting job of this world.
    pub fn pipeline(&self) -> Pipeline<u64, Count> {
        pipeline(self.windows, self.is_filtered, self.topics().len() > 1)
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
            store: self.store(),
            metrics: Metrics::new("counts"),
            clock: system_clock(),
            members: None,
        }
    }

    fn store(&self) -> CheckpointStore {
        CheckpointStore::new(self.objects.clone(), Path::default(), "counts")
    }

    /// Runs the world's job until everything published is read.
    pub fn run(&self, settings: &Settings) -> Result<(), JobError> {
        self.run_on(self.log.clone(), self.objects.clone(), settings, |store| {
            store
        })
    }

    /// Runs the world's job in a process with these handles of the log and of the objects, and with its store of
    /// checkpoints changed by `change`.
    pub fn run_on(
        &self,
        log: SimulatedLog,
        objects: Arc<dyn ObjectStore>,
        settings: &Settings,
        change: impl FnOnce(CheckpointStore) -> CheckpointStore,
    ) -> Result<(), JobError> {
        let process = Process {
            store: change(CheckpointStore::new(
                objects.clone(),
                Path::default(),
                "counts",
            )),
            files: self.files.map(|format| (objects, format, self.topics())),
        };

        match self.form {
            Form::Counting => process.run(self.job(log, settings)),
            Form::Staged => {
                let pipeline = staged::stages(self.pipeline());
                process.run(self.run_of(pipeline, log, settings))
            }
            Form::Passing => {
                let pipeline = passing::pipeline(self.topics().len() > 1);
                process.run(self.run_of(pipeline, log, settings))
            }
            Form::Processing => {
                let pipeline = processing::pipeline(self.topics().len() > 1);
                process.run(self.run_of(pipeline, log, settings))
            }
            Form::Joined | Form::LeftJoined => {
                let pipeline = joined::pipeline(self.windows, self.form == Form::LeftJoined);
                process.run(self.run_of(pipeline, log, settings))
            }
        }
    }

    /// Returns the windows that contain an event, found by trying all of them.
    pub fn windows_of(&self, time: u64) -> Vec<u64> {
        let starts = self.windows.offset_ms()..=time;
        let starts = starts.step_by(usize::try_from(self.windows.slide_ms()).unwrap());
        starts
            .filter(|start| time < start + self.windows.size_ms())
            .collect()
    }
}

/// The handles of a process that runs a job.
struct Process {
    store: CheckpointStore,
    /// The objects, the format and the source topics of a job that publishes to files.
    files: Option<(Arc<dyn ObjectStore>, FileFormat, &'static [&'static str])>,
}

impl Process {
    fn run<K: Key, A: Aggregate>(self, run: Run<K, A>) -> Result<(), JobError> {
        let Self { store, files } = self;
        let log = match files {
            Some((objects, format, sources)) => {
                Arc::new(file_sink::sink(objects, sources, run.log).with_format(format))
            }
            None => run.log,
        };
        Run { log, store, ..run }.run(&Stop::default())
    }
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
