//! Tests of a topic that is read from files. All other topics are those of the log beside it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use record_log::files::{FilesLog, FilesSettings, LINE_LIMIT_BYTES};
use record_log::kafka::PROGRESS_TOPIC;
use record_log::simulated::SimulatedLog;
use record_log::{
    Cleanup, Delivery, LogError, LogSettings, LogTimeType, NewRecord, Offset, OffsetRange,
    RecordLog, TopicSpec,
};
use tempfile::TempDir;

/// The topic that is read from files.
const TOPIC: &str = "orders";

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn open(path: &Path, has_header: bool) -> Result<FilesLog, LogError> {
    open_beside(path, has_header, Arc::new(SimulatedLog::default()))
}

fn open_beside(
    path: &Path,
    has_header: bool,
    rest: Arc<dyn RecordLog>,
) -> Result<FilesLog, LogError> {
    let settings = FilesSettings {
        path: path.to_owned(),
        has_header,
    };
    FilesLog::open(&settings, TOPIC, rest)
}

/// Reads a partition in polls of at most `max` records. Returns the offset and value of each record, and the offset of
/// the end.
fn read(
    log: &FilesLog,
    partition: u32,
    from: Offset,
    max: usize,
) -> Result<(Vec<(Offset, String)>, Offset), LogError> {
    let mut reader = log.reader(TOPIC, &[(partition, from)])?;
    let mut lines = Vec::new();
    loop {
        let before = lines.len();
        let polled = reader.poll(partition, max, &mut |record| {
            assert_eq!((record.partition, record.key), (partition, None));
            assert_eq!(record.log_time_type, LogTimeType::Create);
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            lines.push((record.offset, value));
        })?;

        assert_eq!(polled.records, lines.len() - before);
        assert!(polled.records <= max);
        if polled.is_at_end() {
            return Ok((lines, polled.next_offset));
        }
    }
}

fn values(log: &FilesLog, partition: u32) -> Vec<String> {
    let lines = read(log, partition, 0, 100).unwrap().0;
    lines.into_iter().map(|(_, value)| value).collect()
}

fn message(error: Result<FilesLog, LogError>) -> String {
    let Err(error @ LogError::Settings(_)) = error else {
        panic!("the files are refused as settings")
    };
    error.to_string()
}

#[test]
fn each_file_is_a_partition_in_the_order_of_names() {
    let folder = folder(&[
        ("b.ndjson", b"3\n"),
        ("a.ndjson", b"1\n2\n"),
        ("c.ndjson", b""),
        (".hidden", b"9\n"),
    ]);
    let log = open(folder.path(), false).unwrap();

    assert_eq!(log.partitions(TOPIC).unwrap(), 3);
    assert_eq!(values(&log, 0), ["1", "2"]);
    assert_eq!(values(&log, 1), ["3"]);
    assert!(values(&log, 2).is_empty());

    let ends = [4, 2, 0].map(|end| OffsetRange { start: 0, end });
    assert_eq!(log.offsets(TOPIC).unwrap(), ends);
}

#[test]
fn every_position_that_a_poll_returns_can_be_read_from() {
    let content = b"\xef\xbb\xbffirst\r\n\n  \nlast but one\n\r\n\xc3\xa9 last";
    let marked = b"one\n\xef\xbb\xbftwo\n";
    let folder = folder(&[("a", content), ("b", b"one\n\n\n"), ("c", marked)]);
    let log = open(folder.path(), false).unwrap();
    let all = read(&log, 0, 0, 100).unwrap();
    let expected = [
        (0, "first"),
        (11, "  "),
        (14, "last but one"),
        (29, "é last"),
    ];
    assert_eq!(
        all.0,
        expected.map(|(offset, value)| (offset, value.to_owned()))
    );
    assert_eq!(all.1, content.len() as u64);

    for max in 1..=5 {
        assert_eq!(read(&log, 0, 0, max).unwrap(), all);
        for (index, (offset, _)) in all.0.iter().enumerate() {
            let rest = read(&log, 0, *offset, max).unwrap();
            assert_eq!(rest, (all.0[index..].to_vec(), all.1));
        }
    }
    assert_eq!(read(&log, 1, 0, 1).unwrap().1, 6, "blank lines are passed");
    let marked = open(folder.path(), false).unwrap();
    let later = "\u{feff}two";
    assert_eq!(
        values(&marked, 2),
        ["one", later],
        "a mark within a file is of its line"
    );
    assert_eq!(read(&log, 0, all.1, 1).unwrap(), (vec![], all.1));
}

