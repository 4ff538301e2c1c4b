//! Tests of the selection of the orders behind a count, and of the decision about each.

use record_log::LogTimeType;
use serde_json::json;

use super::*;

/// 2026-11-22T10:00:00Z: the window of the tests is the minute that begins here.
const START_MS: u64 = 1_795_341_600_000;

type Headers = Vec<(String, Vec<u8>)>;

fn instant(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms).unwrap()
}

/// Returns findings of the orders of user 7.
fn findings(most: usize) -> Findings {
    let selection = Selection {
        user_id: 7,
        from: instant(START_MS),
        to: instant(START_MS + 60_000),
    };
    Findings::new(selection, most)
}

fn record<'a>(
    partition: u32,
    offset: Offset,
    value: Option<&'a [u8]>,
    headers: &'a Headers,
) -> Record<'a> {
    Record {
        partition,
        offset,
        log_time_ms: START_MS,
        log_time_type: LogTimeType::Append,
        key: Some(b"7"),
        value,
        headers,
    }
}

/// Returns an order of user 7 over 100 minor units, at this number of milliseconds after the start of the window.
fn order(id: &str, after_ms: i64) -> Value {
    json!({
        "event_id": id,
        "event_type": "order.created",
        "order_id": 1,
        "user_id": 7,
        "total_cents": 100,
        "currency": "USD",
        "created_at": instant(START_MS.checked_add_signed(after_ms).unwrap()),
    })
}

/// Notes the orders as the first records of a partition.
fn note(findings: &mut Findings, partition: u32, orders: &[Value]) {
    for (offset, order) in (0..).zip(orders) {
        let value = order.to_string();
        let headers = Vec::new();
        let record = record(partition, offset, Some(value.as_bytes()), &headers);
        assert!(findings.note_order(&record));
    }
}

fn headers(of: &[(&str, &str)]) -> Headers {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
    of.iter().map(owned).collect()
}

/// Returns (partition, offset, decision) of each order.
fn decisions(findings: Findings) -> Vec<(u32, Offset, Decision)> {
    let orders = findings.explained().into_iter();
    let essence = |order: ExplainedOrder| (order.partition, order.offset, order.decision);
    orders.map(essence).collect()
}

#[test]
fn a_window_has_its_first_instant_and_not_its_end() {
    for (after_ms, is_in) in [(-1, false), (0, true), (59_999, true), (60_000, false)] {
        let mut findings = findings(9);
        note(&mut findings, 0, &[order("a", after_ms)]);
        assert_eq!(findings.explained().len(), usize::from(is_in), "{after_ms}");
    }
}

#[test]
fn records_that_are_no_order_of_the_user_are_passed_over() {
    let other = |field: &str, value: Value| {
        let mut order = order("a", 0);
        order[field] = value;
        order.to_string()
    };
    let values = [
        None,
        Some(String::new()),
        Some("null".to_owned()),
        Some(other("user_id", json!(8))),
        Some(other("user_id", json!("7"))),
        Some(other("event_type", json!("order.paid"))),
        Some(other("total_cents", json!(-1))),
        Some(other("currency", json!("usd"))),
    ];

    let mut findings = findings(9);
    for (offset, value) in (0..).zip(&values) {
        let value = value.as_deref().map(str::as_bytes);
        assert!(findings.note_order(&record(0, offset, value, &Vec::new())));
    }
    assert_eq!(decisions(findings), []);
}

#[test]
fn any_value_may_stand_for_the_number_of_an_order() {
    for number in ["1e999", "-1", "null", "\"\\ud800\"", "[[1]]", "{}"] {
        let value = order("a", 0).to_string();
        let value = value.replace("\"order_id\":1", &format!("\"order_id\":{number}"));
        let mut findings = findings(9);
        findings.note_order(&record(0, 0, Some(value.as_bytes()), &Vec::new()));

        let orders = findings.explained();
        assert_eq!(orders.len(), 1, "{number}");
        assert_eq!(orders[0].order_id, None, "{number}");
    }
}

