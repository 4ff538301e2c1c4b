//! Tests of the embedded log alone: it persists, survives a kill, locks its folder, deletes and compacts.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use record_log::embedded::EmbeddedLog;
use record_log::progress::{number_of, of_number};
use record_log::{Cleanup, LogError, NewRecord, RecordLog, TopicSpec};
use tempfile::TempDir;

use crate::subject::{all, assert_values, open_embedded, publish, record, transactional};

/// The folder of the log of [`committed_records_survive_a_kill`]'s child process.
const CHILD_FOLDER: &str = "TIDEMARK_TEST_CHILD_FOLDER";
const BATCH: u64 = 100;

fn spec(name: &str, partitions: u32, cleanup: Cleanup, retention: Duration) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions,
        cleanup,
        retention,
    }
}

fn orders(partitions: u32) -> TopicSpec {
    spec(
        "orders",
        partitions,
        Cleanup::Delete,
        Duration::from_secs(3600),
    )
}

#[test]
fn everything_is_there_after_reopening() {
    let folder = TempDir::new().unwrap();
    {
        let log = open_embedded(folder.path()).unwrap();
        log.ensure_topics(&[orders(2)]).unwrap();
        publish(&*log, "orders", 1, &[b"a", b"b"]);
        log.commit("group", "orders", &[(1, 1)]).unwrap();
        transactional(&*log, "relay").commit(&of_number(9)).unwrap();
    }

    let log = open_embedded(folder.path()).unwrap();
    assert_eq!(log.partitions("orders").unwrap(), 2);
    publish(&*log, "orders", 1, &[b"c"]);
    assert_values(&*log, "orders", 1, &["a", "b", "c"]);

    assert_eq!(log.committed("group", "orders").unwrap(), [(1, 1)]);
    assert_eq!(
        transactional(&*log, "relay").progress(),
        Some(&of_number(9)[..])
    );
}

#[test]
fn a_folder_in_use_is_refused_by_name_until_it_is_free() {
    let folder = TempDir::new().unwrap();
    let log = open_embedded(folder.path()).unwrap();
    let refused = open_embedded(folder.path()).err().unwrap();
    assert!(matches!(refused, LogError::Settings(_)));

    assert!(
        refused
            .to_string()
            .contains(folder.path().to_str().unwrap()),
        "{refused}"
    );

    drop(log);
    open_embedded(folder.path()).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a file");
    std::fs::write(&file, "").unwrap();

    let refused = open_embedded(&file).err().unwrap();
    assert!(
        matches!(refused, LogError::Settings(_)) && refused.to_string().contains("a file"),
        "{refused}"
    );
}

#[test]
fn a_file_that_is_no_log_is_refused() {
    let folder = TempDir::new().unwrap();
    std::fs::write(
        folder.path().join("records.sqlite3"),
        "this is not a database, whatever its name says",
    )
    .unwrap();

    assert!(matches!(
        open_embedded(folder.path()),
        Err(LogError::Settings(_))
    ));
}

/// The child prints each progress after its commit. After the kill every printed one is there, and no commit is there
/// in part.
#[test]
fn committed_records_survive_a_kill() {
    let folder = TempDir::new().unwrap();
    for _ in 0..3 {
        let mut child = spawn_publisher(folder.path());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said: Vec<u64> = lines
            .filter_map(|line| line.unwrap().strip_prefix("committed ")?.parse().ok())
            .take(30)
            .collect();

        child.kill().unwrap();
        child.wait().unwrap();

        let log = open_embedded(folder.path()).unwrap();
        let publisher = transactional(&*log, "publisher");
        let progress = number_of(publisher.progress().unwrap()).unwrap();
        assert!(progress >= *said.last().unwrap());

        let expected: Vec<String> = (0..progress * BATCH).map(|n| n.to_string()).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        assert_values(&*log, "orders", 0, &expected);
        assert_values(&*log, "orders", 1, &expected);
    }
}

fn spawn_publisher(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "embedded::child_publishes_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The body of the child process. It does nothing unless the environment names its folder.
#[test]
fn child_publishes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else {
        return;
    };

    let log = open_embedded(Path::new(&folder)).unwrap();
    log.ensure_topics(&[orders(2)]).unwrap();
    let mut publisher = transactional(&*log, "publisher");
    println!();

    let committed = publisher.progress().map_or(Ok(0), number_of).unwrap();
    for progress in committed.. {
        for n in (progress * BATCH)..(progress + 1) * BATCH {
            publisher
                .send(record("orders", 0, n.to_string().as_bytes()))
                .unwrap();
            publisher
                .send(record("orders", 1, n.to_string().as_bytes()))
                .unwrap();
        }

        publisher.commit(&of_number(progress + 1)).unwrap();
        println!("committed {}", progress + 1);
    }
}

/// Returns a log whose clock the test sets.
fn at_own_time(folder: &Path) -> (EmbeddedLog, Arc<AtomicU64>) {
    let clock_ms = Arc::new(AtomicU64::new(1_000_000));
    let clock = Arc::clone(&clock_ms);
    (
        EmbeddedLog::open_at(folder, move || clock.load(Ordering::SeqCst)).unwrap(),
        clock_ms,
    )
}

