//! Decodes orders of the usual form, and declines all others.
//!
//! ```text
//! record ──▶ known layout ──▶ plain JSON ──▶ serde_json
//!            (orders service)  (any producer)  (escapes, exponents, and everything that is wrong)
//! ```
//!
//! Invariants: for an order that is decoded here, `serde_json` has the same result. A test compares the two on mutated
//! records.

mod minute;

use events::{Amount, Currency, Timestamp};
use stream::json::{Fields, KnownText};
use uuid::Uuid;

use super::{NIL, Order, id_of, is_left_out};
use minute::time;
use stream::EventId;

/// The fields of an order; those that are counted come first. The others are listed so that a
/// duplicate of one is declined.
const FIELDS: Fields<8> = Fields::new([
    "event_type",
    "user_id",
    "total_cents",
    "currency",
    "created_at",
    "event_id",
    "order_id",
    "items",
]);

/// Returns the time and the order of a value of the usual form; an inner none for another event about an order; none
/// for a value of any other form.
#[inline]
pub fn decode(value: &[u8]) -> Option<Option<(Timestamp, Order)>> {
    match as_published(value) {
        Some(order) => Some(Some(order)),
        None => as_plain_json(value),
    }
}

/// The length of a UUID with hyphens.
const UUID_BYTES: usize = 36;