#[test]
fn a_copy_has_the_id_of_a_counted_order_of_its_partition() {
    let id = "0199c82c-c000-7000-8000-00000000000b";
    let upper = id.to_uppercase();
    let mut findings = findings(11);
    note(
        &mut findings,
        1,
        &[order(id, 0), order(&upper, 1), order("no uuid", 2)],
    );
    note(&mut findings, 0, &[order(id, 0), order("No uuid", 2)]);

    let mut without = order("", 3);
    without["event_id"] = Value::Null;
    let nil = order("00000000-0000-0000-0000-000000000000", 4);
    let empty = order(" ", 5);
    note(
        &mut findings,
        2,
        &[
            without.clone(),
            without,
            nil.clone(),
            nil,
            empty.clone(),
            empty,
        ],
    );

    assert_eq!(
        decisions(findings),
        [
            (0, 0, Decision::Counted),
            (0, 1, Decision::Counted),
            (1, 0, Decision::Counted),
            (1, 1, Decision::Copy),
            (1, 2, Decision::Counted),
            (2, 0, Decision::Counted),
            (2, 1, Decision::Counted),
            (2, 2, Decision::Counted),
            (2, 3, Decision::Counted),
            (2, 4, Decision::Counted),
            (2, 5, Decision::Counted),
        ]
    );
}

