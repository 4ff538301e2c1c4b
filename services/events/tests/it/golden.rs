//! Every type is read from its golden file and written back byte for byte.

use std::fmt::Debug;

use events::{
    Amount, Amounts, ORDER_CHANGED_VERSION, ORDER_CHANGES, ORDER_CREATED, OrderChanged,
    OrderCreated, OrderItem, Timestamp, TopUser, WindowCount, WindowSummary,
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

fn amounts(of: &[(&str, u64)]) -> Amounts {
    let amount = |(code, minor_units): &(&str, u64)| Amount {
        currency: code.parse().unwrap(),
        minor_units: *minor_units,
    };
    of.iter().map(amount).collect()
}

#[test]
fn order_created_is_as_its_consumers_know_it() {
    let named = order(Some("Desk Lamp"));
    assert_golden(include_str!("../golden/order-created.json"), &named);

    // Orders of earlier versions, which the topic keeps.
    let unnamed = order(None);
    let file = include_str!("../golden/order-created-before-names.json");
    assert_golden(file, &unnamed);
}

/// Returns an order of one line, with this name of its product.
fn order(name: Option<&str>) -> OrderCreated {
    OrderCreated {
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
            name: name.map(str::to_owned),
        }],
        created_at: instant("2026-11-22T10:00:00.123Z"),
    }
}

/// The golden files of the changes, in the order of [`ORDER_CHANGES`].
const CHANGES: [&str; 6] = [
    include_str!("../golden/order-paid.json"),
    include_str!("../golden/order-shipped.json"),
    include_str!("../golden/order-delivered.json"),
    include_str!("../golden/order-cancelled.json"),
    include_str!("../golden/order-expired.json"),
    include_str!("../golden/order-refunded.json"),
];

#[test]
fn each_change_of_an_order_is_as_its_consumers_know_it() {
    for (event_type, file) in ORDER_CHANGES.into_iter().zip(CHANGES) {
        let change = OrderChanged {
            event_id: "01980a4c-5b00-7000-8000-000000000002".parse().unwrap(),
            event_type: event_type.to_owned(),
            version: ORDER_CHANGED_VERSION,
            order_id: 7,
            user_id: 42,
            total_cents: 3998,
            currency: "USD".to_owned(),
            changed_at: instant("2026-11-22T10:05:00.123Z"),
        };
        assert_golden(file, &change);
    }
}

fn window_count(of: &[(&str, u64)]) -> WindowCount {
    WindowCount {
        user_id: 42,
        window_start: instant("2026-11-22T10:00:00Z"),
        window_end: instant("2026-11-22T10:01:00Z"),
        order_count: 3,
        amounts: amounts(of),
        revision: 0,
    }
}

#[test]
fn window_count_is_as_its_consumers_know_it() {
    let count = window_count(&[("USD", 11_994)]);
    assert_golden(include_str!("../golden/window-count.json"), &count);
}

#[test]
fn a_count_of_several_currencies_has_no_single_total() {
    let count = window_count(&[("USD", 1_999), ("JPY", 150_000)]);
    let file = include_str!("../golden/window-count-of-several-currencies.json");
    assert_golden(file, &count);
}

#[test]
fn a_count_from_before_there_were_totals_is_read() {
    let file = include_str!("../golden/window-count-before-totals.json");
    assert_eq!(
        serde_json::from_str::<WindowCount>(file).unwrap(),
        window_count(&[("XXX", 11_994)])
    );
}

#[test]
fn window_summary_is_as_its_consumers_know_it() {
    let summary = WindowSummary {
        window_start: instant("2026-11-22T10:00:00Z"),
        window_end: instant("2026-11-22T10:01:00Z"),
        order_count: 4,
        user_count: 2,
        amounts: amounts(&[("USD", 11_994), ("JPY", 1_500)]),
        top_users: vec![
            TopUser {
                user_id: 42,
                order_count: 3,
                amounts: amounts(&[("USD", 11_994)]),
            },
            TopUser {
                user_id: 7,
                order_count: 1,
                amounts: amounts(&[("JPY", 1_500)]),
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
