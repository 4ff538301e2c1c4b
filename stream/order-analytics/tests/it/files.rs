//! A job that reads files and publishes to a real Kafka: it ends by itself, because nothing is ever added to files.

use std::fs;

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
