//! Every type is read from its golden file and written back byte for byte.

use std::fmt::Debug;

use events::{
    ORDER_CREATED, OrderCreated, OrderItem, Timestamp, TopUser, WindowCount, WindowSummary,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn assert_golden<T: DeserializeOwned + Serialize + PartialEq + Debug>(file: &str, value: &T) {
    let file = file.trim_end();
    assert_eq!(&serde_json::from_str::<T>(file).unwrap(), value);
    assert_eq!(serde_json::to_string(value).unwrap(), file);
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn order_created_is_as_its_consumers_know_it() {
    let order = OrderCreated {
        event_id: "01980a4c-5b00-7000-8000-000000000001".parse().unwrap(),
        event_type: ORDER_CREATED.to_owned(),
        order_id: 7,
        user_id: 42,
        total_cents: 3998,
        currency: "USD".to_owned(),
        items: vec![OrderItem {
            product_id: "6f1c2f3e-7d55-4d38-9c07-5f2b8f6a1b11".parse().unwrap(),
            quantity: 2,
            unit_price_cents: 1999,
        }],
        created_at: instant("2026-11-22T10:00:00.123Z"),
    };
    assert_golden(include_str!("../golden/order-created.json"), &order);
}

#[test]
fn window_count_is_as_its_consumers_know_it() {
    let count = WindowCount {
        user_id: 42,
        window_start: instant("2026-11-22T10:00:00Z"),
        window_end: instant("2026-11-22T10:01:00Z"),
        order_count: 3,
        total_cents: 11994,
        revision: 0,
    };
    assert_golden(include_str!("../golden/window-count.json"), &count);
}

#[test]
fn window_summary_is_as_its_consumers_know_it() {
    let summary = WindowSummary {
        window_start: instant("2026-11-22T10:00:00Z"),
        window_end: instant("2026-11-22T10:01:00Z"),
        order_count: 4,
        user_count: 2,
        total_cents: 13993,
        top_users: vec![
            TopUser {
                user_id: 42,
                order_count: 3,
                total_cents: 11994,
            },
            TopUser {
                user_id: 7,
                order_count: 1,
                total_cents: 1999,
            },
        ],
        revision: 1,
    };
    assert_golden(include_str!("../golden/window-summary.json"), &summary);
}

#[test]
fn a_field_that_is_not_known_yet_does_not_stop_a_consumer() {
    let file = include_str!("../golden/window-count.json");
    let later = file.replace("\"revision\":0", "\"revision\":0,\"added_later\":true");
    assert_eq!(
        serde_json::from_str::<WindowCount>(&later).unwrap(),
        serde_json::from_str(file).unwrap()
    );
}
