//! A job that reads files and publishes to a real Kafka: it ends by itself, because nothing is ever added to files. And
//! one that reads a real Kafka and publishes to files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use record_log::LogError;
use tempfile::TempDir;

use crate::kafka::{Shop, order};
use crate::living::Living;

#[test]
fn a_job_that_reads_files_publishes_to_kafka_and_ends_by_itself() {
    let Some(shop) = Shop::without_topic() else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let orders: Vec<String> = (1..=3).map(|user| order(user, user)).collect();
    fs::write(folder.path().join("orders"), orders.join("\n")).unwrap();
    let input = folder.path().display().to_string();

    for client in ["native", "rdkafka"] {
        let mut living = Living::with(&shop, client, &["--input", &input]);
        let ended = living.await_end();
        assert!(ended.success(), "{client}: {}", living.logged());

        // The second run repeats nothing.
        let mut users: Vec<u64> = shop.await_rows(3).iter().map(|row| row.user_id).collect();
        users.sort_unstable();
        assert_eq!(users, [1, 2, 3], "{client}");
    }
}

/// Returns the names of the files below a folder that have a row of a user, by user.
fn rows_below(folder: &Path) -> BTreeMap<u64, Vec<String>> {
    let mut rows: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let Ok(windows) = fs::read_dir(folder) else {
        return rows;
    };

    for window in windows {
        for file in fs::read_dir(window.unwrap().path()).unwrap() {
            let file = file.unwrap().path();
            // The store writes a file under a name of this form, and then gives it its own.
            if file.extension().is_none_or(|end| end != "ndjson") {
                continue;
            }
            for line in fs::read_to_string(&file).unwrap().lines() {
                let row: serde_json::Value = serde_json::from_str(line).unwrap();
                let user = row["value"]["user_id"].as_u64().unwrap();
                assert_eq!(row["value"]["revision"], 0);
                rows.entry(user)
                    .or_default()
                    .push(file.display().to_string());
            }
        }
    }
    rows
}

fn await_rows_below(folder: &Path, users: u64) -> BTreeMap<u64, Vec<String>> {
    let begun = Instant::now();
    loop {
        let rows = rows_below(folder);
        if (1..=users).all(|user| rows.contains_key(&user)) {
            return rows;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{users} users: {rows:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_job_that_is_killed_writes_each_row_to_one_file() {
    let Some(shop) = Shop::open() else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let output = format!("file://{}", folder.path().display());
    let results = folder.path().join(shop.topic("results"));

    let mut seen = BTreeMap::new();
    for (life, users) in (1..).zip([1..6, 6..11, 11..16]) {
        // Each life is killed. The row of the newest order is that of an open window.
        let living = Living::with(&shop, "native", &["--output", &output]);
        let last = users.end - 1;
        shop.publish(&users.collect::<Vec<u64>>());
        let rows = await_rows_below(&results, last - 1);
        drop(living);

        assert!(
            rows.values().all(|files| files.len() == 1),
            "life {life}: {rows:?}"
        );
        assert!(
            seen.iter().all(|(user, file)| rows.get(user) == Some(file)),
            "life {life}"
        );
        seen = rows;
    }

    let of_kafka = shop.log.partitions(&shop.topic("results"));
    assert!(
        matches!(of_kafka, Err(LogError::UnknownTopic(_))),
        "nothing goes to Kafka"
    );
}
