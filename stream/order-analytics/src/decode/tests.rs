//! Tests of decoding orders.

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
        "\"\"",
        "\" \"",
        "\"00000000-0000-0000-0000-000000000000\"",
        "\"00000000000000000000000000000000\"",
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
        r#" { "event_type" : "order\u002epaid" , "created_at": 7, "user_id": "x" } "#.to_owned(),
        include_str!("../../../../services/events/tests/golden/order-paid.json").to_owned(),
        include_str!("../../../../services/events/tests/golden/order-expired.json").to_owned(),
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