/// Decodes the form that the orders service publishes: the fields of [`events::OrderCreated`] in their order, without
/// spaces.
#[inline]
fn as_published(value: &[u8]) -> Option<(Timestamp, Order)> {
    let mut text = KnownText::new(value);
    let event_id = event_id(&mut text)?;
    text.literal(br#","event_type":"order.created","order_id":"#)?;
    text.skip_whole()?;
    text.literal(br#","user_id":"#)?;
    let user_id = text.whole()?;
    text.literal(br#","total_cents":"#)?;
    let minor_units = text.whole()?;
    text.literal(br#","currency":""#)?;
    let currency = Currency::of_code(text.bytes::<3>()?)?;
    text.literal(br#"","items":["#)?;
    items(&mut text)?;
    text.literal(br#"],"created_at":""#)?;
    let created_at = last_time(text)?;

    let order = Order {
        event_id: Some(event_id),
        user_id,
        total: Amount {
            currency,
            minor_units,
        },
    };
    Some((created_at, order))
}

/// Reads the event's id, with its closing quote. A UUID is hexadecimal digits and hyphens, so it is not checked as a
/// string before.
#[inline]
fn event_id(text: &mut KnownText<'_>) -> Option<EventId> {
    text.literal(br#"{"event_id":""#)?;
    let mut behind = *text;
    if let Some(usual) = behind.bytes::<UUID_BYTES>()
        && let Ok(uuid) = Uuid::try_parse_ascii(usual)
        && behind.literal(b"\"").is_some()
    {
        *text = behind;
        return id_of_uuid(uuid);
    }

    id(text.string()?)
}

/// Reads the time at the end of an order, and the end.
#[inline]
fn last_time(mut text: KnownText<'_>) -> Option<Timestamp> {
    // A text of this length that is a time holds no quote.
    const USUAL_BYTES: usize = "2026-11-22T10:00:00.123Z".len();

    let mut behind = text;
    if let Some(usual) = behind.bytes::<USUAL_BYTES>()
        && behind.literal(br#""}"#).is_some()
        && behind.is_empty()
    {
        return time(usual);
    }

    let created_at = time(text.string()?)?;
    text.literal(b"}")?;
    text.is_empty().then_some(created_at)
}

/// Reads one or more items, separated by commas.
#[inline]
fn items(text: &mut KnownText<'_>) -> Option<()> {
    loop {
        text.literal(br#"{"product_id":""#)?;
        product_id(text)?;
        text.literal(br#","quantity":"#)?;
        text.skip_whole()?;
        text.literal(br#","unit_price_cents":"#)?;
        text.skip_whole()?;
        if text.literal(b"}").is_none() {
            text.literal(br#","name":""#)?;
            text.string()?;
            text.literal(b"}")?;
        }
        if text.literal(b",").is_none() {
            return Some(());
        }
    }
}

/// Reads a product's id, which is mostly a UUID, and its closing quote.
#[inline]
fn product_id(text: &mut KnownText<'_>) -> Option<()> {
    let mut behind = *text;
    if let Some(usual) = behind.bytes::<UUID_BYTES>()
        && KnownText::is_plain(usual)
        && behind.literal(b"\"").is_some()
    {
        *text = behind;
        return Some(());
    }

    text.string().map(|_| ())
}

/// Decodes an event whose fields are in any order, with spaces and further fields, but without escapes.
fn as_plain_json(value: &[u8]) -> Option<Option<(Timestamp, Order)>> {
    let [
        event_type,
        user_id,
        total_cents,
        currency,
        created_at,
        event_id,
        ..,
    ] = FIELDS.scan(value)?;
    let event_type = event_type?.as_string()?;
    if event_type != events::ORDER_CREATED.as_bytes() {
        let is_left_out = is_left_out(std::str::from_utf8(event_type).ok()?);
        return is_left_out.then_some(None);
    }

    let created_at = time(created_at?.as_string()?)?;
    let event_id = match event_id {
        Some(text) => Some(id(text.as_string()?)?),
        None => None,
    };

    let order = Order {
        event_id,
        user_id: user_id?.as_u64()?,
        total: Amount {
            currency: Currency::of_code(currency?.as_string()?)?,
            minor_units: total_cents?.as_u64()?,
        },
    };
    Some(Some((created_at, order)))
}

/// Returns the id of an event, or none for a text that stands for no id, which is left to serde. A UUID is ASCII, so its
/// text is not checked for UTF-8 before.
#[inline]
fn id(text: &[u8]) -> Option<EventId> {
    match Uuid::try_parse_ascii(text) {
        Ok(uuid) => id_of_uuid(uuid),
        Err(_) => id_of(std::str::from_utf8(text).ok()?),
    }
}

#[inline]
fn id_of_uuid(uuid: Uuid) -> Option<EventId> {
    Some(uuid.as_u128()).filter(|id| *id != NIL)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{RngExt, SeedableRng};

    use super::super::by_serde;
    use super::*;

    const PUBLISHED: &str = r#"{"event_id":"01980000-0000-7000-8000-000000000000","event_type":"order.created","order_id":7,"user_id":42,"total_cents":3998,"currency":"USD","items":[{"product_id":"01980000-0000-7000-8000-000000000001","quantity":2,"unit_price_cents":1999},{"product_id":"x","quantity":1,"unit_price_cents":0,"name":"Lamp"}],"created_at":"2026-11-22T10:00:00.123Z"}"#;

    const PLAIN: &str = r#" { "created_at": "2026-11-22T12:00:00+02:00", "user_id": 42, "note": {"a": [true, null, 1.5, "café"]}, "event_type": "order.created", "currency": "JPY", "total_cents": 3998 } "#;

    const PAID: &str = r#"{"event_id":"01980000-0000-7000-8000-000000000001","event_type":"order.paid","version":1,"order_id":7,"user_id":42,"total_cents":3998,"currency":"USD","changed_at":"2026-11-22T10:00:00.123Z"}"#;

    /// Pieces of JSON that a mutation inserts.
    const PIECES: [&[u8]; 39] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\",
        b"\\n",
        b"\\u0041",
        b"\\ud800",
        b"0",
        b"00",
        b"-",
        b"-0",
        b".",
        b"1.0",
        b"e9",
        b"1e5",
        b"99999999999999999999",
        b"18446744073709551615",
        b" ",
        b"\n",
        b"\t",
        b"\0",
        b"\x1f",
        b"\x7f",
        b"\xff",
        b"\xc3\xa9",
        b"true",
        b"nul",
        b"\"user_id\":1,",
        b"\"items\":[],",
        b"order.created",
        b"USD",
        b"usd",
        b"EURO",
        b"\"KWD\"",
        b"\"currency\":\"USD\",",
    ];

    /// Changes a record in one to four places: bytes are deleted, replaced, doubled or inserted.
    fn mutate(record: &[u8], rng: &mut StdRng) -> Vec<u8> {
        let mut record = record.to_vec();
        for _ in 0..rng.random_range(1..=4) {
            let from = rng.random_range(0..=record.len());
            let to = (from + rng.random_range(0..12)).min(record.len());
            let piece = PIECES.choose(rng).unwrap();

            match rng.random_range(0..5) {
                0 => drop(record.drain(from..to)),
                1 => drop(record.splice(from..to, piece.iter().copied())),
                2 => drop(record.splice(from..from, piece.iter().copied())),
                3 => record.extend_from_within(from..to),
                _ if from < record.len() => record[from] = rng.random(),
                _ => record.push(rng.random()),
            }
        }

        record
    }

    #[test]
    fn what_our_service_publishes_has_the_known_layout() {
        let goldens = [
            include_str!("../../../../services/events/tests/golden/order-created.json"),
            include_str!(
                "../../../../services/events/tests/golden/order-created-before-names.json"
            ),
        ];
        for golden in goldens {
            let event: events::OrderCreated = serde_json::from_str(golden).unwrap();
            let published = serde_json::to_vec(&event).unwrap();

            let expected = Order {
                event_id: Some(event.event_id.as_u128()),
                user_id: event.user_id,
                total: Amount {
                    currency: event.currency.parse().unwrap(),
                    minor_units: event.total_cents,
                },
            };
            assert_eq!(as_published(&published), Some((event.created_at, expected)));
        }
    }

    #[test]
    fn both_ways_decode_the_records_that_they_are_for() {
        assert!(as_published(PUBLISHED.as_bytes()).is_some());
        assert!(as_published(PLAIN.as_bytes()).is_none());
        assert_eq!(
            decode(PUBLISHED.as_bytes()),
            as_plain_json(PUBLISHED.as_bytes())
        );
        assert!(as_plain_json(PLAIN.as_bytes()).unwrap().is_some());
        assert_eq!(decode(PAID.as_bytes()), Some(None));
    }

    /// `TIDEMARK_TEST_MUTATIONS` sets a higher number of mutations, `TIDEMARK_TEST_SEED` their
    /// seed.
    #[test]
    fn what_is_decoded_here_serde_json_decodes_to_the_same() {
        let setting = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let mutations: usize = setting("TIDEMARK_TEST_MUTATIONS").unwrap_or(100_000);
        let mut rng = StdRng::seed_from_u64(setting("TIDEMARK_TEST_SEED").unwrap_or(1) as u64);

        let mut decoded = [0, 0];
        let mut left_out = 0;
        for _ in 0..mutations {
            let record = [PUBLISHED, PLAIN, PAID].choose(&mut rng).unwrap();
            let record = mutate(record.as_bytes(), &mut rng);
            let shown = String::from_utf8_lossy(&record);

            for (way, found) in [as_published(&record).map(Some), as_plain_json(&record)]
                .into_iter()
                .enumerate()
            {
                let Some(found) = found else { continue };
                decoded[way] += 1;
                left_out += usize::from(found.is_none());
                assert_eq!(by_serde(&record), Ok(found), "{shown}");
            }
        }

        assert!(
            decoded.iter().all(|count| *count > mutations / 200),
            "{decoded:?}"
        );
        assert!(left_out > mutations / 200, "{left_out}");
    }
}