#[test]
fn a_header_is_no_record_whether_or_not_reading_begins_at_it() {
    let folder = folder(&[("a.csv", b"user,cents\n1,2\n"), ("b.csv", b"user,cents")]);
    let log = open(folder.path(), true).unwrap();
    assert_eq!(values(&log, 0), ["1,2"]);
    assert!(values(&log, 1).is_empty());
    assert_eq!(read(&log, 0, 11, 1).unwrap().0, [(11, "1,2".to_owned())]);
    assert_eq!(values(&open(folder.path(), false).unwrap(), 1).len(), 1);
}

#[test]
fn the_topic_has_the_content_of_the_files_when_opened() {
    let folder = folder(&[("a", b"1\n2")]);
    let file = folder.path().join("a");
    let log = open(&file, false).unwrap();

    fs::write(&file, b"1\n23\n4\n").unwrap();
    assert_eq!(values(&log, 0), ["1", "2"]);

    fs::write(&file, b"1\n").unwrap();
    let error = read(&log, 0, 0, 10).unwrap_err();
    assert!(!error.is_transient(), "no other attempt can succeed");
    assert!(error.to_string().contains("ends at byte 2"), "{error}");

    fs::remove_file(&file).unwrap();
    let error = read(&log, 0, 0, 10).unwrap_err();
    assert!(
        !error.is_transient() && error.to_string().contains("/a: "),
        "{error}"
    );
}

#[test]
fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
    let longest = vec![b'x'; LINE_LIMIT_BYTES - 1];
    let folder = folder(&[
        ("a", &[&*longest, b"\n1\n"].concat()),
        ("b", &[b"1\n", &*longest, b"xx\n"].concat()),
    ]);
    let log = open(folder.path(), false).unwrap();
    assert_eq!(values(&log, 0).len(), 2);

    let error = read(&log, 1, 0, 10).unwrap_err().to_string();
    assert!(error.contains("the line at byte 2 of"), "{error}");
}

#[test]
fn files_that_are_not_lines_are_refused_by_name() {
    let with_folder = folder(&[("a", b"1\n")]);
    fs::create_dir(with_folder.path().join("2026")).unwrap();
    let error = message(open(with_folder.path(), false));
    assert!(error.contains("2026 is not a regular file"), "{error}");

    for name in ["orders.ndjson.gz", "orders.ZST"] {
        let compressed = folder(&[(name, b"1\n")]);
        let error = message(open(compressed.path(), false));
        assert!(
            error.contains(name) && error.contains("decompress"),
            "{error}"
        );
    }

    let hidden = folder(&[(".a", b"1\n")]);
    let error = message(open(hidden.path(), false));
    assert!(error.contains("contains no file"), "{error}");
    let error = message(open(&hidden.path().join("missing"), false));
    assert!(error.contains("missing: "), "{error}");
}

#[test]
fn an_unknown_partition_or_offset_is_named() {
    let folder = folder(&[("a", b"1\n")]);
    let log = open(folder.path(), false).unwrap();

    assert!(matches!(
        log.reader(TOPIC, &[(1, 0)]).err(),
        Some(LogError::UnknownPartition { partition: 1, .. })
    ));

    assert!(matches!(
        log.reader(TOPIC, &[(0, 3)]).err(),
        Some(LogError::OffsetOutOfRange { offset: 3, .. })
    ));

    let mut reader = log.reader(TOPIC, &[]).unwrap();
    assert!(matches!(
        reader.poll(0, 1, &mut |_| {}),
        Err(LogError::UnknownPartition { partition: 0, .. })
    ));
}

