//! Rules for the code's layout that a machine can check.

use std::path::Path;

/// Pure modules: they decide, and do no I/O.
const PURE: [&str; 29] = [
    "pane.rs",
    "emitted.rs",
    "source/ticks.rs",
    "watermark.rs",
    "cut.rs",
    "cut/by_number.rs",
    "cut/intake.rs",
    "cut/partition.rs",
    "process/function.rs",
    "process/state.rs",
    "seen.rs",
    "seen/ids.rs",
    "aggregate.rs",
    "aggregate/distinct.rs",
    "aggregate/sessions.rs",
    "aggregate/top.rs",
    "sink/row_limit.rs",
    "source/fold.rs",
    "window/partials.rs",
    "window/sessions.rs",
    "window/state.rs",
    "checkpoint/ledger.rs",
    "checkpoint/lineage.rs",
    "checkpoint/manifest.rs",
    "checkpoint/memory.rs",
    "checkpoint/merge.rs",
    "checkpoint/part.rs",
    "checkpoint/recover/adoption.rs",
    "checkpoint/share.rs",
];

/// The names that pure modules must not use.
const IMPURE: [&str; 9] = [
    "timely",
    "differential",
    "tokio",
    "rdkafka",
    "object_store",
    "SystemTime",
    "Instant",
    "std::fs",
    "std::thread",
];

fn source(file: &str) -> String {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    std::fs::read_to_string(sources.join(file)).unwrap()
}

/// The tests with scopes of their own: the threads in them end by themselves.
const SCOPED: [&str; 4] = ["cluster.rs", "crashes.rs", "lives.rs", "tidy.rs"];

/// Returns the lines of code, without documentation and comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn decisions_know_no_clock_thread_store_log_or_dataflow() {
    for file in PURE {
        for forbidden in IMPURE {
            let found = source(file)
                .lines()
                .position(|line| code(line).any(|line| line.contains(forbidden)));
            assert_eq!(found, None, "src/{file} names {forbidden}");
        }
    }
}

/// A scope waits for its threads, also for a job that nobody stops because the test has failed.
#[test]
fn a_job_beside_a_test_ends_with_the_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("it");
    let mut scoped = Vec::new();
    for entry in std::fs::read_dir(tests).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file()
            && std::fs::read_to_string(&path)
                .unwrap()
                .contains("thread::scope")
        {
            scoped.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }

    scoped.sort();
    assert_eq!(scoped, SCOPED, "use lives::beside, which ends the job");
}

#[test]
fn the_dataflow_is_a_page_and_main_is_half_of_one() {
    assert!(
        source("dataflow.rs").lines().count() <= 100,
        "the whole job is to be seen at once"
    );
    assert!(
        source("../../order-analytics/src/main.rs").lines().count() <= 50,
        "main parses, calls and exits"
    );
}
