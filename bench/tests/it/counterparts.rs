//! Tests that the real servers start, restart, and keep their data.

use std::io::Write;

use bench::counterparts::{Cache, CounterpartError, dynamodb, kafka, mariadb};
use bench::generate::{self, Target};
use bench::read;
use events::OrderCreated;

use crate::settings;

/// Returns `true` if the real counterparts may be started here; otherwise prints a sentence.
fn may_start(variable: &str) -> bool {
    let may = std::env::var_os(variable).is_some();
    if !may {
        writeln!(
            std::io::stderr(),
            "SKIPPED: {variable} is not set; `cargo verify` sets it"
        )
        .expect("standard error takes a line");
    }

    may
}

#[test]
fn a_restarted_kafka_keeps_its_records_and_its_address() -> Result<(), CounterpartError> {
    if !may_start("TIDEMARK_TEST_BROKERS") {
        return Ok(());
    }

    let cache = Cache::open()?;
    let folder = cache.scratch("test-kafka")?;
    let mut server = kafka::start(&cache, folder.path())?;
    let log = generate::kafka(server.address()).unwrap();
    let settings = settings(1_000);

    generate::publish(
        &*log,
        Target {
            topic: "orders",
            partitions: 2,
            rate: None,
        },
        settings.records(),
    )
    .unwrap();

    server.restart()?;
    let mut read: Vec<OrderCreated> = read::all_json(&*log, "orders").unwrap();
    read.sort_unstable_by_key(|order| order.order_id);

    assert!(settings.good().eq(read));
    Ok(())
}

#[test]
fn a_killed_mariadb_comes_back() -> Result<(), CounterpartError> {
    if !may_start("TIDEMARK_TEST_MYSQL") {
        return Ok(());
    }
    let folder = Cache::open()?.scratch("test-mariadb")?;
    let mut server = mariadb::start(folder.path())?;
    server.restart()
}

#[test]
fn a_killed_dynamodb_local_comes_back() -> Result<(), CounterpartError> {
    if !may_start("TIDEMARK_TEST_DYNAMODB") {
        return Ok(());
    }

    let cache = Cache::open()?;
    let folder = cache.scratch("test-dynamodb")?;
    let mut server = dynamodb::start(&cache, folder.path())?;
    server.restart()
}
