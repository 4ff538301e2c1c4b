//! Chunks as DynamoDB items: the key is the bucket, and within it the label, the writer and a number.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use events::{Timestamp, WindowCount};
use serde::de::Error;

use super::buckets::Bucket;
use super::by_window::Starts;
use super::chunks::Chunk;
use super::tables::COUNTS;
use super::{Store, StoreError, as_limit, number, packed, rows};

/// The condition of a write: there is no version of the chunk yet, or a lower one.
const IS_NEWER: &str = "attribute_not_exists(version) OR version < :version";
/// Greater than the character that follows the label in a key.
const AFTER_LABEL: char = '~';

pub(super) type Item = HashMap<String, AttributeValue>;

/// A page of a user's counts, and of others'.
pub(super) struct Page {
    pub(super) counts: Vec<WindowCount>,
    /// All counts that start from here on are read; none if the page is empty.
    pub(super) read_to_ms: Option<u64>,
    /// Where the next page begins; none after the last.
    pub(super) next: Option<HashMap<String, AttributeValue>>,
}

impl Store {
    /// Writes a chunk, unless this version of it or a later one is stored.
    pub(super) async fn put_chunk(&self, chunk: Item) -> Result<(), StoreError> {
        let version = chunk.get("version").cloned();
        let put = self
            .client
            .put_item()
            .table_name(COUNTS)
            .set_item(Some(chunk))
            .condition_expression(IS_NEWER)
            .set_expression_attribute_values(
                version.map(|version| HashMap::from([(":version".to_owned(), version)])),
            );
        let put = put.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let outcome = put.send().await;
        // A failed condition means that an earlier try was stored after all, or a later change: nothing is left to do.
        self.held(outcome, |done| done.consumed_capacity())
            .map(drop)
    }

    /// Returns the counts in a bucket's chunks whose label covers this minute.
    pub(super) async fn labelled(
        &self,
        bucket: Bucket,
        minute: Timestamp,
    ) -> Result<Vec<WindowCount>, StoreError> {
        let label_ms = bucket.label_ms(minute);
        all(self.query_chunks(bucket, label_ms, label_ms)).await
    }

    /// Returns the next page of a bucket's chunks in the range, newest first.
    pub(super) async fn backwards(
        &self,
        bucket: Bucket,
        starts: Starts,
        begin: Option<Item>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let upto = starts.upto_ms().and_then(Timestamp::from_ms);
        let upto_ms = upto.map_or(u64::MAX, |upto| bucket.label_ms(upto));
        let query = self.query_chunks(bucket, bucket.label_ms(starts.from), upto_ms);
        let found = query
            .scan_index_forward(false)
            .set_exclusive_start_key(begin)
            .limit(as_limit(limit))
            .send()
            .await?;

        let mut counts = Vec::new();
        let mut last_label_ms = None;
        for item in found.items.unwrap_or_default() {
            let (label_ms, unpacked) = unpack(&item)?;
            last_label_ms = Some(label_ms);
            counts.extend(unpacked);
        }
        // A further chunk may have the same label.
        let after = |label_ms| label_ms + bucket.span_ms();
        Ok(Page {
            counts,
            read_to_ms: last_label_ms.map(after),
            next: found.last_evaluated_key,
        })
    }

    /// Returns a query for a bucket's chunks with labels in this range.
    pub(super) fn query_chunks(
        &self,
        bucket: Bucket,
        first_ms: u64,
        last_ms: u64,
    ) -> QueryFluentBuilder {
        let first = AttributeValue::S(label(first_ms));
        let last = AttributeValue::S(format!("{}{AFTER_LABEL}", label(last_ms)));
        self.client
            .query()
            .table_name(COUNTS)
            .key_condition_expression("user_bucket = :bucket AND chunk BETWEEN :first AND :last")
            .expression_attribute_values(":bucket", AttributeValue::S(bucket.key()))
            .expression_attribute_values(":first", first)
            .expression_attribute_values(":last", last)
    }
}

