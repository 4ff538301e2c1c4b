//! Measures how fast the embedded log publishes in commits of 1,000 records, and how fast it reads, with records of 300
//! bytes.
//!
//!     cargo run --release -p record-log --example embedded_throughput

use std::time::{Duration, Instant};

use anyhow::Result;
use record_log::embedded::EmbeddedLog;
use record_log::{Cleanup, Delivery, NewRecord, RecordLog, TopicSpec};

const RECORDS: u64 = 1_000_000;
const PARTITIONS: u32 = 4;

#[expect(clippy::print_stdout, reason = "it prints figures")]
fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = EmbeddedLog::open(folder.path())?;
    let retention = Duration::from_secs(3600);

    log.ensure_topics(&[TopicSpec {
        name: "t".into(),
        partitions: PARTITIONS,
        cleanup: Cleanup::Delete,
        retention,
    }])?;

    let started = Instant::now();
    publish(&log)?;
    println!(
        "published {:.0} records/s in commits of 1,000",
        rate(started)
    );

    let started = Instant::now();
    let read = read(&log)?;
    println!("read {:.0} records/s ({read} records)", rate(started));

    Ok(())
}

fn publish(log: &EmbeddedLog) -> Result<()> {
    let mut publisher = log.publisher("bench", Delivery::Transactional)?;
    let value = [7; 290];
    for n in 0..RECORDS {
        let key = n.to_string();
        let key = Some(key.as_bytes());
        let value = Some(&value[..]);

        publisher.send(NewRecord {
            topic: "t",
            partition: None,
            key,
            value,
            headers: &[],
        })?;

        if n % 1_000 == 999 {
            publisher.commit(&[])?;
        }
    }

    Ok(())
}

fn read(log: &EmbeddedLog) -> Result<u64> {
    let from: Vec<_> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let mut reader = log.reader("t", &from)?;
    let mut bytes = 0;
    let mut records = 0;

    for partition in 0..PARTITIONS {
        loop {
            let polled = reader.poll(partition, 1_024, &mut |record| {
                bytes += record.value.map_or(0, <[u8]>::len);
            })?;
            records += polled.records as u64;

            if polled.is_at_end() {
                break;
            }
        }
    }

    assert_eq!(bytes as u64, records * 290);
    Ok(records)
}

fn rate(started: Instant) -> f64 {
    RECORDS as f64 / started.elapsed().as_secs_f64()
}