#[test]
fn an_order_that_was_left_out_makes_no_copy_of_the_next() {
    let mut findings = findings(9);
    let orders = ["a", "a", "a", "a"].map(|id| order(id, 0));
    note(&mut findings, 0, &orders);
    for (offset, note) in [
        ("0", Findings::note_late as fn(&mut Findings, &Record<'_>)),
        ("1", Findings::note_rejected),
    ] {
        let headers = headers(&[("source_partition", "0"), ("source_offset", offset)]);
        let value = order("a", 0).to_string();
        note(
            &mut findings,
            &record(5, 77, Some(value.as_bytes()), &headers),
        );
    }

    assert_eq!(
        decisions(findings),
        [
            (0, 0, Decision::Late),
            (0, 1, Decision::Rejected),
            (0, 2, Decision::Counted),
            (0, 3, Decision::Copy),
        ]
    );
}

/// If a record is too large for its side topic, the topic has only a part of its value, or no value.
#[test]
fn a_side_output_counts_although_its_value_is_cut() {
    for value in [None, Some(&b"{\"event_id\":\"a"[..])] {
        let mut findings = findings(9);
        note(&mut findings, 0, &[order("a", 0), order("b", 0)]);
        let sum = |id| {
            let digest = Sha256::digest(order(id, 0).to_string());
            hexadecimal(&digest.into())
        };
        let late = headers(&[
            ("value_sha256", &sum("a")),
            ("source_partition", "0"),
            ("source_offset", "0"),
        ]);
        findings.note_late(&record(0, 0, value, &late));
        let rejected = headers(&[
            ("value_sha256", "a producer's own"),
            ("value_sha256", &sum("b")),
            ("source_partition", "0"),
            ("source_offset", "1"),
            ("reason", "the event time lies in the future"),
        ]);
        findings.note_rejected(&record(0, 0, value, &rejected));

        let orders = findings.explained();
        let found: Vec<_> = orders.iter().map(|order| order.decision).collect();
        assert_eq!(found, [Decision::Late, Decision::Rejected]);
        let reason = orders[1].reason.as_deref();
        assert_eq!(reason, Some("the event time lies in the future"));
        assert_eq!(orders[0].reason, None);
    }
}

#[test]
fn the_last_headers_of_a_side_output_name_its_origin() {
    let own = [("source_partition", "0"), ("source_offset", "0")];
    let forged = [("source_partition", "0"), ("source_offset", "9")];
    let elsewhere = [("source_topic", "returns"), ("value_sha256", "0")];
    for (parts, is_late) in [
        (vec![&own[..]], true),
        (vec![&forged, &own], true),
        (vec![&own, &forged], false),
        // The job reads one topic and writes no `source_topic`: this one is the producer's.
        (vec![&elsewhere, &own], true),
        (vec![&own, &elsewhere], true),
        (vec![&own[..1]], false),
        (vec![&own[1..]], false),
        (vec![&own, &[("source_offset", "none")]], false),
        (vec![&own, &[("source_partition", "-1")]], false),
        (vec![], false),
    ] {
        let mut findings = findings(9);
        note(&mut findings, 0, &[order("a", 0)]);
        let headers = headers(&parts.concat());
        let value = order("a", 0).to_string();
        findings.note_late(&record(0, 0, Some(value.as_bytes()), &headers));

        let is_found = decisions(findings) == [(0, 0, Decision::Late)];
        assert_eq!(is_found, is_late, "{parts:?}");
    }
}

/// Side topics may have records of several topics, whose places are the same.
#[test]
fn a_side_output_of_another_value_is_of_another_record() {
    let own = order("a", 0).to_string();
    let other = order("b", 0).to_string();
    let digest = |value: &str| hexadecimal(&Sha256::digest(value).into());
    for (value, sum, is_late) in [
        (Some(&*own), None, true),
        (Some(&*own), Some(digest(&other)), true),
        (Some(&*other), None, false),
        (Some(&other[..20]), Some(digest(&other)), false),
        (Some(&own[..20]), Some(digest(&own)), true),
        (Some(&own[..20]), None, false),
        (None, Some(digest(&own)), true),
        (None, None, false),
    ] {
        let mut findings = findings(9);
        note(&mut findings, 0, &[order("a", 0)]);
        let sum = sum.unwrap_or_default();
        let headers = headers(&[
            ("value_sha256", &sum),
            ("source_partition", "0"),
            ("source_offset", "0"),
        ]);
        findings.note_late(&record(0, 0, value.map(str::as_bytes), &headers));
        let is_found = decisions(findings) == [(0, 0, Decision::Late)];
        assert_eq!(is_found, is_late, "{value:?} {sum}");
    }
}

#[test]
fn one_order_more_than_there_is_room_for_is_refused() {
    let mut findings = findings(2);
    note(&mut findings, 0, &[order("a", 0), order("b", 0)]);
    let value = order("c", 0).to_string();
    let headers = Vec::new();
    let third = record(0, 2, Some(value.as_bytes()), &headers);
    assert!(!findings.note_order(&third));

    let value = order("c", -1).to_string();
    let of_another_window = record(0, 3, Some(value.as_bytes()), &headers);
    assert!(findings.note_order(&of_another_window));
    assert_eq!(findings.explained().len(), 2);
}

#[test]
fn long_event_ids_take_the_room_of_orders() {
    let long = "x".repeat(MOST_ID_BYTES / 4);
    let orders = [0, 1, 2, 3].map(|after_ms| order(&long, after_ms));
    let mut findings = findings(9);
    note(&mut findings, 0, &orders);

    let value = order("x", 4).to_string();
    let headers = Vec::new();
    let fifth = record(0, 4, Some(value.as_bytes()), &headers);
    assert!(!findings.note_order(&fifth));
    assert_eq!(findings.explained().len(), 4);
}

#[test]
fn there_is_room_for_as_many_orders_as_asked_if_each_has_a_uuid() {
    let most = 10_000;
    let orders = (0..most).map(|id| order(&Uuid::from_u128(id).to_string(), 0));
    let orders: Vec<_> = orders.collect();
    let mut findings = findings(orders.len());
    note(&mut findings, 0, &orders);
    assert_eq!(findings.explained().len(), orders.len());
}

#[test]
fn counts_agree_if_number_and_each_currency_are_equal() {
    let mut euros = order("b", 0);
    euros["currency"] = json!("EUR");
    let mut findings = findings(9);
    note(&mut findings, 0, &[order("a", 0), euros, order("a", 0)]);
    let counted = Counted::of(&findings.explained());

    let published = |order_count: u64, of: &[(&str, u64)]| WindowCount {
        user_id: 7,
        window_start: instant(START_MS),
        window_end: instant(START_MS + 60_000),
        order_count,
        amounts: of
            .iter()
            .map(|(code, minor_units)| Amount {
                currency: code.parse().unwrap(),
                minor_units: *minor_units,
            })
            .collect(),
        revision: 0,
    };
    assert!(counted.agrees_with(&published(2, &[("EUR", 100), ("USD", 100)])));
    for other in [
        published(3, &[("EUR", 100), ("USD", 100)]),
        published(2, &[("USD", 200)]),
        published(2, &[("EUR", 100), ("USD", 101)]),
        published(2, &[("EUR", 100)]),
        published(2, &[]),
    ] {
        assert!(!counted.agrees_with(&other), "{other:?}");
    }
}
