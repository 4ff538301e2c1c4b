//! The stages of Kafka's client: reading fetched batches, and making batches of records.

use std::error::Error;
use std::hint::black_box;

use record_log::NewRecord;
use record_log::native::internals::{Received, Unsent};

use super::inputs;

const TOPIC: &str = "measured";

/// Reads batches of orders.
pub fn fetch(units: u64, passes: u64) -> Result<u64, Box<dyn Error>> {
    let orders = inputs::orders(units);
    let records = orders.map(|order| {
        let key = order.user_id.to_string().into_bytes();
        (key, inputs::published(&order))
    });
    read(&batches(&records.collect::<Vec<_>>())?, passes)
}

/// Reads batches of records of random bytes.
pub fn walk(units: u64, passes: u64) -> Result<u64, Box<dyn Error>> {
    read(&batches(&numbered(inputs::noise(units, 300)))?, passes)
}

/// Makes batches of records of random bytes.
pub fn batch(units: u64, passes: u64) -> Result<u64, Box<dyn Error>> {
    publish_all(&numbered(inputs::noise(units, 200)), passes)
}

/// Makes batches of the records of counts.
pub fn publish(units: u64, passes: u64) -> Result<u64, Box<dyn Error>> {
    let outputs = inputs::written(&inputs::rows(units)).into_iter();
    let records: Vec<_> = outputs.map(|output| (output.key, output.value)).collect();
    publish_all(&records, passes)
}

fn numbered(values: Vec<Vec<u8>>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let key = |number: u64| number.to_string().into_bytes();
    (1_000..).map(key).zip(values).collect()
}

/// Returns batches of one partition with these keys and values.
fn batches(records: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut unsent = Unsent::new(TOPIC, 1)?;
    let mut batches = Vec::new();
    let mut keep = |batch: &[u8]| batches.push(batch.to_vec());

    for (key, value) in records {
        unsent.push(&record(key, value), &mut keep)?;
    }
    unsent.finish(&mut keep);

    Ok(batches)
}

/// Returns the number of records that were read.
fn read(batches: &[Vec<u8>], passes: u64) -> Result<u64, Box<dyn Error>> {
    let mut received = Received::default();
    let mut read = 0;
    for _ in 0..passes {
        for batch in batches {
            read += received.poll(batch, &mut |record| {
                black_box(record.value);
            })?;
        }
    }
    Ok(read as u64)
}

/// Returns the number of records in the batches that were made.
fn publish_all(records: &[(Vec<u8>, Vec<u8>)], passes: u64) -> Result<u64, Box<dyn Error>> {
    let mut unsent = Unsent::new(TOPIC, 4)?;
    let mut in_batches = 0;
    let mut count = |batch: &[u8]| in_batches += records_of(black_box(batch));

    for _ in 0..passes {
        for (key, value) in records {
            unsent.push(&record(key, value), &mut count)?;
        }
        unsent.finish(&mut count);
    }

    Ok(in_batches)
}

fn record<'a>(key: &'a [u8], value: &'a [u8]) -> NewRecord<'a> {
    NewRecord {
        topic: TOPIC,
        partition: None,
        key: Some(key),
        value: Some(value),
        headers: &[],
    }
}

/// Returns the number of records of a batch, which is the last field of its header.
fn records_of(batch: &[u8]) -> u64 {
    let count = batch.get(57..61).and_then(<[u8]>::first_chunk);
    count.map_or(0, |count| u64::from(u32::from_be_bytes(*count)))
}