#[test]
fn records_beyond_the_retention_are_deleted_and_reported() {
    let folder = TempDir::new().unwrap();
    let (log, clock_ms) = at_own_time(folder.path());
    log.ensure_topics(&[spec("orders", 1, Cleanup::Delete, Duration::from_secs(60))])
        .unwrap();
    publish(&log, "orders", 0, &[b"old", b"old too"]);

    let mut reader = log.reader("orders", &[(0, 0)]).unwrap();
    clock_ms.fetch_add(60_000, Ordering::SeqCst);
    publish(&log, "orders", 0, &[b"new"]);
    log.clean().unwrap();
    assert_values(&log, "orders", 0, &["old", "old too", "new"]);

    clock_ms.fetch_add(1, Ordering::SeqCst);
    log.clean().unwrap();
    assert_values(&log, "orders", 0, &["new"]);

    let lost = reader.poll(0, 10, &mut |_| panic!("it was deleted"));
    assert!(matches!(
        lost,
        Err(LogError::OffsetOutOfRange { offset: 0, .. })
    ));

    clock_ms.fetch_add(61_000, Ordering::SeqCst);
    log.clean().unwrap();
    drop((reader, log));

    let (log, _) = at_own_time(folder.path());
    let range = log.offsets("orders").unwrap()[0];
    assert_eq!(
        (range.start, range.end),
        (3, 3),
        "offsets go on where they were"
    );
}

#[test]
fn compaction_keeps_the_newest_of_each_key_in_its_place() {
    let folder = TempDir::new().unwrap();
    let (log, _) = at_own_time(folder.path());
    log.ensure_topics(&[spec(
        "results",
        1,
        Cleanup::CompactAndDelete,
        Duration::from_secs(60),
    )])
    .unwrap();

    let mut publisher = transactional(&log, "results");
    let mut expected = BTreeMap::new();
    for n in 0..30_000_u64 {
        let key = (n * n % 977).to_string();
        let value = n.to_string();
        let new = NewRecord {
            key: Some(key.as_bytes()),
            ..record("results", 0, value.as_bytes())
        };
        publisher.send(new).unwrap();
        expected.insert(key.into_bytes(), (n, value.into_bytes()));

        if n % 1_000 == 999 {
            publisher.commit(&of_number(n)).unwrap();
        }
    }

    let mut reader = log.reader("results", &[(0, 0)]).unwrap();
    reader.poll(0, 500, &mut |_| {}).unwrap();
    log.clean().unwrap();

    let kept: BTreeMap<_, _> = all(&log, "results", 0, 0)
        .into_iter()
        .map(|read| (read.key.unwrap(), (read.offset, read.value.unwrap())))
        .collect();
    assert_eq!(kept, expected);

    let mut last = 0;
    while !reader
        .poll(0, 100, &mut |record| last = record.offset)
        .unwrap()
        .is_at_end()
    {}

    assert_eq!(
        last, 29_999,
        "a reader goes on over what was compacted under it"
    );
}

#[test]
fn a_topic_of_an_earlier_version_gets_the_new_retention() {
    let folder = TempDir::new().unwrap();
    let day = Duration::from_secs(86_400);
    let week = Duration::from_secs(7 * 86_400);
    let of = |cleanup, retention| [spec("results", 1, cleanup, retention)];
    let log = open_embedded(folder.path()).unwrap();
    log.ensure_topics(&of(Cleanup::CompactAndDelete, day))
        .unwrap();
    log.ensure_topics(&of(Cleanup::Delete, week)).unwrap();

    let described = log.describe("results").unwrap();
    assert_eq!(
        (described.cleanup, described.retention),
        (Cleanup::Delete, Some(week))
    );

    drop(log);
    assert_eq!(
        open_embedded(folder.path())
            .unwrap()
            .describe("results")
            .unwrap(),
        described
    );
}

#[test]
fn progress_of_a_file_of_format_1_is_taken_over() {
    let folder = TempDir::new().unwrap();
    transactional(&*open_embedded(folder.path()).unwrap(), "relay")
        .commit(&of_number(1))
        .unwrap();

    let file = rusqlite::Connection::open(folder.path().join("records.sqlite3")).unwrap();
    file.execute_batch(
        "DROP TABLE publishers;
         CREATE TABLE publishers (id TEXT PRIMARY KEY, progress INTEGER NOT NULL) WITHOUT ROWID;
         INSERT INTO publishers VALUES ('relay', 77);
         PRAGMA user_version = 1;",
    )
    .unwrap();

    drop(file);

    let log = open_embedded(folder.path()).unwrap();
    let mut publisher = transactional(&*log, "relay");
    assert_eq!(publisher.progress(), Some(&of_number(77)[..]));
    publisher.commit(b"more than a number").unwrap();

    assert_eq!(
        transactional(&*log, "relay").progress(),
        Some(&b"more than a number"[..])
    );
}