#[test]
fn the_topic_is_described_as_its_files_are() {
    let folder = folder(&[("a", b"1\n")]);
    let file = fs::File::options()
        .write(true)
        .open(folder.path().join("a"))
        .unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_millis(1_234_567))
        .unwrap();
    let log = open(folder.path(), false).unwrap();

    let mut reader = log.reader(TOPIC, &[(0, 0)]).unwrap();
    let polled = reader.poll(0, 1, &mut |record| {
        assert_eq!(record.log_time_ms, 1_234_567, "when the file was changed");
    });
    assert_eq!(polled.unwrap().records, 1);

    let described = log.describe(TOPIC).unwrap();
    assert_eq!(described.cleanup, Cleanup::Delete, "no line is ever lost");
    assert_eq!(described.retention, None);
    assert_eq!(described.log_time_type, LogTimeType::Create);
    assert_eq!(described.record_limit.bytes, LINE_LIMIT_BYTES);
}

#[test]
fn the_progress_of_publishers_is_where_the_log_beside_keeps_it() {
    let folder = folder(&[("a", b"1\n")]);
    assert_eq!(open(folder.path(), false).unwrap().progress_topic(), None);

    // No broker is called.
    let kafka = record_log::open(&LogSettings::NativeKafka {
        brokers: "127.0.0.1:1".to_owned(),
        properties: Vec::new(),
    });
    let log = open_beside(folder.path(), false, kafka.unwrap()).unwrap();
    assert_eq!(log.progress_topic(), Some(PROGRESS_TOPIC));
}

#[test]
fn all_other_topics_are_those_of_the_log_beside() {
    let folder = folder(&[("a", b"1\n")]);
    let beside = Arc::new(SimulatedLog::default());
    let log = open_beside(folder.path(), false, beside.clone()).unwrap();
    let spec = |name: &str| TopicSpec {
        name: name.to_owned(),
        partitions: 2,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(60),
    };
    log.ensure_topics(&[spec(TOPIC), spec("results")]).unwrap();
    assert_eq!(log.partitions(TOPIC).unwrap(), 1, "that of the file");
    assert!(beside.partitions(TOPIC).is_err(), "it is not created there");
    assert_eq!(log.partitions("results").unwrap(), 2);
    assert!(log.partitions("nothing").is_err());

    let mut publisher = log.publisher("job", Delivery::Transactional).unwrap();
    let record = NewRecord {
        topic: "results",
        partition: Some(1),
        key: None,
        value: Some(b"row"),
        headers: &[],
    };
    publisher.send(record).unwrap();
    publisher.commit(&[]).unwrap();
    assert!(log.offsets("results").unwrap()[1].end > 0);

    log.commit("group", "results", &[(1, 1)]).unwrap();
    assert_eq!(log.committed("group", "results").unwrap(), [(1, 1)]);
    let error = log.commit("group", TOPIC, &[(0, 2)]).unwrap_err();
    assert!(error.to_string().contains("read from files"), "{error}");

    // A topic of the same name beside has positions of its own.
    beside.ensure_topics(&[spec(TOPIC)]).unwrap();
    beside.commit("group", TOPIC, &[(0, 2)]).unwrap();
    assert!(log.committed("group", TOPIC).unwrap().is_empty());
}

#[test]
fn a_file_is_readable_at_once_and_its_end_is_dated() {
    let folder = folder(&[("a", b"1\n2\n")]);
    let log = open(folder.path(), false).unwrap();
    let mut reader = log.reader(TOPIC, &[(0, 0)]).unwrap();
    let wakes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&wakes);
    reader.on_readable(Arc::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    }));
    assert_eq!(wakes.load(Ordering::SeqCst), 1);

    let now_ms = || {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::try_from(since_epoch.as_millis()).unwrap()
    };
    let before_ms = now_ms();
    let mut end_after = |records| {
        let polled = reader.poll(0, records, &mut |_| {});
        polled.unwrap().end_as_of_ms
    };
    assert_eq!(end_after(1), None);
    let end_ms = end_after(1).unwrap();
    assert!((before_ms..=now_ms()).contains(&end_ms), "{end_ms}");
}
