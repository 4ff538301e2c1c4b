//! The chunks that the service has written, as DynamoDB Local has them.

use serde_json::{Value, json};

use super::failure::Result;
use super::tables::Tables;

const COUNTS: &str = "analytics-counts";
/// Bytes of the names of a chunk's attributes, and of its version and expiry.
const NAMES_AND_NUMBERS: usize = 37 + 8;

/// What the rows of a window took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) replicas: usize,
    pub(super) rows: u64,
    /// The write units of the rows.
    pub(super) units: f64,
    pub(super) bytes: Bytes,
}

/// The bytes of a window's chunks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bytes {
    /// Those that are read for the rows of one user: the mean bucket of each level.
    pub(super) of_user: f64,
    pub(super) of_all: f64,
}

/// Returns the bytes of the window that begins at `start_ms`.
pub(super) fn bytes(tables: &Tables, start_ms: u64) -> Result<Bytes> {
    let label = format!("{start_ms:020}#");
    let mut bytes = Bytes::default();
    let mut next = Value::Null;
    loop {
        let mut scan = json!({"TableName": COUNTS});
        if !next.is_null() {
            scan["ExclusiveStartKey"] = next;
        }

        let mut page = tables.call("Scan", &scan)?;
        let items = page["Items"].as_array().into_iter().flatten();
        for (of_chunk, buckets) in items.filter_map(|item| chunk(item, &label)) {
            bytes.of_all += of_chunk;
            bytes.of_user += of_chunk / buckets;
        }
        next = page["LastEvaluatedKey"].take();
        if next.is_null() {
            return Ok(bytes);
        }
    }
}

/// Returns a chunk's bytes and the number of buckets of its level; none if it has another label.
fn chunk(item: &Value, label: &str) -> Option<(f64, f64)> {
    let key = item["chunk"]["S"].as_str()?;
    let bucket = item["user_bucket"]["S"].as_str()?;
    let buckets: f64 = bucket.split('#').next()?.parse().ok()?;
    // In JSON, 3 bytes are 4 letters.
    let rows = item["rows"]["B"].as_str()?.len() / 4 * 3;
    let bytes = key.len() + bucket.len() + rows + NAMES_AND_NUMBERS;

    #[allow(clippy::cast_precision_loss, reason = "an item has at most 400 KB")]
    let bytes = bytes as f64;
    key.starts_with(label).then_some((bytes, buckets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_counts_for_its_part_of_the_users() {
        let item = json!({
            "user_bucket": {"S": "16#3"},
            "chunk": {"S": "00000000000000060000#w#1"},
            "rows": {"B": "AAAAAAAA"},
        });
        let bytes = f64::from(u8::try_from(4 + 24 + 6 + NAMES_AND_NUMBERS).unwrap());
        assert_eq!(chunk(&item, "00000000000000060000#"), Some((bytes, 16.0)));
        assert_eq!(chunk(&item, "00000000000000120000#"), None);
    }
}
