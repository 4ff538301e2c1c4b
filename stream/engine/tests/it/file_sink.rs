//! Jobs that publish to files: whatever dies, the files have each record of a plain recount once, are whole, and never
//! change.

#![allow(clippy::print_stdout, reason = "a test that fails shows its lives")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::basic::LogicalType;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use record_log::simulated::{SimulatedLog, StoredRecord};
use record_log::{Delivery, LogTimeType, NewRecord, PublishError, Publisher, RecordLog};
use serde_json::{Value, json};
use stream::{FileFormat, FileSink, Settings, Windows};

use crate::damage::wait;
use crate::fallback::{damage_newest, lenient};
use crate::fate::{Blow, Doom, Fate, LOG_CALLS, SINK_CALLS, STORE_CALLS};
use crate::lives::live;
use crate::mortal::MortalStore;
use crate::oracle::{Form, World, random, settings, windows};

/// The folder of all files.
const ROOT: &str = "files";
/// The formats of files; each life of a job has one.
const FORMATS: [FileFormat; 2] = [FileFormat::Ndjson, FileFormat::Parquet];

/// The files with their content, in the order of transactions: that of their names.
type Files = BTreeMap<(String, Path), Bytes>;

/// Returns a process's handle to the files of a job that reads `sources`.
pub fn sink(objects: Arc<dyn ObjectStore>, sources: &[&str], log: Arc<dyn RecordLog>) -> FileSink {
    let sources: Vec<String> = sources.iter().map(|topic| (*topic).to_owned()).collect();
    let sink = FileSink::new(objects, Path::from(ROOT), &sources, log).unwrap();
    sink.with_limit(Duration::from_millis(20))
}

fn files(objects: &dyn ObjectStore, topic: &str) -> Files {
    let folder = Path::from(ROOT).join(topic);
    let listed: Vec<_> = wait(objects.list(Some(&folder)).try_collect()).unwrap();
    let file = |path: Path| {
        let content = wait(async { objects.get(&path).await.unwrap().bytes().await.unwrap() });
        ((path.filename().unwrap().to_owned(), path), content)
    };
    listed
        .into_iter()
        .map(|object| file(object.location))
        .collect()
}

/// Returns the records that [`FileSink`] has written, as objects with `key`, `value` and `headers`, by a parser of its own.
fn lines(content: &Bytes) -> Vec<Value> {
    if content.starts_with(b"PAR1") {
        return rows(content);
    }
    let text = std::str::from_utf8(content).unwrap();
    assert!(text.ends_with('\n'), "a file has whole lines");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Returns the rows of a Parquet file as objects with `key`, `value` and `headers`.
fn rows(content: &Bytes) -> Vec<Value> {
    let file = SerializedFileReader::new(content.clone()).unwrap();
    let schema = file.metadata().file_metadata().schema_descr_ptr();
    let is_json: Vec<_> = schema
        .columns()
        .iter()
        .map(|column| column.logical_type_ref() == Some(&LogicalType::Json))
        .collect();

    let rows = file.get_row_iter(None).unwrap();
    rows.map(|row| row_of(row.unwrap(), &is_json)).collect()
}

fn row_of(row: Row, is_json: &[bool]) -> Value {
    let mut line = json!({"key": null, "value": null});
    for ((name, cell), is_json) in row.into_columns().into_iter().zip(is_json) {
        let cell = match cell {
            Field::Null => continue,
            Field::Str(text) if *is_json => serde_json::from_str(&text).unwrap(),
            Field::Str(text) => json!(text),
            Field::Long(number) => json!(number),
            Field::Bool(flag) => json!(flag),
            other => panic!("{other:?} in a file of whole numbers and texts"),
        };
        match name.strip_prefix('_') {
            Some(of_record) => line[of_record] = cell,
            None => line["value"][name] = cell,
        }
    }
    line
}

fn record(line: &Value, offset: u64) -> StoredRecord {
    let bytes = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        other => Some(other.to_string().into_bytes()),
    };
    let headers = line.get("headers").and_then(Value::as_array);
    let headers = headers.into_iter().flatten().map(|header| {
        (
            header[0].as_str().unwrap().to_owned(),
            bytes(&header[1]).unwrap(),
        )
    });

    StoredRecord {
        partition: 0,
        offset,
        log_time_ms: 0,
        log_time_type: LogTimeType::Create,
        key: bytes(&line["key"]),
        value: bytes(&line["value"]),
        headers: headers.collect(),
    }
}

