//! Topics with many records that are no orders, on a real Kafka: their dead letters wait neither for event time nor for
//! a checkpoint, and no checkpoint grows with them.

use std::thread;

use crate::kafka::{Shop, WINDOW_START_MS, order_at};
use crate::living::{Living, SECONDS};

/// The size of a record that is no order.
const BAD_BYTES: usize = 500;

/// Records that are no orders, each with another value.
fn bad(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("{number:0>BAD_BYTES$}"))
}

/// The entries and the bytes of the parts that the newest checkpoint names.
fn held(shop: &Shop) -> (u64, u64) {
    let manifest = shop.manifest().unwrap();
    let parts = manifest["parts"].as_array().unwrap();
    assert!(!parts.is_empty(), "{manifest}");
    let sum = |field: &str| parts.iter().map(|part| part[field].as_u64().unwrap()).sum();
    (sum("entries"), sum("size_bytes"))
}

#[test]
fn dead_letters_are_committed_while_nothing_moves_event_time() {
    let Some(shop) = Shop::open() else {
        return;
    };
    // There is room for a fifth of each round: reading goes on as they are committed.
    let room = ["--side-output-memory", "20KiB"];
    let mut living = Living::with(&shop, "native", &room);
    for round in 1..=2 {
        shop.produce_all(bad(200));
        living.await_records("dead-letter", 200 * round);
    }
    assert_eq!(shop.rows().len(), 0);
    assert!(
        shop.manifest()
            .is_none_or(|it| it["parts"] == serde_json::json!([]))
    );

    drop(living);
    shop.run(&SECONDS).unwrap();
    assert_eq!(shop.await_records("dead-letter", 400).len(), 400);
}

#[test]
fn a_checkpoint_does_not_grow_with_bad_records() {
    let shops = [0, 1, 4].map(|share| (Shop::open(), share));
    let found = thread::scope(|scope| {
        let run = |(shop, share): &(Option<Shop>, usize)| held_with(shop.as_ref()?, *share);
        let running = shops.each_ref().map(|it| scope.spawn(move || run(it)));
        running.map(|it| it.join().unwrap())
    });
    let [Some(without), Some(half), Some(most)] = found else {
        return;
    };

    for with in [half, most] {
        assert_eq!(with.0, without.0, "{found:?}");
        assert!(with.1 < without.1 + 2 * BAD_BYTES as u64, "{found:?}");
    }
}

/// What a checkpoint holds of orders, each of which so many records follow that are none.
fn held_with(shop: &Shop, share: usize) -> Option<(u64, u64)> {
    let order = |n| order_at(n % 10, n, WINDOW_START_MS + n * 1_000);
    shop.produce_all((0..100).flat_map(|n| std::iter::once(order(n)).chain(bad(share))));

    shop.run(&[]).unwrap();
    let dead = shop.await_records("dead-letter", 100 * share);
    assert_eq!(dead.len(), 100 * share);
    Some(held(shop))
}
