//! A CSV of any length is read in the same memory.
//!
//! It has 16 MiB, or what `TIDEMARK_TEST_CSV_BYTES` says: the README tells of one of 5 GB.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::runtime_api::{Function, created};

const BYTES: u64 = 16 << 20;
/// Time enough for any length.
const LONG: Duration = Duration::from_secs(3600);
/// What a file of any size must fit into.
const MOST_MEMORY_BYTES: u64 = 128 << 20;

#[tokio::test]
async fn a_csv_of_any_length_is_read_in_bounded_memory() {
    let bytes = std::env::var("TIDEMARK_TEST_CSV_BYTES").map_or(BYTES, |bytes| bytes.parse().unwrap());
    let mut function = Function::start("http://127.0.0.1:1").await;
    function.set_timeout(LONG);
    let path = function.path("uploads/large.csv");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let rows = generate(&path, bytes);
    let began = Instant::now();
    let outcome = function.invoke(created(&json!({"key": "uploads/large.csv"}))).await;
    let (took, peak) = (began.elapsed(), function.peak_memory_bytes());
    eprintln!("{bytes} bytes, {rows} rows: {:.1} s, peak memory {} MiB", took.as_secs_f64(), peak >> 20);
    let file = function.file(&outcome).await;
    assert_eq!((&file["summary"]["rows"], &file["summary"]["bad_rows"]), (&json!(rows), &json!(0)), "{file}");
    assert!(peak < MOST_MEMORY_BYTES, "{} MiB", peak >> 20);
}

/// Writes rows until there are so many bytes, and says how many rows.
fn generate(path: &Path, bytes: u64) -> u64 {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut written = file.write(b"order_id,customer,placed_at,total,paid\n").unwrap() as u64;
    let mut rows = 0;
    while written < bytes {
        rows += 1;
        let row = format!(
            "{rows},\"Customer, No. {}\",2026-11-22T10:00:00.{:03}Z,{}.99,true\n",
            rows % 9973,
            rows % 1000,
            rows % 500
        );
        file.write_all(row.as_bytes()).unwrap();
        written += row.len() as u64;
    }
    file.flush().unwrap();
    rows
}