/// Returns the counts of all chunks that a query finds.
pub(super) async fn all(query: QueryFluentBuilder) -> Result<Vec<WindowCount>, StoreError> {
    let mut counts = Vec::new();
    let mut next = None;
    loop {
        let found = query.clone().set_exclusive_start_key(next).send().await?;
        for item in found.items.unwrap_or_default() {
            counts.extend(unpack(&item)?.1);
        }

        next = found.last_evaluated_key;
        if next.is_none() {
            return Ok(counts);
        }
    }
}

/// Returns a chunk of this writer as an item that expires after the retention of its newest window.
pub(super) fn item(chunk: &Chunk, writer: &str, retention: Duration) -> Item {
    let key = format!("{}#{writer}#{}", label(chunk.label_ms()), chunk.number());
    let ends = chunk.counts().map(|count| count.window_end);
    let expiries = ends.map(|end| rows::expires_at(end, retention));

    let attributes = [
        ("user_bucket", AttributeValue::S(chunk.bucket().key())),
        ("chunk", AttributeValue::S(key)),
        ("rows", AttributeValue::B(Blob::new(chunk.packed()))),
        ("version", number(chunk.version())),
        ("expires_at", number(expiries.max().unwrap_or(0))),
    ];
    let named = attributes.map(|(name, value)| (name.to_owned(), value));
    HashMap::from(named)
}

/// Returns a label as the first part of a key, in which all have the same number of digits.
fn label(label_ms: u64) -> String {
    format!("{label_ms:020}")
}

/// Returns the label and the counts of a chunk.
fn unpack(item: &Item) -> Result<(u64, Vec<WindowCount>), StoreError> {
    let unreadable = |reason: &str| StoreError::Unreadable(serde_dynamo::Error::custom(reason));
    let key = item.get("chunk").and_then(|key| key.as_s().ok());
    let label = key.and_then(|key| key.split('#').next()?.parse().ok());
    let label_ms = label.ok_or_else(|| unreadable("a chunk's key has no label"))?;

    let rows = item.get("rows").and_then(|rows| rows.as_b().ok());
    let rows = rows.ok_or_else(|| unreadable("a chunk has no rows"))?;
    let counts = packed::unpack(label_ms, rows.as_ref());
    let counts = counts.map_err(|error| unreadable(&error.to_string()))?;
    Ok((label_ms, counts))
}

#[cfg(test)]
mod tests {
    use events::Amounts;

    use super::super::buckets::Shelf;
    use super::super::chunks::Chunks;
    use super::*;

    fn count(revision: u32) -> WindowCount {
        let instant = |ms| Timestamp::from_ms(ms).unwrap();
        WindowCount {
            user_id: 7,
            window_start: instant(1_795_341_600_000),
            window_end: instant(1_795_341_660_000),
            order_count: 1,
            amounts: Amounts::default(),
            revision,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_write_that_was_delayed_replaces_no_later_one() {
        let units = prometheus::Counter::new("units", "Write units.").unwrap();
        let retention = Duration::from_secs(3_600);
        let store = Store::new(testbed::embedded().await, retention, units);
        store.ensure_tables().await.unwrap();
        let mut chunks = Chunks::default();
        let mut written = Vec::new();
        for revision in [0, 1] {
            chunks.add(&[count(revision)], 0);
            let chunk = chunks.unsaved().next().unwrap();
            written.push(item(chunk, "one", store.retention));
            chunks.note_saved();
        }
        assert_eq!(written[0]["chunk"], written[1]["chunk"]);

        store.put_chunk(written[1].clone()).await.unwrap();
        store.put_chunk(written[0].clone()).await.unwrap();
        let bucket = Bucket::of(Shelf::Timely, 0, 0);
        let found = store.labelled(bucket, count(0).window_start).await.unwrap();
        assert_eq!(found, [count(1)]);
    }
}
