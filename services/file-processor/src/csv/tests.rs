//! Tests of the reader, with input cut at every possible place.

use super::*;

fn pieces(text: &[u8], length: usize) -> impl Iterator<Item = Chunk> + use<> {
    let pieces: Vec<Chunk> = text
        .chunks(length)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    pieces.into_iter()
}

fn summary(text: &[u8]) -> Value {
    read(pieces(text, 4096), Dialect::PLAIN, &mut Shape)
        .unwrap()
        .summary
}

fn refusal(text: &[u8]) -> Refusal {
    match read(pieces(text, 4096), Dialect::PLAIN, &mut Shape).unwrap_err() {
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
        json!({"row": 2, "line": 3, "column": null, "problem": "has 2 fields where the header has 3"})
    );
}

#[test]
fn the_end_mark_of_dos_is_no_row_but_takes_none_away() {
    for (text, rows) in [
        ("a,b\n1,2\n\u{1a}", 1),
        ("a,b\n1,2\n\u{1a} \u{1a}\u{1a}\r\n", 1),
        ("a,b\n1,2\n3,4\u{1a}", 2),
        ("a,b\n1,2\n\u{1a}3,4\n", 2),
    ] {
        let summary = summary(text.as_bytes());
        assert_eq!(summary["rows"], json!(rows), "{text:?}");
        assert_eq!(summary["bad_rows"], json!(0), "{text:?}");
    }
}

#[test]
fn however_the_bytes_are_cut_the_finding_is_the_same() {
    let text = "näme,wert\r\n\"über\nzwei\",\"1\"\"2\"\r\n\nc,4".as_bytes();
    let whole = summary(text);
    for length in 1..text.len() {
        assert_eq!(
            read(pieces(text, length), Dialect::PLAIN, &mut Shape)
                .unwrap()
                .summary,
            whole,
            "in pieces of {length}"
        );
    }
}

#[test]
fn more_columns_than_the_limit_are_refused_in_the_header_and_in_a_row() {
    let wide: Vec<String> = (0..MAX_COLUMNS).map(|number| number.to_string()).collect();
    let wide = wide.join(",");
    assert_eq!(summary(wide.as_bytes())["column_count"], MAX_COLUMNS);

    let wider = format!("{wide},x\n");
    assert_eq!(refusal(wider.as_bytes()).reason, Reason::TooLarge);
    assert_eq!(
        refusal(format!("a,b\n{}", wide.repeat(10)).as_bytes()).reason,
        Reason::TooLarge
    );
}

#[test]
fn an_unclosed_quotation_mark_does_not_fill_the_memory() {
    let mut text = b"a,b\n1,\"".to_vec();
    text.resize(3 << 20, b'x');
    assert!(refusal(&text).detail.starts_with("row 1 is longer"));
}

#[test]
fn text_that_is_not_utf8_is_refused_by_line() {
    let advice = "is not UTF-8, and lines before it are; save it as UTF-8";
    for (text, line) in [
        (&b"a,b\n1,2\n3,\xff\n"[..], 3),
        (b"a,b\n\xc3,\xa9\n", 2),
        (b"\n\xff\n", 2),
    ] {
        assert_eq!(refusal(text).detail, format!("line {line} {advice}"));
    }
}

#[test]
fn rows_without_a_single_value_are_not_counted() {
    for end in ["\n", "\r\n", "\r"] {
        let text = [
            "", ",,", "a,b,c", "", "1,2,3", ",,", " , ,", ",,,,,", "\"\",,", "4,5,6", ",,", ",,",
        ]
        .join(end);
        let summary = summary(text.as_bytes());

        assert_eq!(
            (&summary["rows"], &summary["bad_rows"]),
            (&json!(2), &json!(0)),
            "{end:?}"
        );
    }
}

#[test]
fn a_bad_row_is_found_by_its_line() {
    for (end, line_end) in [("\n", b'\n'), ("\r\n", b'\n'), ("\r", b'\r')] {
        let lines = [
            "sep=,", "", "a,b", "\"x", "", "y\",1", "", "bad", "1,2", "\"worse", "\",2,3", "",
            "last",
        ];
        let text = lines.join(end);

        let dialect = Dialect {
            header_at: 5 + 2 * end.len(),
            lines_before: 2,
            line_end,
            ..Dialect::PLAIN
        };

        for length in 1..text.len() {
            let table = read(pieces(text.as_bytes(), length), dialect, &mut Shape).unwrap();
            let lines: Vec<u64> = table.summary["first_bad"]
                .as_array()
                .unwrap()
                .iter()
                .map(|bad| bad["line"].as_u64().unwrap())
                .collect();
            assert_eq!(lines, [8, 10, 13], "{end:?} in pieces of {length}");
        }
    }
}

#[test]
fn bad_rows_become_a_csv_that_can_be_mended_and_read_again() {
    let text = "näme;price\nLamp;1;2\nPen;5\n\"Cup; \"\"red\"\"\nand blue\"\n";
    let dialect = Dialect {
        delimiter: b';',
        ..Dialect::PLAIN
    };

    let bad = read(pieces(text.as_bytes(), 7), dialect, &mut Shape)
        .unwrap()
        .bad_rows;
    let mend = String::from_utf8(bad.mend().unwrap().bytes).unwrap();

    assert_eq!(
        mend,
        "\u{feff}näme;price\r\nLamp;1;2\r\n\"Cup; \"\"red\"\"\nand blue\"\r\n"
    );

    let mended = mend.replace(";1;2", ";1").replace("blue\"", "blue\";3");
    let summary = read(pieces(mended.as_bytes(), 5), dialect, &mut Shape)
        .unwrap()
        .summary;

    assert_eq!(
        (&summary["rows"], &summary["bad_rows"]),
        (&json!(2), &json!(0))
    );

    let good = read(pieces(b"a,b\n1,2\n", 3), Dialect::PLAIN, &mut Shape)
        .unwrap()
        .bad_rows;
    assert_eq!(good.mend(), None);
}

#[test]
fn the_csv_of_bad_rows_is_bounded() {
    let many = format!("a,b\n{}", "x\n".repeat(5000));
    let long = format!("a,b\n{}", format!("{}\n", "x".repeat(100_000)).repeat(50));
    for (text, most_rows) in [(many, 1000), (long, 11)] {
        let bad = read(pieces(text.as_bytes(), 4096), Dialect::PLAIN, &mut Shape)
            .unwrap()
            .bad_rows;
        let mend = bad.mend().unwrap();

        assert_eq!(
            mend.bytes.iter().filter(|byte| **byte == b'\n').count(),
            most_rows + 1
        );

        assert_eq!(mend.summary("k")["has_more"], true);
        assert_eq!(bad.first().len(), most_rows.min(20));
    }
}

#[test]
fn a_header_that_has_a_name_twice_is_refused() {
    for header in ["a,b,a", "a, A ,b", "Größe,GRÖSSE ,größe", "x,\u{feff}y,X"] {
        let refusal = refusal(format!("{header}\n1,2,3\n").as_bytes());
        assert!(
            refusal.detail.contains("duplicate"),
            "{header}: {}",
            refusal.detail
        );
    }

    assert_eq!(summary(b"a,,\n1,2,3\n")["column_count"], 3);
}

#[test]
fn nothing_but_blank_lines_is_as_good_as_empty() {
    assert_eq!(refusal(b"\n\n\r\n").reason, Reason::Empty);
}
