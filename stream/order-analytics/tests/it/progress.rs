//! The committed progress of the job is gone from Kafka: results are replaced, and none is repeated.

use std::collections::{BTreeMap, BTreeSet};

use record_log::kafka::PROGRESS_TOPIC;
use record_log::{Delivery, NewRecord};

use crate::kafka::Shop;

/// Writes a tombstone for every progress of the job, as compaction after its loss would show it. Returns how many.
fn lose_progress(shop: &Shop) -> usize {
    let own = format!("{}-sink-", shop.name);
    let mut keys = BTreeSet::new();
    for found in shop.found(PROGRESS_TOPIC) {
        let key = found.key.unwrap();
        if key.starts_with(own.as_bytes()) {
            keys.insert((found.partition, key));
        }
    }

    let id = format!("{}-tombstones", shop.name);
    let mut publisher = shop.log.publisher(&id, Delivery::Transactional).unwrap();
    for (partition, key) in &keys {
        let tombstone = NewRecord {
            topic: PROGRESS_TOPIC,
            partition: Some(*partition),
            key: Some(key),
            value: None,
            headers: &[],
        };
        publisher.send(tombstone).unwrap();
    }
    publisher.commit(b"").unwrap();

    keys.len()
}

/// The newest count of each user. Fails if a revision was published twice.
fn counts(shop: &Shop) -> BTreeMap<u64, u64> {
    let mut newest = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for row in shop.rows() {
        assert!(
            seen.insert((row.user_id, row.revision)),
            "a row is repeated under its revision: {row:?}"
        );
        newest.insert((row.user_id, row.revision), row.order_count);
    }

    newest
        .into_iter()
        .map(|((user, _), count)| (user, count))
        .collect()
}

#[test]
fn progress_that_kafka_has_lost_repeats_no_row_under_its_revision() {
    let Some(shop) = Shop::open() else {
        return;
    };

    shop.publish(&[1, 2, 2, 3, 3, 3]);
    shop.run(&[]).unwrap();
    let first = shop.await_rows(3).len();
    assert_eq!(first, 3);

    assert!(lose_progress(&shop) > 0, "the job keeps its progress there");
    shop.run(&[]).unwrap();
    // A lost progress is handled as a lost log: every row is replaced.
    let replaced = shop.await_rows(2 * first).len();
    assert_eq!(replaced, 2 * first);
    assert_eq!(counts(&shop), BTreeMap::from([(1, 1), (2, 2), (3, 3)]));

    shop.run(&[]).unwrap();
    assert_eq!(shop.rows().len(), replaced, "once is enough");
}
