//! The reader, fed in every way that bytes can arrive.

use super::*;

fn pieces(text: &[u8], length: usize) -> impl Iterator<Item = Chunk> + use<> {
    let pieces: Vec<Chunk> = text
        .chunks(length)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    pieces.into_iter()
}

fn summary(text: &[u8]) -> Value {
    read(pieces(text, 4096), b',', &mut Shape).unwrap().summary
}

fn refusal(text: &[u8]) -> Refusal {
    match read(pieces(text, 4096), b',', &mut Shape).unwrap_err() {
        Stop::Refused(refusal) => refusal,
        Stop::Objects(error) => panic!("{error}"),
    }
}

#[test]
fn header_types_rows_and_bad_rows_are_counted() {
    let summary = summary(b"id,name,price\n1,\"a, \"\"b\"\"\",2.5\n2,c\n3,d,4,5\n4,e,6\n");
    assert_eq!(
        summary["columns"],
        json!([{"name": "id", "type": "integer"}, {"name": "name", "type": "text"}, {"name": "price", "type": "decimal"}])
    );
    assert_eq!(
        (&summary["rows"], &summary["bad_rows"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(
        summary["first_bad"][0],
        json!({"row": 2, "problem": "has 2 fields where the header has 3"})
    );
}

#[test]
fn however_the_bytes_are_cut_the_finding_is_the_same() {
    let text = "näme,wert\r\n\"über\nzwei\",\"1\"\"2\"\r\n\nc,4".as_bytes();
    let whole = read(pieces(text, text.len()), b',', &mut Shape).unwrap();
    for length in 1..text.len() {
        assert_eq!(
            read(pieces(text, length), b',', &mut Shape).unwrap(),
            whole,
            "in pieces of {length}"
        );
    }
}

#[test]
fn more_columns_than_the_limit_are_refused_in_the_header_and_in_a_row() {
    let wide = vec!["x"; MAX_COLUMNS].join(",");
    assert_eq!(summary(wide.as_bytes())["column_count"], MAX_COLUMNS);
    let wider = format!("{wide},x\n");
    assert_eq!(refusal(wider.as_bytes()).reason, Reason::TooLarge);
    assert_eq!(
        refusal(format!("a,b\n{}", wide.repeat(10)).as_bytes()).reason,
        Reason::TooLarge
    );
}

#[test]
fn a_quotation_mark_that_is_never_closed_is_refused_before_it_fills_the_memory() {
    let mut text = b"a,b\n1,\"".to_vec();
    text.resize(3 << 20, b'x');
    assert!(refusal(&text).detail.starts_with("row 1 is longer"));
}

#[test]
fn text_that_is_not_utf8_is_refused_by_row() {
    assert_eq!(refusal(b"a,b\n1,2\n3,\xff\n").detail, "row 2 is not UTF-8");
    assert_eq!(refusal(b"a,b\n\xc3,\xa9\n").detail, "row 1 is not UTF-8");
    assert_eq!(refusal(b"\xff\n").detail, "its header is not UTF-8");
}

#[test]
fn nothing_but_blank_lines_is_as_good_as_empty() {
    assert_eq!(refusal(b"\n\n\r\n").reason, Reason::Empty);
}
