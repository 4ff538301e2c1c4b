//! A CSV of any length is read in bounded memory. `cargo bench -p file-processor` reads one of 5 GB.

use serde_json::{Value, json};

use crate::long_csv::{KEY, LongCsv};
use crate::runtime_api::created;

const BYTES: u64 = 16 << 20;
/// The memory limit for a file of any size.
const MOST_MEMORY_BYTES: u64 = 128 << 20;

#[tokio::test]
async fn a_csv_of_any_length_is_read_in_bounded_memory() {
    let csv = LongCsv::of_bytes(BYTES);
    let mut function = csv.function().await;
    let outcome = function.invoke(created(&json!({"key": KEY}))).await;
    let file = function.file(&outcome).await;

    assert_eq!(
        (&file["summary"]["rows"], &file["summary"]["bad_rows"]),
        (&json!(csv.rows), &json!(0)),
        "{file}"
    );

    assert_eq!(file["size_bytes"], csv.bytes());
    let types: Vec<&Value> = file["summary"]["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| &column["type"])
        .collect();

    assert_eq!(
        types,
        ["integer", "text", "timestamp", "decimal", "boolean"]
    );

    if let Some(taken) = function.taken() {
        let peak = taken.peak_memory_bytes;
        assert!(
            peak < MOST_MEMORY_BYTES,
            "{peak} bytes after {:?} of CPU time",
            taken.cpu
        );
    }
}
