//! The readers, with input cut at every possible place.

use bytes::Bytes;

use super::*;

fn pieces(text: &[u8], length: usize) -> impl Iterator<Item = Chunk> + use<> {
    let pieces: Vec<Chunk> = text
        .chunks(length)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    pieces.into_iter()
}

fn refusal(outcome: Result<Finding, Stop>) -> Refusal {
    match outcome.unwrap_err() {
        Stop::Refused(refusal) => refusal,
        Stop::Objects(error) => panic!("{error}"),
    }
}

fn document(text: &[u8]) -> Result<Finding, Stop> {
    read_document(pieces(text, 4096))
}

fn lines(text: &[u8]) -> Result<Finding, Stop> {
    read_lines(pieces(text, 4096))
}

#[test]
fn a_document_is_summarised_by_depth_keys_and_rows() {
    let summary = document(br#"[{"id": 1, "tags": ["a", {"x": null}]}, {"id": 2.5, "name": "b"}]"#)
        .unwrap()
        .summary;

    assert_eq!(
        (&summary["top"], &summary["depth"], &summary["rows"]),
        (&json!("array"), &json!(4), &json!(2))
    );

    assert_eq!(
        (&summary["keys"], &summary["values"]),
        (&json!(["id", "tags", "name"]), &json!(5))
    );

    let summary = document(br#"{"a": {"b": true}}"#).unwrap().summary;
    assert_eq!(
        (&summary["rows"], &summary["keys"]),
        (&Value::Null, &json!(["a"]))
    );
}

#[test]
fn however_the_bytes_are_cut_the_finding_is_the_same() {
    let text = "{\"ä\": [1, \"\\u00fc\\\"\", {\"ö\": [[]]}]}\n{\"b\": -1e-3}\n\n[3]\n[".as_bytes();
    let whole = lines(text).unwrap();
    assert_eq!(
        (&whole.summary["rows"], &whole.summary["bad_rows"]),
        (&json!(4), &json!(1))
    );

    for length in 1..text.len() {
        assert_eq!(
            read_lines(pieces(text, length)).unwrap(),
            whole,
            "in pieces of {length}"
        );
    }

    for line_end in ["\r", "\r\n"] {
        let text = String::from_utf8(text.to_vec()).unwrap();
        let text = text.replace('\n', line_end).into_bytes();
        for length in 1..text.len() {
            let read = read_lines(pieces(&text, length)).unwrap();
            assert_eq!(read, whole, "{line_end:?} in pieces of {length}");
        }
    }

    let first = text.split(|byte| *byte == b'\n').next().unwrap();
    for length in 1..first.len() {
        assert_eq!(
            read_document(pieces(first, length)).unwrap(),
            document(first).unwrap(),
            "in pieces of {length}"
        );
    }
}

#[test]
fn what_is_broken_or_cut_off_is_refused_with_its_place() {
    assert_eq!(
        refusal(document(b"{\"a\": [1, 2")).detail,
        "it ends in the middle, at line 1 column 11"
    );

    assert!(
        refusal(document(b"{\"a\": nul}"))
            .detail
            .contains("line 1 column 10")
    );

    assert!(
        refusal(document(b"{} {}"))
            .detail
            .contains("call the file .ndjson")
    );

    assert!(
        refusal(document(b"[\"\xff\"]"))
            .detail
            .contains("line 1 is not UTF-8")
    );

    assert_eq!(
        refusal(lines(b"{}\n\"\xff\"\n")).detail,
        "line 2 is not UTF-8 from its byte 2; save it as UTF-8"
    );

    assert_eq!(refusal(lines(b"no\njson\n")).reason, Reason::Malformed);
    assert_eq!(refusal(lines(b"\n  \n")).reason, Reason::Empty);
}

#[test]
fn a_document_may_be_deep_and_long_but_not_without_end() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert_eq!(document(&nested(127)).unwrap().summary["depth"], 127);
    assert_eq!(
        refusal(document(&nested(100_000))).detail,
        "it nests deeper than 127 levels"
    );

    let endless = [b"[\"".to_vec(), vec![b'x'; 2 << 20]].concat();
    assert_eq!(refusal(document(&endless)).reason, Reason::TooLarge);
    assert_eq!(refusal(lines(&endless)).reason, Reason::TooLarge);

    let numbers = [b"[".to_vec(), vec![b'1'; 2 << 20]].concat();
    assert_eq!(refusal(document(&numbers)).reason, Reason::TooLarge);
}

#[test]
fn only_so_many_keys_are_kept() {
    let fields: Vec<String> = (0..100).map(|n| format!("\"k{n}\":{n}")).collect();
    let summary = document(format!("{{{}}}", fields.join(",")).as_bytes())
        .unwrap()
        .summary;

    assert_eq!(
        (
            summary["keys"].as_array().unwrap().len(),
            &summary["has_more_keys"]
        ),
        (64, &json!(true))
    );
}

#[test]
fn a_name_twice_in_one_object_is_listed_at_any_depth() {
    for text in [
        r#"{"a": 1, "b": 2, "a": 1}"#,
        r#"[{"b": 1}, {"b": {"c": [{"a": 1, "\u0061": 2, "a": 3}]}}]"#,
        "{\"a\": {\"a\": 1},\n \"a\": 2}",
    ] {
        let summary = document(text.as_bytes()).unwrap().summary;
        assert_eq!(summary["repeated_keys"], json!(["a"]), "{text}");
    }

    // Every value is counted.
    let summary = document(br#"{"a": 1, "a": 2}"#).unwrap().summary;
    assert_eq!(summary["values"], json!(2));

    // The same name in another object is another field.
    let distinct = br#"{"a": {"a": [{"a": 1}, {"a": 2}]}, "b": {"a": 3}, "A": 4}"#;
    let summary = document(distinct).unwrap().summary;
    assert_eq!(summary.get("repeated_keys"), None);
}

#[test]
fn a_line_with_a_name_twice_is_a_row() {
    let summary = lines(b"{\"a\": 1}\n{\"b\": 1, \"b\": 2}\n{\"a\": 2}\n")
        .unwrap()
        .summary;

    assert_eq!(summary["bad_rows"], json!(0));
    assert_eq!(summary["repeated_keys"], json!(["b"]));
}

#[test]
fn twenty_repeated_names_are_listed() {
    let fields: Vec<String> = (0..60).map(|at| format!("\"{}\":0", at % 30)).collect();
    let text = format!("{{{}}}", fields.join(","));
    let summary = document(text.as_bytes()).unwrap().summary;
    assert_eq!(summary["repeated_keys"].as_array().unwrap().len(), 20);
}

#[test]
fn names_are_compared_whole_and_listed_in_short() {
    let long = "n".repeat(70);
    let distinct = format!("{{\"{long}a\":0,\"{long}b\":0}}");
    let summary = document(distinct.as_bytes()).unwrap().summary;
    assert_eq!(summary.get("repeated_keys"), None);

    let twice = format!("{{\"{long}\":0,\"{long}\":0}}");
    let summary = document(twice.as_bytes()).unwrap().summary;
    let listed = summary["repeated_keys"][0].as_str().unwrap();
    assert!(listed.chars().count() <= 65, "{listed}");
}

#[test]
fn a_million_names_of_open_objects_are_compared_and_no_more() {
    let object = |names: u32, more: &str| {
        let fields: Vec<String> = (0..names).map(|name| format!("\"{name}\":0")).collect();
        format!("{{{}{more}}}", fields.join(","))
    };
    let repeated = |text: &str| {
        let summary = document(text.as_bytes()).unwrap().summary;
        summary.get("repeated_keys").cloned()
    };

    let compared = object(999_999, ",\"0\":0,\"1\":0");
    assert_eq!(repeated(&compared), Some(json!(["0", "1"])));
    let beyond = object(1_000_000, ",\"x\":0,\"x\":0");
    assert_eq!(repeated(&beyond), None);

    // Objects beside each other do not add up, nor do lines that end within an object.
    let distinct = object(500_001, "");
    let half = object(500_001, ",\"0\":0");
    let beside = format!("[[{distinct},{half}]]");
    assert_eq!(repeated(&beside), Some(json!(["0"])));

    let mut shape = Shape::default();
    for text in [distinct.trim_end_matches('}'), &half] {
        let mut line = Deserializer::from_str(text);
        let walked = Walk::new(&mut shape).deserialize(&mut line);
        assert_eq!(walked.is_ok(), text == half);
    }
    let summary = shape.of_lines(1, 1, &[]);
    assert_eq!(summary["repeated_keys"], json!(["0"]));
}
