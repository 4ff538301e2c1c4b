//! Measures the time and the CPU time of publishing, committing and reading records of 300 bytes on a Kafka broker.
//!
//!     kafka_throughput CLIENT BROKERS publish TOPIC RECORDS
//!     kafka_throughput CLIENT BROKERS commit TOPIC COMMITS
//!     kafka_throughput CLIENT BROKERS read TOPIC
//!
//! CLIENT is rdkafka or native.
//!
//! `read` prints the CPU time of the whole process, so it is a command of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use record_log::{
    Cleanup, Delivery, LogSettings, NewRecord, Publisher, Reader, RecordLog, Signal, TopicSpec,
};

const PARTITIONS: u32 = 4;
const COMMIT_RECORDS: u64 = 50_000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [client, brokers, command, topic, rest @ ..] = arguments.as_slice() else {
        bail!("see the head of the source")
    };

    let brokers = brokers.clone();
    let properties = Vec::new();
    let log = record_log::open(&match client.as_str() {
        "rdkafka" => LogSettings::Kafka {
            brokers,
            properties,
        },
        "native" => LogSettings::NativeKafka {
            brokers,
            properties,
        },
        other => bail!("no client {other:?}"),
    })?;

    let count = || {
        rest.first()
            .context("how many?")?
            .parse::<u64>()
            .context("how many?")
    };

    match command.as_str() {
        "publish" => publish(&*log, topic, count()?),
        "commit" => commit(&*log, topic, count()?),
        "read" => read(&*log, topic),
        other => bail!("no command {other:?}"),
    }
}

fn open(log: &dyn RecordLog, topic: &str) -> Result<Box<dyn Publisher>> {
    let retention = Duration::from_secs(24 * 3600);
    let spec = TopicSpec {
        name: topic.into(),
        partitions: PARTITIONS,
        cleanup: Cleanup::Delete,
        retention,
    };
    log.ensure_topics(&[spec])?;

    Ok(log.publisher(&format!("{topic}-publisher"), Delivery::Transactional)?)
}

fn send(publisher: &mut dyn Publisher, topic: &str, n: u64) -> Result<()> {
    let key = n.to_string();
    let value = value(n);
    let key = Some(key.as_bytes());
    let value = Some(value.as_bytes());

    Ok(publisher.send(NewRecord {
        topic,
        partition: None,
        key,
        value,
        headers: &[],
    })?)
}

/// Returns about 300 bytes, as compressible as an order.
fn value(n: u64) -> String {
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let id = (u128::from(scattered) << 64) | u128::from(!scattered.rotate_left(17));
    let product = scattered.rotate_left(31);

    format!(
        r#"{{"event_id":"{id:032x}","event_type":"order.created","order_id":{n},"user_id":{},"total_cents":{},"currency":"USD","items":[{{"product_id":"{product:016x}{id:016x}","quantity":{},"unit_price_cents":{}}}],"created_at":"2026-11-22T10:{:02}:00.000Z"}}"#,
        scattered % 100_000,
        scattered % 99_991,
        1 + n % 5,
        scattered % 9_973,
        n % 60
    )
}

fn publish(log: &dyn RecordLog, topic: &str, records: u64) -> Result<()> {
    let mut publisher = open(log, topic)?;
    let started = Instant::now();
    let cpu_s = cpu_s()?;

    for n in 1..=records {
        send(&mut *publisher, topic, n)?;
        if n % COMMIT_RECORDS == 0 || n == records {
            publisher.commit(&[])?;
        }
    }

    report("published", records, started, cpu_s)
}

#[expect(clippy::print_stdout, reason = "it prints figures")]
fn commit(log: &dyn RecordLog, topic: &str, commits: u64) -> Result<()> {
    let mut publisher = open(log, topic)?;
    let mut took = Vec::new();
    for n in 1..=commits {
        let started = Instant::now();
        (0..10).try_for_each(|record| send(&mut *publisher, topic, n * 10 + record))?;
        publisher.commit(&[])?;
        took.push(started.elapsed());
    }

    took.sort_unstable();
    println!(
        "commits of 10 records: median {:?}, p99 {:?}",
        took[took.len() / 2],
        took[took.len() * 99 / 100]
    );

    Ok(())
}

#[expect(clippy::print_stdout, reason = "it prints figures")]
fn read(log: &dyn RecordLog, topic: &str) -> Result<()> {
    let from: Vec<_> = (0..)
        .zip(log.offsets(topic)?)
        .map(|(partition, range)| (partition, range.start))
        .collect();
    let mut reader = log.reader(topic, &from)?;
    let signal = Signal::default();
    reader.on_readable(signal.wake());

    let started = Instant::now();
    let cpu_s = cpu_s()?;
    let records = read_to_end(&mut *reader, from.len() as u32, &signal)?;
    report("read", records, started, cpu_s)?;
    println!("peak memory: {}", status("VmHWM")?);

    Ok(())
}

fn read_to_end(reader: &mut dyn Reader, partitions: u32, signal: &Signal) -> Result<u64> {
    let mut records = 0;
    let mut bytes = 0;
    loop {
        let mut found = 0;
        let mut ended = 0;
        for partition in 0..partitions {
            let polled = reader.poll(partition, 8_192, &mut |record| {
                bytes += record.value.map_or(0, <[u8]>::len);
            })?;
            found += polled.records as u64;
            ended += u32::from(polled.is_at_end());
        }

        records += found;
        if ended == partitions {
            return Ok(records);
        }

        if found == 0 {
            signal.wait(Duration::from_millis(100));
        }
    }
}

#[expect(clippy::print_stdout, reason = "it prints figures")]
fn report(what: &str, records: u64, started: Instant, cpu_before_s: f64) -> Result<()> {
    let elapsed_s = started.elapsed().as_secs_f64();
    let cpu_s = cpu_s()? - cpu_before_s;
    let millions = records as f64 / 1e6;

    println!(
        "{what} {records} records: {:.0}/s, {:.3} CPU-s per million",
        records as f64 / elapsed_s,
        cpu_s / millions
    );

    Ok(())
}

/// Returns the user and system time of all threads of this process.
fn cpu_s() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').context("a name in parentheses")?.1;
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;

    Ok(ticks.iter().sum::<f64>() / 100.0)
}

fn status(name: &str) -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with(name))
        .context("a line of the status")?;

    Ok(line
        .split_whitespace()
        .skip(1)
        .collect::<Vec<_>>()
        .join(" "))
}
