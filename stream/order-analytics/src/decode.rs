//! Reads of an order what is counted: its user, its total and its time. The rest is checked to be JSON, and passed over.

use events::{ORDER_CREATED, Timestamp};
use record_log::Record;
use serde::Deserialize;

use super::OrderTotals;
use stream::aggregate::{Count, Sum};
use stream::job::Rejected;
use stream::pane::EventTimeMs;

/// What is counted of an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    /// Who ordered.
    pub user_id: u64,
    /// For how much.
    pub total_cents: u64,
}

impl Order {
    /// What is counted, and for whom.
    pub fn counted(self) -> (u64, OrderTotals) {
        (self.user_id, (Count(1), Sum(self.total_cents)))
    }
}

/// The fields of [`events::OrderCreated`] that matter here.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    event_type: &'a str,
    user_id: u64,
    total_cents: u64,
    created_at: Timestamp,
}

/// The latest event time whose windows can still be written: a year before timestamps end.
const LAST_MS: u64 = 253_370_764_800_000;

/// Understands a record of the topic `orders`.
///
/// # Errors
/// [`Rejected`] with what is wrong, for a person to read.
pub fn order(record: &Record<'_>) -> Result<(EventTimeMs, Order), Rejected> {
    let value = record
        .value
        .ok_or_else(|| Rejected::because("the record has no value"))?;
    let fields: Fields<'_> = serde_json::from_slice(value).map_err(Rejected::because)?;
    if fields.event_type != ORDER_CREATED {
        return Err(Rejected::because(format_args!(
            "the event is no {ORDER_CREATED:?} but {:?}",
            fields.event_type
        )));
    }
    let event_ms = fields.created_at.as_ms();
    if event_ms > LAST_MS {
        return Err(Rejected::because("the event time lies in the future"));
    }
    Ok((
        event_ms,
        Order {
            user_id: fields.user_id,
            total_cents: fields.total_cents,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(value: &str) -> Result<(EventTimeMs, Order), Rejected> {
        let headers: Vec<(String, Vec<u8>)> = Vec::new();
        let (key, value) = (None, Some(value.as_bytes()));
        order(&Record {
            partition: 0,
            offset: 0,
            log_time_ms: 0,
            log_time_type: record_log::LogTimeType::Append,
            key,
            value,
            headers: &headers,
        })
    }

    const ORDER: &str = r#"{"event_id":"01980000-0000-7000-8000-000000000000","event_type":"order.created","order_id":7,"user_id":42,
        "total_cents":3998,"currency":"USD","items":[],"created_at":"2026-11-22T10:00:00.123Z"}"#;

    #[test]
    fn an_order_is_its_user_total_and_time() {
        assert_eq!(
            decode(ORDER),
            Ok((
                1_795_341_600_123,
                Order {
                    user_id: 42,
                    total_cents: 3998
                }
            ))
        );
    }

    #[test]
    fn what_is_no_order_is_rejected_with_the_reason() {
        let reason = |value: &str| decode(value).unwrap_err().0;
        assert!(reason("{").contains("EOF"), "{}", reason("{"));
        assert!(reason(&ORDER.replace("42", "-1")).contains("invalid value"));
        assert!(reason(&ORDER.replace("created\"", "cancelled\"")).contains("cancelled"));
        assert!(reason(&ORDER.replace("\"user_id\":42,", "")).contains("user_id"));
        assert!(reason(&ORDER.replace("2026-11-22T", "yesterday")).contains("RFC 3339"));
        assert!(reason(&ORDER.replace("2026-", "9999-")).contains("future"));
    }
}
