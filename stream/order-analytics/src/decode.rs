//! Decodes an order: its user, its total with the currency, and its time. The rest of the record is
//! checked and skipped.
//!
//! A value is an order if it is one JSON object (RFC 8259) in UTF-8, with each field of the wire contract at most once,
//! a `currency` of three capital letters and a `created_at` that RFC 3339 allows. A currency need not be on the list of
//! ISO 4217 that this program was built with: new ones come, and orders in them count. Names and strings may be escaped
//! in any way. Everything else is rejected with its reason.
//!
//! The topic also has the later events of an order (`order.paid`, `order.shipped`, …). A value that is an event of
//! another type `order.*` is left out: it is neither counted nor rejected, and its other fields are not read. A
//! type that is not in the contract is named in the log (`unknown`): a producer may have changed the type of orders.
//!
//! An id without meaning, an empty text or the nil UUID, is no id. Producers write these where they have none.
//!
//! Orders of the usual form are decoded by `quick`, all others by serde_json. serde_json does not
//! check skipped values completely, so this module does. They must be UTF-8, and arrays and objects must not be nested
//! more than `DEEPEST` deep, because other readers of the topic reject those. Escapes of lone surrogates are JSON, and
//! are accepted in skipped values.

mod quick;
mod unknown;

use std::borrow::Cow;
use std::fmt;

use events::{Amount, CountedOrder, ORDER_CREATED, Timestamp};
use record_log::Record;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::OrderTotals;
use stream::{EventId, EventTimeMs, Rejected};

/// The version of this decoder. Increase it whenever other records than before are orders, that is, whenever a test
/// below has to change. A start under another version decides anew about the records of open windows, so that none
/// vanishes.
pub const VERSION: u32 = 2;

/// The nil UUID of RFC 9562, which stands for no id.
const NIL: EventId = 0;

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
        Ok(Id(id_of(text)))
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

/// Returns the id, or none for a text that stands for no id.
fn id_of(text: &str) -> Option<EventId> {
    if text.trim().is_empty() {
        return None;
    }
    let hash = || {
        let hash = Sha256::digest(text);
        u128::from_le_bytes(*hash.first_chunk().expect("32 bytes are more than 16"))
    };
    let id = Uuid::try_parse(text).map_or_else(|_| hash(), |uuid| uuid.as_u128());
    (id != NIL).then_some(id)
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
    let event_type = read::<Kind<'_>>(value)?.event_type;
    if is_left_out(&event_type) {
        return Ok(None);
    }

    let fields: CountedOrder<'_, Id> = read(value)?;
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

/// Returns whether an event of this type is about an order, and not its creation. Names a type that is not in the
/// contract in the log.
fn is_left_out(event_type: &str) -> bool {
    let is_other = event_type.starts_with(OF_ORDERS) && event_type != ORDER_CREATED;
    if is_other {
        unknown::note(event_type);
    }
    is_other
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
mod tests;
