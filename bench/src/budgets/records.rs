//! The stages that read or write single records.

use std::error::Error;
use std::fmt::Write;
use std::hint::black_box;

use events::OrderCreated;
use order_analytics::{decode, write};
use record_log::{LogTimeType, Record};
use stream::Output;

use super::inputs::{self, WINDOW_MS};

/// Decodes orders in the layout of Tidemark's producer.
pub fn decode_published(units: u64, passes: u64) -> Result<u64, Box<dyn Error>> {
    let values: Vec<_> = inputs::orders(units)
        .map(|order| inputs::published(&order))
        .collect();
    Ok(decode_all(&values, passes))
}

/// Decodes orders in another layout.
pub fn decode_rewritten(units: u64, passes: u64) -> Result<u64, Box<dyn Error>> {
    let values: Vec<_> = inputs::orders(units)
        .map(|order| rewritten(&order).into_bytes())
        .collect();
    Ok(decode_all(&values, passes))
}

/// Writes the records of counts.
pub fn encode(units: u64, passes: u64) -> Result<u64, Box<dyn Error>> {
    let rows = inputs::rows(units);
    let mut output = Output::default();
    let mut written = 0;

    for _ in 0..passes {
        for row in &rows {
            output.key.clear();
            output.value.clear();
            write::count(black_box(row), WINDOW_MS, &mut output);
            written += u64::from(!black_box(&output).value.is_empty());
        }
    }

    Ok(written)
}

/// Returns the number of values that are orders.
fn decode_all(values: &[Vec<u8>], passes: u64) -> u64 {
    let mut decoded = 0;
    for _ in 0..passes {
        for value in values {
            let record = Record {
                partition: 0,
                offset: 0,
                log_time_ms: 0,
                log_time_type: LogTimeType::Append,
                key: None,
                value: Some(black_box(value)),
                headers: &Vec::new(),
            };
            let found = black_box(decode::order(&record));
            decoded += u64::from(matches!(found, Ok(Some(_))));
        }
    }
    decoded
}

/// Returns an order in the layout of another producer: with spaces, a further field, and its fields
/// in another sequence.
fn rewritten(order: &OrderCreated) -> String {
    let mut text = format!(
        r#"{{"created_at": "{}", "user_id": {}, "shop": true, "items": ["#,
        order.created_at, order.user_id
    );

    for (place, item) in order.items.iter().enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        write!(
            text,
            r#"{comma}{{"quantity": {}, "product_id": "{}", "unit_price_cents": {}}}"#,
            item.quantity, item.product_id, item.unit_price_cents
        )
        .expect("writing to a string cannot fail");
    }

    write!(
        text,
        r#"], "currency": "{}", "total_cents": {}, "order_id": {}, "event_type": "{}", "event_id": "{}"}}"#,
        order.currency, order.total_cents, order.order_id, order.event_type, order.event_id
    )
    .expect("writing to a string cannot fail");

    text
}
