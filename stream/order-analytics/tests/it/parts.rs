//! The parts of checkpoints on a real Kafka: those of sessions are merged, and each of two processes reads its own only.
//! A process that hangs ends the attempt.

use std::collections::BTreeSet;

use serde_json::Value;
use stream::EXIT_START_AGAIN;

use crate::broker::free_ports;
use crate::kafka::{Shop, WINDOW_START_MS, order_at};
use crate::living::{Living, SECONDS};

/// The number of parts that workers write while the test looks.
const WRITTEN: usize = 60;
/// More parts than a checkpoint names after a merge, and fewer than are written.
const MANY: usize = 30;
/// The users of the processes' checkpoint.
const USERS: u64 = 200;

/// The parts that manifests name.
#[derive(Default)]
struct Seen {
    /// The number of parts that the newest one names.
    newest: usize,
    /// The parts that workers wrote, as opposed to merges.
    of_workers: BTreeSet<String>,
    merged: BTreeSet<String>,
}

impl Seen {
    /// Reads the newest manifest, if there is one.
    fn look(&mut self, shop: &Shop) {
        let Some(manifest) = shop.manifest() else {
            return;
        };
        let parts = manifest["parts"].as_array().unwrap();
        self.newest = parts.len();
        for part in parts {
            let name = part["name"].as_str().unwrap();
            let seen = if name.contains("-m") {
                &mut self.merged
            } else {
                &mut self.of_workers
            };
            seen.insert(name.to_owned());
        }
    }
}

#[test]
fn parts_of_sessions_are_merged() {
    let Some(shop) = Shop::open() else {
        return;
    };
    // All sessions can still be corrected, so all of them stay in checkpoints.
    let mut living = Living::of(&shop, "native", &["--session-gap", "10s"]);
    let mut seen = Seen::default();
    let mut time_ms = WINDOW_START_MS;
    living.until("parts that are merged", |_| {
        time_ms += 20_000;
        shop.produce_all((0..4).map(|user| order_at(user, time_ms + user, time_ms)));
        seen.look(&shop);
        // A merge may take longer than the parts of several checkpoints.
        seen.of_workers.len() >= WRITTEN && seen.newest < MANY
    });
    assert!(!seen.merged.is_empty());
}

#[test]
fn each_of_two_processes_reads_its_own_parts_and_ends_if_the_other_hangs() {
    let Some(shop) = Shop::open() else {
        return;
    };
    let order = |n| order_at(n, n, WINDOW_START_MS + n * 100);
    shop.produce_all((0..USERS).map(order));
    shop.run(&[&SECONDS[..], &["--workers", "4"]].concat())
        .unwrap();
    let before = shop.manifest().unwrap();
    let parts = before["parts"].as_array().unwrap().len() as u64;

    let ports: [u16; 2] = free_ports();
    let hosts = ports.map(|port| format!("127.0.0.1:{port}")).join(",");
    let start = |process| {
        let own = ["--processes", "2", "--process", process, "--hosts", &hosts];
        let further = [
            &own[..],
            &["--silence-limit", "1s", "--status-address", "off"],
        ]
        .concat();
        Living::with(&shop, "native", &further)
    };
    let mut processes = ["0", "1"].map(start);
    let read = processes.each_mut().map(|living| {
        living.await_line(&["the attempt begins"]);
        parts_read(&living.logged())
    });
    assert_eq!(read.iter().sum::<u64>(), parts);
    assert!(read.iter().all(|own| *own > 0), "{read:?}");

    processes[1].freeze();
    let status = processes[0].await_end();
    assert_eq!(status.code(), Some(EXIT_START_AGAIN.into()));
    let logged = processes[0].logged();
    assert!(
        logged.contains("process 1 has sent nothing for 1s"),
        "{logged}"
    );

    // The next start counts the window, which was open, once.
    drop(processes);
    shop.run(&SECONDS).unwrap();
    let rows = shop.await_rows(USERS as usize);
    let counted: u64 = rows.iter().map(|row| row.order_count).sum();
    assert_eq!(counted, USERS);
}

/// Returns the number of parts that a process has read of the checkpoint.
fn parts_read(logged: &str) -> u64 {
    let lines = logged
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut begun = lines.filter(|line| line["message"] == "the attempt begins");
    begun.next_back().unwrap()["parts_read"].as_u64().unwrap()
}
