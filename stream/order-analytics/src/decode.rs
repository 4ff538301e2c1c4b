//! Decodes an order: its user, its total with the currency, and its time. The rest of the record is
//! checked and skipped.
//!
//! A value is an order if it is one JSON object (RFC 8259) in UTF-8, with each field of the wire contract at most once,
//! a `currency` of three capital letters and a `created_at` that RFC 3339 allows. A currency need not be on the list of
//! ISO 4217 that this program was built with: new ones come, and orders in them count. Names and strings may be escaped
//! in any way. Everything else is rejected with its reason.
//!
//! The topic also has the later events of an order (`order.paid`, `order.shipped`, …). A value that is an event of
//! another type `order.*` is left out: it is neither counted nor rejected, and its other fields are not read.
//!
//! Orders of the usual form are decoded by [`quick`], all others by serde_json. serde_json does not
//! check skipped values completely, so this module does: they must be UTF-8, and arrays and objects
//! must not be nested more than [`DEEPEST`] deep, because other readers of the topic reject those.
//! Escapes of lone surrogates are JSON, and are accepted in skipped values.

mod quick;

use std::borrow::Cow;
use std::fmt;

use events::{Amount, Currency, ORDER_CREATED, Timestamp};
use record_log::Record;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::OrderTotals;
use stream::{EventId, EventTimeMs, Rejected};

/// The version of this decoder: the next number whenever other records than before are orders, that is, whenever a test
/// below has to change. A start under another version decides anew about the records of open windows, so that none
/// vanishes.
pub const VERSION: u32 = 2;

/// The types of the events about an order begin with this.
const OF_ORDERS: &str = "order.";

/// The fields of an order that are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    /// The id of the event, if the record has one.
    pub event_id: Option<EventId>,
    /// The user who ordered.
    pub user_id: u64,
    /// The total of the order.
    pub total: Amount,
}

impl Order {
    /// Returns the key and the value that are counted.
    pub fn counted(self) -> (u64, OrderTotals) {
        (self.user_id, OrderTotals::of(self.total))
    }
}

/// The fields of [`events::OrderCreated`]. Fields that are not counted are listed so that a
/// duplicate of one is rejected.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    user_id: u64,
    total_cents: u64,
    currency: Currency,
    created_at: Timestamp,
    #[serde(default)]
    event_id: Id,
    #[serde(default, rename = "order_id")]
    _order_id: IgnoredAny,
    #[serde(default, rename = "items")]
    _items: IgnoredAny,
}

/// The field that all events have.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
}

/// The id of an event. A text that is no UUID is represented by its hash; a value that is no text
/// gives no id.
#[derive(Default)]
struct Id(Option<EventId>);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor)
    }
}

struct IdVisitor;