impl World {
    /// Returns the records that the job has published to a topic, or to its files, in order.
    pub fn published(&self, topic: &str) -> Vec<StoredRecord> {
        if self.files.is_none() {
            return self.log.records(topic);
        }
        let files = files(self.objects.as_ref(), topic);
        let lines = files.values().flat_map(lines);
        (0..)
            .zip(lines)
            .map(|(offset, line)| record(&line, offset))
            .collect()
    }

    /// Returns all files of the job.
    fn all_files(&self) -> Files {
        let mut all = files(self.objects.as_ref(), "");
        all.retain(|(_, path), _| path.parts().nth(1).unwrap().as_ref() != "_transactions");
        all
    }
}

/// Checks that each file that a reader has seen is still there as it was.
fn assert_unchanged(seen: &Files, now: &Files) {
    for (name, content) in seen {
        assert_eq!(now.get(name), Some(content), "{name:?} has changed");
    }
}

/// Draws a world whose job publishes to files, and whether its newest checkpoints are to be damaged.
fn any_world(random: &mut SmallRng) -> (World, bool) {
    let mut world = World::new(windows(random), random.random_range(1..=4));
    let has_two = random.random_bool(0.5);
    if has_two {
        world = world.and(random.random_range(1..=3));
    }

    let is_damaged = random.random_bool(0.3);
    let mut forms = vec![Form::Counting, Form::Staged];
    if world.windows.offset_ms() == 0 {
        forms.push(Form::Passing);
        // A record that was emitted stays, also if another line of history finds it late.
        forms.extend((!is_damaged).then_some(Form::Processing));
    }
    if has_two {
        forms.extend([Form::Joined, Form::LeftJoined]);
    }

    world.form = *forms.choose(random).unwrap();
    world.has_copies = random.random_bool(0.5);
    world.is_filtered = random.random_bool(0.4);
    world.malformed = *[0.03, 0.3].choose(random).unwrap();

    (world, is_damaged)
}

/// Runs several lives of a job of any form that publishes to files. Returns the number of deaths, and whether files of a
/// new line of history were written.
fn schedule(seed: u64) -> (usize, bool) {
    let mut random = random(seed);
    let (mut world, is_damaged) = any_world(&mut random);

    let first = settings(&mut random);
    let first = if is_damaged { lenient(first) } else { first };
    let calls = [&SINK_CALLS[..], &SINK_CALLS, &STORE_CALLS, &LOG_CALLS].concat();
    let blows = [&Blow::DEATHS[..], &Blow::DEATHS, &Blow::ERRORS].concat();
    let mut deaths = 0;
    let mut seen = Files::new();
    let mut damaged = None;

    for life in 0..random.random_range(2..=5) {
        world.files = Some(*FORMATS.choose(&mut random).unwrap());
        world.publish(random.random_range(0..60), &mut random);
        let drawn = settings(&mut random);
        let settings = Settings {
            workers: random.random_range(1..=6),
            sink_slots: drawn.sink_slots,
            max_transaction_rows: drawn.max_transaction_rows,
            ..first.clone()
        };
        let doom = Doom {
            call: calls.choose(&mut random).unwrap(),
            number: random.random_range(0..12),
            blow: *blows.choose(&mut random).unwrap(),
        };
        println!(
            "seed {seed}, {:?}, life {life}, {doom:?}, {settings:?}",
            world.form
        );

        let fate = Fate::new(Some(doom), Some(seed));
        live(&world, &settings, &fate);
        deaths += usize::from(fate.is_dead());
        let now = world.all_files();
        assert_unchanged(&seen, &now);
        seen = now;
        let newest = world.objects_in("manifests").pop();
        if is_damaged && newest > damaged {
            damage_newest(&world, &mut random);
            damaged = newest;
        }
    }

    world.run(&first).unwrap();
    assert_unchanged(&seen, &world.all_files());
    if is_damaged {
        world.check_but_for_repeated_side_outputs();
    } else {
        world.check();
    }
    world.check_checkpoint();

    let counts_rows = matches!(world.form, Form::Counting | Form::Staged);
    (deaths, counts_rows && world.highest_revision() >= 1_000_000)
}

