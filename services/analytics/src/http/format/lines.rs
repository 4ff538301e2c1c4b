//! Tables of text, with a line for each row: CSV (RFC 4180) and NDJSON.
//!
//! A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula. In a CSV, an apostrophe is therefore
//! put in front of such a text, and of a text that begins with a tab or a line break.

use axum::body::Bytes;
use csv::{Terminator, WriterBuilder};
use events::Amount;

use super::Encoder;
use super::row::{Cell, Column, Row};

/// A header and rows, separated by commas.
pub struct Csv;

/// A JSON object in each line.
pub struct Ndjson;

impl<R: Row> Encoder<R> for Csv {
    fn begin(&mut self) -> Bytes {
        let names = R::COLUMNS.iter().map(|Column(name, _)| (*name).to_owned());
        records([names.collect()])
    }

    fn rows(&mut self, rows: &[R]) -> Bytes {
        let texts = |row: &R| row.cells().into_iter().map(text).collect();
        records(rows.iter().map(texts))
    }

    fn end(&mut self) -> Bytes {
        Bytes::new()
    }
}

impl<R: Row> Encoder<R> for Ndjson {
    fn begin(&mut self) -> Bytes {
        Bytes::new()
    }

    fn rows(&mut self, rows: &[R]) -> Bytes {
        let mut lines = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut lines, row).expect("rows are plain data");
            lines.push(b'\n');
        }
        lines.into()
    }

    fn end(&mut self) -> Bytes {
        Bytes::new()
    }
}

fn records(records: impl IntoIterator<Item = Vec<String>>) -> Bytes {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    for record in records {
        writer
            .write_record(record)
            .expect("records are equally long, and memory takes all");
    }
    writer.into_inner().expect("memory takes all").into()
}

fn text(cell: Cell) -> String {
    match cell {
        Cell::Number(number) => number.to_string(),
        Cell::OptionalNumber(number) => number.map_or(String::new(), |number| number.to_string()),
        Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) => {
            format!("'{text}")
        }
        Cell::Text(text) => text,
        Cell::Instant(instant) => instant.to_string(),
        Cell::Flag(flag) => flag.to_string(),
        Cell::Amounts(amounts) => listed(&amounts),
    }
}

/// Returns the amounts as in `EUR 5000; USD 1999`.
fn listed(amounts: &[Amount]) -> String {
    let texts = amounts
        .iter()
        .map(|amount| format!("{} {}", amount.currency, amount.minor_units));
    texts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::row::Kind;
    use super::*;
    use serde::Serialize;

    #[derive(Serialize)]
    struct Texts(String, u64);

    impl Row for Texts {
        const COLUMNS: &'static [Column] =
            &[Column("text", Kind::Text), Column("number", Kind::Number)];

        fn cells(&self) -> Vec<Cell> {
            vec![Cell::Text(self.0.clone()), Cell::Number(self.1)]
        }
    }

    fn row(text: &str) -> String {
        let row = Texts(text.to_owned(), 7);
        String::from_utf8(Csv.rows(&[row]).to_vec()).unwrap()
    }

    #[test]
    fn cells_are_quoted_as_in_rfc_4180_and_no_text_is_a_formula() {
        assert_eq!(row("plain"), "plain,7\r\n");
        assert_eq!(row("a,b"), "\"a,b\",7\r\n");
        assert_eq!(row("say \"hi\""), "\"say \"\"hi\"\"\",7\r\n");
        assert_eq!(row("two\nlines"), "\"two\nlines\",7\r\n");

        for start in ["=", "+", "-", "@"] {
            assert_eq!(
                row(&format!("{start}SUM(A1)")),
                format!("'{start}SUM(A1),7\r\n")
            );
        }

        assert_eq!(row("\t=1"), "'\t=1,7\r\n");
        assert_eq!(row("\r=1"), "\"'\r=1\",7\r\n");
    }

    #[test]
    fn a_header_comes_first_and_objects_come_by_line() {
        let header = Encoder::<Texts>::begin(&mut Csv);
        assert_eq!(header, "text,number\r\n");
        assert!(Encoder::<Texts>::begin(&mut Ndjson).is_empty());

        let rows = [Texts("a\n".to_owned(), 1), Texts("b".to_owned(), 2)];
        assert_eq!(Ndjson.rows(&rows), "[\"a\\n\",1]\n[\"b\",2]\n");
    }
}