impl<'de> Visitor<'de> for IdVisitor {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event id")
    }

    fn visit_str<E>(self, text: &str) -> Result<Id, E> {
        Ok(Id(Some(id_of(text))))
    }

    fn visit_unit<E>(self) -> Result<Id, E> {
        Ok(Id(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Id, E> {
        Ok(Id(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Id, E> {
        Ok(Id(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Id, E> {
        Ok(Id(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Id, E> {
        Ok(Id(None))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut values: S) -> Result<Id, S::Error> {
        while values.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Id(None))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut values: M) -> Result<Id, M::Error> {
        while values.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Id(None))
    }
}

fn id_of(text: &str) -> EventId {
    let hash = || {
        let hash = Sha256::digest(text);
        u128::from_le_bytes(*hash.first_chunk().expect("32 bytes are more than 16"))
    };
    Uuid::try_parse(text).map_or_else(|_| hash(), |uuid| uuid.as_u128())
}

/// The latest event time whose windows can still be written: a year before timestamps end.
const LAST_MS: u64 = 253_370_764_800_000;

/// The deepest nesting of arrays and objects that is accepted: the limit of serde_json for values
/// that it keeps.
const DEEPEST: usize = 128;

/// Decodes a record of the topic `orders`. Returns none for an event about an order that is not its
/// creation.
///
/// # Errors
/// [`Rejected`], with a reason that a person can read.
pub fn order(record: &Record<'_>) -> Result<Option<(EventTimeMs, Order)>, Rejected> {
    let value = record
        .value
        .ok_or_else(|| Rejected::because("the record has no value"))?;
    let decoded = match quick::decode(value) {
        Some(decoded) => decoded,
        None => by_serde(value)?,
    };
    let Some((created_at, order)) = decoded else {
        return Ok(None);
    };

    let event_ms = created_at.as_ms();
    if event_ms > LAST_MS {
        return Err(Rejected::because("the event time lies in the future"));
    }

    Ok(Some((event_ms, order)))
}

/// Decodes an event about an order, of any form, or returns the reason for its rejection. Returns
/// none for an event that is not an order's creation.
fn by_serde(value: &[u8]) -> Result<Option<(Timestamp, Order)>, Rejected> {
    if is_later_event(&read::<Kind<'_>>(value)?.event_type) {
        return Ok(None);
    }

    let fields: Fields<'_> = read(value)?;
    if fields.event_type != ORDER_CREATED {
        return Err(Rejected::because(format_args!(
            "the event is no {ORDER_CREATED:?} but {:?}",
            fields.event_type
        )));
    }

    let order = Order {
        event_id: fields.event_id.0,
        user_id: fields.user_id,
        total: Amount {
            currency: fields.currency,
            minor_units: fields.total_cents,
        },
    };
    Ok(Some((fields.created_at, order)))
}

/// Returns whether an event of this type is about an order, and not its creation.
fn is_later_event(event_type: &str) -> bool {
    event_type.starts_with(OF_ORDERS) && event_type != ORDER_CREATED
}

/// Reads the fields of a value that is valid JSON throughout.
fn read<'a, F: Deserialize<'a>>(value: &'a [u8]) -> Result<F, Rejected> {
    let text = match simdutf8::basic::from_utf8(value) {
        Ok(text) => text,
        Err(_) => std::str::from_utf8(value).map_err(Rejected::because)?,
    };

    // serde also accepts an array of the fields' values.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Rejected::because("the value is no JSON object"));
    }

    let fields = serde_json::from_str(text).map_err(Rejected::because)?;

    // A deeper value has an opening and a closing bracket for each level.
    if value.len() > 2 * DEEPEST && depth(value) > DEEPEST {
        return Err(Rejected::because(format_args!(
            "more than {DEEPEST} arrays and objects are within each other"
        )));
    }

    Ok(fields)
}

/// Returns the depth to which arrays and objects of valid JSON are nested.
fn depth(json: &[u8]) -> usize {
    // The pieces are short enough that a byte holds the count, so the compiler counts many bytes at
    // a time. `[` and `{` differ in one bit.
    let openings = |piece: &[u8]| {
        piece
            .iter()
            .map(|byte| u8::from(byte | 0x20 == b'{'))
            .sum::<u8>()
    };

    let openings: usize = json
        .chunks(128)
        .map(|piece| usize::from(openings(piece)))
        .sum();

    if openings <= DEEPEST {
        return openings;
    }

    let mut depth = 0_usize;
    let mut deepest = 0;
    let mut bytes = json.iter();

    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => pass_string(&mut bytes),
            _ => {}
        }
        deepest = deepest.max(depth);
    }

    deepest
}

/// Skips a string of valid JSON, up to its closing quote.
fn pass_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(value: impl AsRef<[u8]>) -> Result<(EventTimeMs, Order), Rejected> {
        let headers: Vec<(String, Vec<u8>)> = Vec::new();
        let key = None;
        let value = Some(value.as_ref());

        let decoded = order(&Record {
            partition: 0,
            offset: 0,
            log_time_ms: 0,
            log_time_type: record_log::LogTimeType::Append,
            key,
            value,
            headers: &headers,
        })?;
        decoded.ok_or_else(|| Rejected::because("LEFT OUT"))
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
                    event_id: Some(0x0198_0000_0000_7000_8000_0000_0000_0000),
                    user_id: 42,
                    total: Amount {
                        currency: "USD".parse().unwrap(),
                        minor_units: 3998,
                    },
                }
            ))
        );
    }

    /// Returns the order with one more field.
    fn with(field: &str) -> String {
        ORDER.replacen('{', &format!("{{{field},"), 1)
    }

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn every_way_to_write_an_order_in_json_is_read() {
        let written = [
            ORDER.to_owned(),
            format!(" \t\r\n{ORDER}\n "),
            ORDER.replace("order.created", r"order\u002ecreated"),
            ORDER.replace("order.created", r"\u006F\u0072der.created"),
            ORDER.replace("\"event_type\"", r#""event\u005ftype""#),
            ORDER.replace("\"user_id\"", r#""\u0075ser_id""#),
            ORDER.replace("10:00:00.123Z", r"10:00:00.123\u005a"),
            ORDER.replace("10:00:00.123Z", "10:00:00.123456789012Z"),
            ORDER.replace("T10:00:00.123Z", "t12:00:00.123+02:00"),
            ORDER.replace("\"items\":[],", ""),
            ORDER.replace("USD", r"\u0055S\u0044"),
            with(r#""channel":{"app":[1,null,1e999,-0.0]}"#),
            with(r#""note":"\ud83d\ude00 \\ud83d \" \u0000""#),
            with(r#""note":"[[[[""#),
            with(r#""note":"\ud83d""#),
            with(r#""note":["\ude00\ud83d\n"]"#),
            with(r#""note":1,"note":2"#),
            with(&format!(r#""deep":{}"#, nested(DEEPEST - 1))),
            with(&format!(r#""wide":[{}1]"#, "[],".repeat(DEEPEST))),
            with(&format!(
                r#""text":"{}\"{}""#,
                nested(DEEPEST),
                "[".repeat(DEEPEST)
            )),
        ];

        let expected = decode(ORDER);
        for order in written {
            assert_eq!(decode(&order), expected, "{order}");
        }
    }

    #[test]
    fn a_currency_that_iso_4217_does_not_have_yet_is_counted() {
        let order = decode(ORDER.replace("USD", "QQQ")).unwrap().1;
        assert_eq!(order.total.currency.as_str(), "QQQ");
    }

    #[test]
    fn an_event_is_known_by_its_id_however_that_is_written() {
        let id = |event_id: &str| {
            let text = "\"01980000-0000-7000-8000-000000000000\"";
            decode(ORDER.replace(text, event_id)).unwrap().1.event_id
        };
        let uuid = id(r#""01980000-0000-7000-8000-000000000001""#);
        assert_ne!(id(r#""0198000000007000800000000000 0001""#), uuid);
        assert_eq!(id(r#""01980000000070008000000000000001""#), uuid);
        assert_eq!(id(r#""\u00301980000-0000-7000-8000-000000000001""#), uuid);
        assert_ne!(id(r#""01980000-0000-7000-8000-000000000002""#), uuid);
        assert_eq!(id("\"a\""), id("\"a\""));
        assert_ne!(id("\"a\""), id("\"b\""));

        for nothing in [
            "null",
            "7",
            "-7",
            "7.5",
            "true",
            "[1,[2]]",
            r#"{"a":{"b":1}}"#,
        ] {
            assert_eq!(id(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_json_rfc_3339_or_the_contract_forbid_is_rejected() {
        let rejected = [
            "".to_owned(),
            " ".to_owned(),
            "null".to_owned(),
            r#"["order.created",42,3998,"2026-11-22T10:00:00Z"]"#.to_owned(),
            format!("[{ORDER}]"),
            format!("\u{feff}{ORDER}"),
            format!("{ORDER}\0"),
            format!("{ORDER}{ORDER}"),
            format!("{ORDER},"),
            format!("\0\0\0\0\u{1}{ORDER}"),
            ORDER.replace("3998", "NaN"),
            ORDER.replace("3998", "-Infinity"),
            ORDER.replace("3998", "03998"),
            ORDER.replace("3998", "18446744073709551616"),
            ORDER.replace("3998", "3998.0"),
            ORDER.replace("42", "\"42\""),
            ORDER.replace("42", "null"),
            ORDER.replace("USD", "usd"),
            ORDER.replace("USD", ""),
            ORDER.replace("USD", "USDT"),
            ORDER.replace("USD", "US "),
            ORDER.replace("USD", "€"),
            ORDER.replace("\"USD\"", "null"),
            ORDER.replace("\"USD\"", "840"),
            ORDER.replace("\"USD\"", "[\"USD\"]"),
            ORDER.replace("\"currency\":\"USD\",", ""),
            with("\"currency\":\"USD\""),
            ORDER.replace("2026-11-22T10:00:00.123Z", "1969-12-31T23:59:59.9999Z"),
            ORDER.replace("2026-11-22T10:00:00.123Z", "2026-11-22T10:00:00.123"),
            ORDER.replace("order.created", r"order\u002xcreated"),
            ORDER.replace("order.created", r"order.created\ud83d"),
            with("\"user_id\":42"),
            with(r#""\u0075ser_id":42"#),
            with("\"items\":[]"),
            with("\"event_id\":null"),
            with("\"note\":\"\t\""),
            with("\"note\":'single'"),
            with("\"note\":NaN"),
            with("/* note */\"note\":1"),
            with(r#""n\ud83d":1"#),
            with(&format!(r#""deep":{}"#, nested(DEEPEST))),
            with(&format!(r#""text":"]]]]","deep":{}"#, nested(10_000))),
        ];

        for order in rejected {
            let reason = decode(&order).unwrap_err().0;
            assert_ne!(reason, "LEFT OUT", "{order}");
        }
    }

    #[test]
    fn a_byte_that_is_no_utf_8_is_rejected_wherever_it_is() {
        for bytes in [
            &b"\xe9"[..],
            b"\xff",
            b"\xed\xa0\x80",
            b"\xc0\xaf",
            b"\xf4\x90\x80\x80",
        ] {
            for place in 0..=ORDER.len() {
                let mut value = ORDER.as_bytes().to_vec();
                value.splice(place..place, bytes.iter().copied());
                assert!(decode(&value).is_err(), "{bytes:?} at {place}");
            }
        }
    }

    #[test]
    fn what_is_no_order_is_rejected_with_the_reason() {
        let reason = |value: &str| decode(value).unwrap_err().0;
        assert!(reason("{").contains("EOF"), "{}", reason("{"));
        assert!(reason(&ORDER.replace("42", "-1")).contains("invalid value"));
        assert!(reason(&ORDER.replace("order.created", "user.created")).contains("user.created"));
        assert!(reason(&ORDER.replace("\"user_id\":42,", "")).contains("user_id"));
        assert!(reason(&ORDER.replace("USD", "usd")).contains("capital letters"));
        assert!(reason(&ORDER.replace("USD", "usd")).contains("\"usd\""));
        assert!(reason(&ORDER.replace("\"currency\":\"USD\",", "")).contains("currency"));
        assert!(reason(&ORDER.replace("2026-11-22T", "yesterday")).contains("RFC 3339"));
        assert!(reason(&ORDER.replace("2026-", "9999-")).contains("future"));
    }

    #[test]
    fn what_happened_to_an_order_later_is_left_out_and_not_rejected() {
        let mut later: Vec<String> = events::ORDER_CHANGES
            .iter()
            .map(|change| ORDER.replace("order.created", change))
            .collect();
        later.extend([
            r#"{"event_type":"order.admired"}"#.to_owned(),
            r#" { "event_type" : "order\u002epaid" , "created_at": 7, "user_id": "x" } "#
                .to_owned(),
            include_str!("../../../services/events/tests/golden/order-paid.json").to_owned(),
            include_str!("../../../services/events/tests/golden/order-expired.json").to_owned(),
        ]);

        for event in later {
            assert_eq!(decode(&event).unwrap_err().0, "LEFT OUT", "{event}");
        }
    }

    #[test]
    fn a_later_event_that_is_no_json_is_rejected() {
        let paid = ORDER.replace("order.created", "order.paid");
        for broken in [
            format!("{paid}{paid}"),
            format!("[{paid}]"),
            paid.replace("order.paid", "order.paid\",\"event_type\":\"order.paid"),
            paid.replace("3998", "NaN"),
            paid[..paid.len() - 1].to_owned(),
            paid.replace("[]", &nested(DEEPEST)),
            paid.replace("order.paid", "order"),
            paid.replace("order.paid", "Order.paid"),
        ] {
            assert_ne!(decode(&broken).unwrap_err().0, "LEFT OUT", "{broken}");
        }
    }
}