#[test]
fn whatever_lives_a_job_has_its_files_have_everything_once() {
    let number = |variable, otherwise| {
        std::env::var(variable).map_or(otherwise, |text| text.parse::<u64>().unwrap())
    };
    let first = number("TIDEMARK_TEST_SEED", 1);
    let count = number("TIDEMARK_TEST_SCHEDULES", 40);
    let happened: Vec<(usize, bool)> = (first..first + count).map(schedule).collect();

    let deaths: usize = happened.iter().map(|(deaths, _)| deaths).sum();
    let lines = happened
        .iter()
        .filter(|(_, is_new_line)| *is_new_line)
        .count();
    println!("{deaths} deaths, {lines} jobs with a new line of history");
    assert!(
        count < 40 || deaths > 20 && lines > 0,
        "{deaths} deaths, {lines} lines"
    );
}

/// Runs a life that meets `doom` between two others. Returns whether it made the call.
fn happens(doom: Doom, form: Form) -> bool {
    let mut random = random(doom.number + 1);
    let ms = Duration::from_millis;
    let windows = Windows::tumbling(ms(20)).unwrap();
    let mut world = World::new(windows.in_panes_of(ms(10)).unwrap(), 2);
    world.form = form;
    world.files = Some(FORMATS[usize::try_from(doom.number % 2).unwrap()]);
    world.malformed = 0.1;
    let settings = Settings {
        disorder: ms(7),
        allowed_lateness: ms(10),
        // A pane takes several transactions.
        max_transaction_rows: 4,
        workers: 2,
        ..Settings::default()
    };

    world.publish(30, &mut random);
    world.run(&settings).unwrap();
    world.publish(60, &mut random);
    let fate = Fate::new(Some(doom), None);
    live(&world, &settings, &fate);
    let seen = world.all_files();

    println!(
        "{form:?}, {doom:?}: {}",
        if fate.is_met() { "met" } else { "not met" }
    );
    world
        .run(&Settings {
            workers: 3,
            ..settings
        })
        .unwrap();
    assert_unchanged(&seen, &world.all_files());
    world.check();
    fate.is_met()
}

/// Applies each of `blows` to ever later calls of that name. Returns the number of lives that made the call.
fn sweep(call: &'static str, blows: &[Blow], form: Form) -> usize {
    // Each call of the first transactions, and fewer of the later ones.
    let numbers = || (0..).map(|step| step * (step + 1) / 2);
    let times = |blow: &Blow| {
        let doom = |number| Doom {
            call,
            number,
            blow: *blow,
        };
        let met = numbers().take_while(|number| happens(doom(*number), form));
        met.count()
    };
    blows.iter().map(times).sum()
}

#[test]
fn each_row_is_in_the_files_once_at_whichever_call_a_life_ends() {
    let blows = [&Blow::DEATHS[..], &Blow::ERRORS, &[Blow::Forbid]].concat();
    for call in SINK_CALLS {
        let met = sweep(call, &blows, Form::Counting);
        // Few records are late here, and a file is read only where a life finds it.
        let is_rare = call == "create events-late" || call == "read counts";
        assert!(met > 0 || is_rare, "a job has to {call}");
    }

    for form in [Form::Staged, Form::Passing] {
        for call in ["create _transactions", "create counts"] {
            let met = sweep(call, &Blow::DEATHS, form);
            assert!(met > 0, "{form:?} has to {call}");
        }
    }
}

/// Files of tests that publish by themselves.
struct Bench {
    world: World,
}

impl Bench {
    fn new() -> Self {
        let mut world = World::new(Windows::tumbling(Duration::from_millis(10)).unwrap(), 1);
        world.files = Some(FileFormat::Ndjson);
        Self { world }
    }

    /// Returns a process's handle, with that fate.
    fn log(&self, fate: &Arc<Fate>) -> Arc<dyn RecordLog> {
        let objects = Arc::new(MortalStore::new(&self.world.objects, fate));
        Arc::new(sink(
            objects,
            &["events"],
            Arc::new(SimulatedLog::default()),
        ))
    }

    fn open(&self, id: &str) -> Box<dyn Publisher> {
        let log = self.log(&Fate::new(None, None));
        log.publisher(id, Delivery::Transactional).unwrap()
    }

    fn values(&self) -> Vec<String> {
        let records = self.world.published("counts").into_iter();
        records
            .map(|record| String::from_utf8(record.value.unwrap()).unwrap())
            .collect()
    }
}

