//! The layouts of per-user counts, and the units that DynamoDB Local counts for each.

use serde_json::{Value, json};

use super::failure::Result;
use super::rows::count;
use super::tables::{Tables, Units};

const RESULTS: &str = "analytics-results";
const HOURS: &str = "bench-user-hours";
const MINUTES_OF_AN_HOUR: u64 = 60;
/// The user whose row is measured; its id has the most frequent number of digits.
const USER: u64 = 98_765;
/// Users of the window whose object is measured.
const OBJECT_USERS: u64 = 10_000;

/// The units that a user's counts take, by layout.
#[derive(Debug)]
pub(super) struct Sizes {
    /// Units of a row of one window, as earlier versions of the service wrote it: in the table, and in its
    /// index by window.
    pub(super) row: Units,
    /// Units of an hour of a user, added to one item minute by minute.
    pub(super) hour_by_minute: f64,
    /// Units of an hour of a user, written once when it is over.
    pub(super) hour_at_once: f64,
    /// Bytes of a row in an object of a window, as columns of numbers.
    pub(super) object_row_bytes: f64,
}

/// Measures all layouts. The service has created its tables.
pub(super) fn measure(tables: &Tables, start_ms: u64) -> Result<Sizes> {
    create_hours(tables)?;
    Ok(Sizes {
        row: row(tables, start_ms)?,
        hour_by_minute: hour_by_minute(tables)?,
        hour_at_once: hour_at_once(tables)?,
        object_row_bytes: object_row_bytes(start_ms),
    })
}

/// Writes a row as earlier versions of the service did.
fn row(tables: &Tables, start_ms: u64) -> Result<Units> {
    let count = count(USER, start_ms);
    let amount = &count.amounts.as_slice()[0];
    let total = json!({"M": {
        "currency": {"S": amount.currency.as_str()},
        "minor_units": number(amount.minor_units),
    }});
    let item = json!({
        "user_id": number(USER),
        "window_start": number(start_ms),
        "window_end": number(count.window_end.as_ms()),
        "order_count": number(count.order_count),
        "total_cents": number(amount.minor_units),
        "totals": {"L": [total]},
        "revision": number(0),
        "shelf": {"S": format!("{start_ms}#{}", USER % 8)},
        "expires_at": number(start_ms / 1_000),
    });
    tables.write("PutItem", json!({"TableName": RESULTS, "Item": item}))
}

fn create_hours(tables: &Tables) -> Result<()> {
    let attribute = |name| json!({"AttributeName": name, "AttributeType": "N"});
    let key = |name, kind| json!({"AttributeName": name, "KeyType": kind});
    let table = json!({
        "TableName": HOURS,
        "AttributeDefinitions": [attribute("user_id"), attribute("hour")],
        "KeySchema": [key("user_id", "HASH"), key("hour", "RANGE")],
        "BillingMode": "PAY_PER_REQUEST",
    });
    tables.call("CreateTable", &table).map(drop)
}

/// Adds each minute to the item of its hour. DynamoDB counts the whole item each time.
fn hour_by_minute(tables: &Tables) -> Result<f64> {
    let mut units = 0.0;
    for minute in 0..MINUTES_OF_AN_HOUR {
        let update = json!({
            "TableName": HOURS,
            "Key": {"user_id": number(USER), "hour": number(1)},
            "UpdateExpression": "SET #minute = :counts",
            "ExpressionAttributeNames": {"#minute": format!("{minute:02}")},
            "ExpressionAttributeValues": {":counts": packed(minute)},
        });
        units += tables.write("UpdateItem", update)?.table;
    }
    Ok(units)
}

fn hour_at_once(tables: &Tables) -> Result<f64> {
    let mut item = json!({"user_id": number(USER), "hour": number(2)});
    for minute in 0..MINUTES_OF_AN_HOUR {
        item[format!("{minute:02}")] = packed(minute);
    }
    let units = tables.write("PutItem", json!({"TableName": HOURS, "Item": item}))?;
    Ok(units.table)
}

/// Returns the counts of a minute: orders, revision, and each currency with its sum.
fn packed(minute: u64) -> Value {
    let amounts = json!([{"S": "EUR"}, number(1_000 + 123 * minute)]);
    json!({"L": [number(1 + minute % 3), number(0), {"L": amounts}]})
}

fn number(number: u64) -> Value {
    json!({"N": number.to_string()})
}

/// Returns the bytes a row of an object by window whose columns are numbers of variable length
/// (LEB128): the distance to the user before, orders, revision, currency and sum.
fn object_row_bytes(start_ms: u64) -> f64 {
    let mut bytes = 0_u64;
    for user_id in 1..=OBJECT_USERS {
        let count = count(user_id, start_ms);
        let sums = count
            .amounts
            .as_slice()
            .iter()
            .map(|amount| amount.minor_units);
        let sums: u64 = sums.map(|sum| 1 + length(sum)).sum();
        bytes += length(1) + length(count.order_count) + length(u64::from(count.revision)) + sums;
    }

    #[allow(clippy::cast_precision_loss, reason = "the bytes are few")]
    let mean = bytes as f64 / OBJECT_USERS as f64;
    mean
}

/// Returns the bytes of a number in LEB128.
fn length(number: u64) -> u64 {
    let bits = u64::from(u64::BITS - number.leading_zeros());
    bits.div_ceil(7).max(1)
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn a_number_takes_a_byte_for_seven_bits() {
        for (number, bytes) in [(0, 1), (1, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3)] {
            assert_eq!(length(number), bytes, "{number}");
        }
        assert_eq!(length(u64::MAX), 10);
    }
}
