//! An order of any producer is counted, unless one of its fields is ambiguous.

use events::{CountedOrder, ORDER_CREATED};
use serde_json::{Value, json};

const ORDER: &str = include_str!("../golden/order-created.json");

fn read(text: &str) -> Result<CountedOrder<'_, Value>, serde_json::Error> {
    serde_json::from_str(text)
}

#[test]
fn the_order_of_the_contract_is_counted() {
    let order = read(ORDER).unwrap();
    assert_eq!(order.event_type, ORDER_CREATED);
    assert_eq!((order.user_id, order.total_cents), (42, 3998));
    assert_eq!(order.currency.to_string(), "USD");
    assert_eq!(order.created_at.to_string(), "2026-11-22T10:00:00.123Z");
    assert_eq!(
        order.event_id,
        json!("01980a4c-5b00-7000-8000-000000000001")
    );
}

#[test]
fn no_field_of_the_contract_may_be_there_twice() {
    let order: Value = serde_json::from_str(ORDER).unwrap();
    let inner = ORDER.trim_end().strip_suffix('}').unwrap();
    for (name, value) in order.as_object().unwrap() {
        let twice = format!("{inner},{}:{value}}}", json!(name));
        let error = read(&twice).expect_err(name).to_string();
        assert!(error.contains("duplicate field"), "{name}: {error}");
    }

    let others = format!("{inner},\"note\":1,\"note\":2}}");
    assert!(read(&others).is_ok());
}

#[test]
fn only_what_is_counted_must_be_there() {
    let order: Value = serde_json::from_str(ORDER).unwrap();
    for name in order.as_object().unwrap().keys() {
        let mut without = order.clone();
        without.as_object_mut().unwrap().remove(name);
        let is_counted = ["event_id", "order_id", "items"].contains(&name.as_str());
        assert_eq!(read(&without.to_string()).is_ok(), is_counted, "{name}");
    }
}