fn publish(
    publisher: &mut dyn Publisher,
    values: &[&str],
    progress: &[u8],
) -> Result<(), PublishError> {
    for value in values {
        publisher.send(NewRecord {
            topic: "counts",
            partition: None,
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        })?;
    }
    publisher.commit(progress)
}

#[test]
fn an_earlier_holder_writes_no_file_even_after_its_number_was_deleted() {
    let bench = Bench::new();
    let mut earlier = bench.open("a");
    publish(earlier.as_mut(), &["1"], b"one").unwrap();

    let mut newer = bench.open("a");
    assert_eq!(newer.progress(), Some(&b"one"[..]));
    let refused = publish(earlier.as_mut(), &["x"], b"x");
    assert!(matches!(refused, Err(PublishError::Fenced { id }) if id == "a"));

    // By now the number that the earlier holder would take is there no more.
    publish(newer.as_mut(), &["2"], b"two").unwrap();
    publish(newer.as_mut(), &["3"], b"three").unwrap();
    let refused = publish(earlier.as_mut(), &["x"], b"x");
    assert!(matches!(refused, Err(PublishError::Fenced { .. })));

    publish(newer.as_mut(), &["4"], b"four").unwrap();
    assert_eq!(bench.values(), ["1", "2", "3", "4"]);
    assert_eq!(bench.open("a").progress(), Some(&b"four"[..]));
}

#[test]
fn files_hold_committed_transactions_only_and_entirely() {
    let bench = Bench::new();
    for (number, blow) in (0..).zip([Blow::DieBefore, Blow::DieAfter]) {
        let id = format!("publisher-{number}");
        // The first creation opens the publisher.
        let doom = Doom {
            call: "create _transactions",
            number: 1,
            blow,
        };
        let fate = Fate::new(Some(doom), None);
        let log = bench.log(&fate);
        let mut publisher = log.publisher(&id, Delivery::Transactional).unwrap();
        let life = || publish(publisher.as_mut(), &["1", "2"], b"done");
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(life)).is_err());
        assert!(
            bench.values().is_empty(),
            "{blow:?}: a file is there before its transaction is known"
        );

        let is_committed = bench.open(&id).progress().is_some();
        assert_eq!(is_committed, blow == Blow::DieAfter);
        assert_eq!(
            bench.values(),
            if is_committed { &["1", "2"][..] } else { &[] }
        );
    }
}

#[test]
fn records_of_a_key_that_moves_to_another_publisher_have_later_names() {
    let bench = Bench::new();
    let mut busy = bench.open("z");
    for value in ["1", "2", "3"] {
        publish(busy.as_mut(), &[value], b"z").unwrap();
    }

    // The next attempt opens all publishers, and only then publishes.
    let mut other = bench.open("a");
    drop(busy);
    let mut busy = bench.open("z");
    publish(other.as_mut(), &[], b"a").unwrap();
    publish(other.as_mut(), &["4"], b"a").unwrap();
    publish(other.as_mut(), &["5"], b"a").unwrap();
    assert_eq!(bench.values(), ["1", "2", "3", "4", "5"]);

    let mut third = bench.open("m");
    drop(busy);
    busy = bench.open("z");
    publish(busy.as_mut(), &["6"], b"z").unwrap();
    publish(third.as_mut(), &["7"], b"m").unwrap();
    assert_eq!(bench.values(), ["1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn files_that_belong_to_others_are_not_taken_for_ones_own() {
    let bench = Bench::new();
    publish(bench.open("a").as_mut(), &["1"], b"one").unwrap();

    // Somebody deletes the transactions, and not the files.
    let folder = Path::from(ROOT).join("_transactions");
    let objects = &bench.world.objects;
    let listed: Vec<_> = wait(objects.list(Some(&folder)).try_collect()).unwrap();
    for object in listed {
        wait(objects.delete(&object.location)).unwrap();
    }

    let refused = publish(bench.open("a").as_mut(), &["2"], b"two").unwrap_err();
    let sentence = refused.to_string();
    assert!(
        sentence.contains("000000000001-a.ndjson exists with other content"),
        "{sentence}"
    );
    assert!(!refused.is_transient() && bench.values() == ["1"]);
}

#[test]
fn a_topic_of_files_is_not_read() {
    let log = Bench::new().log(&Fate::new(None, None));
    let refused = log.partitions("counts").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "topic \"counts\" is written to files, and not read"
    );
}
