//! The formats of a reply, chosen by `Accept`: JSON, CSV (RFC 4180) and NDJSON.
//!
//! A table is sent page by page as it is read, so its memory is that of one page. The first page is
//! read before the reply begins: a store that is away is a 503. A failure after that ends the
//! connection before the body is complete, which clients notice.
//!
//! A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula. Such a text gets
//! an apostrophe in front, as do texts that begin with a tab or a line break.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use chassis::{Json, Result};
use csv::{Terminator, WriterBuilder};
use events::{Amount, Timestamp};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde::Serialize;

use crate::store::StoreError;

/// The header by which tables of one address differ.
const VARY: (header::HeaderName, &str) = (header::VARY, "accept");

/// A format of replies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// One JSON document.
    Json,
    /// A table.
    Table(TableFormat),
}

/// A format of tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TableFormat {
    /// A header and rows, separated by commas.
    Csv,
    /// A JSON object in each line.
    Ndjson,
}

/// A cell of a table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Cell {
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
    /// No value.
    Empty,
}

/// An object that is a row of a CSV table. In NDJSON it is the object itself.
pub(super) trait Row: Serialize {
    /// The names of the columns.
    const COLUMNS: &'static [&'static str];

    /// Returns a cell for each column.
    fn cells(&self) -> Vec<Cell>;
}

impl<S: Sync> FromRequestParts<S> for Format {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Infallible> {
        Ok(Self::accepted(&parts.headers))
    }
}

impl Format {
    /// Returns the format with the highest weight in `Accept`; of equal ones the first. It is JSON
    /// if none is named.
    fn accepted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        let ranges = texts.flat_map(|text| text.split(','));

        let mut best = (0.0, Self::Json);
        for (format, weight) in ranges.filter_map(weighted) {
            if weight > best.0 {
                best = (weight, format);
            }
        }

        best.1
    }
}

/// Returns the format that a media range names, and its weight.
fn weighted(range: &str) -> Option<(Format, f32)> {
    let mut parts = range.split(';').map(str::trim);
    let format = match parts.next()?.to_ascii_lowercase().as_str() {
        "text/csv" | "text/*" => Format::Table(TableFormat::Csv),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
            Format::Table(TableFormat::Ndjson)
        }
        "application/json" | "application/*" | "*/*" => Format::Json,
        _ => return None,
    };

    let weight = parts.find_map(|part| part.strip_prefix("q="));
    Some((
        format,
        weight.map_or(Some(1.0), |weight| weight.parse().ok())?,
    ))
}

impl Cell {
    /// Returns the cell of an instant.
    pub(super) fn instant(instant: Timestamp) -> Self {
        Self::Text(instant.to_string())
    }

    /// Returns the cell of amounts, as in `EUR 5000; USD 1999`, in minor units.
    pub(super) fn amounts(amounts: &[Amount]) -> Self {
        let texts = amounts
            .iter()
            .map(|amount| format!("{} {}", amount.currency, amount.minor_units));
        Self::Text(texts.collect::<Vec<_>>().join("; "))
    }

    /// Returns the cell of a number that may be missing.
    pub(super) fn maybe(number: Option<u64>) -> Self {
        number.map_or(Self::Empty, Self::Number)
    }

    fn into_text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Empty => String::new(),
            Self::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) => {
                format!("'{text}")
            }
            Self::Text(text) => text,
        }
    }
}

impl TableFormat {
    fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    fn header<R: Row>(self) -> Bytes {
        match self {
            Self::Csv => records([R::COLUMNS.iter().map(|name| (*name).to_owned()).collect()]),
            Self::Ndjson => Bytes::new(),
        }
    }

    fn rows<R: Row>(self, rows: &[R]) -> Bytes {
        match self {
            Self::Csv => records(
                rows.iter()
                    .map(|row| row.cells().into_iter().map(Cell::into_text).collect()),
            ),
            Self::Ndjson => {
                let mut lines = Vec::new();
                for row in rows {
                    serde_json::to_writer(&mut lines, row).expect("rows are plain data");
                    lines.push(b'\n');
                }
                lines.into()
            }
        }
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

/// Replies with a JSON document.
pub(super) fn document<T: Serialize>(document: T) -> Response {
    ([VARY], Json(document)).into_response()
}

/// Replies with the rows of these pages, as the file `name`.
///
/// # Errors
/// A 503 if the first page cannot be read.
pub(super) async fn table<R: Row + Send + 'static>(
    format: TableFormat,
    name: &str,
    pages: impl Stream<Item = std::result::Result<Vec<R>, StoreError>> + Send + 'static,
) -> Result<Response> {
    let mut pages = Box::pin(pages);
    let first = pages.next().await.transpose()?.unwrap_or_default();

    let rest = pages.map_ok(move |page| format.rows(&page));
    let begin = stream::iter([Ok(format.header::<R>()), Ok(format.rows(&first))]);
    let body = begin
        .chain(rest)
        .inspect_err(|error| tracing::warn!(%error, "a table ends before its last row"));

    let file = format!("attachment; filename=\"{name}.{}\"", format.extension());
    let headers = [
        VARY,
        (header::CONTENT_TYPE, format.media_type()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let named = [(header::CONTENT_DISPOSITION, file)];
    Ok((headers, named, Body::from_stream(body)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Format = Format::Table(TableFormat::Csv);
    const NDJSON: Format = Format::Table(TableFormat::Ndjson);

    fn accepted(accept: &[&str]) -> Format {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        Format::accepted(&headers)
    }

    #[test]
    fn the_format_with_the_highest_weight_is_chosen_and_json_otherwise() {
        for (accept, format) in [
            (&[][..], Format::Json),
            (&["*/*"], Format::Json),
            (&["image/png"], Format::Json),
            (&["text/csv"], CSV),
            (&["Text/CSV; charset=utf-8"], CSV),
            (&["application/x-ndjson"], NDJSON),
            (&["application/json, text/csv"], Format::Json),
            (&["application/json;q=0.5, text/csv"], CSV),
            (&["application/json;q=0.5", "application/x-ndjson"], NDJSON),
            (&["text/csv;q=0, application/x-ndjson;q=0.1"], NDJSON),
            (&["text/csv;q=0"], Format::Json),
            (&["text/html,application/xml;q=0.9,*/*;q=0.8"], Format::Json),
        ] {
            assert_eq!(accepted(accept), format, "{accept:?}");
        }
    }

    #[derive(Serialize)]
    struct Texts(String, u64);

    impl Row for Texts {
        const COLUMNS: &'static [&'static str] = &["text", "number"];

        fn cells(&self) -> Vec<Cell> {
            vec![Cell::Text(self.0.clone()), Cell::Number(self.1)]
        }
    }

    fn row(text: &str) -> String {
        let row = Texts(text.to_owned(), 7);
        String::from_utf8(TableFormat::Csv.rows(&[row]).to_vec()).unwrap()
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
        let header = TableFormat::Csv.header::<Texts>();
        assert_eq!(header, "text,number\r\n");
        assert!(TableFormat::Ndjson.header::<Texts>().is_empty());

        let rows = [Texts("a\n".to_owned(), 1), Texts("b".to_owned(), 2)];
        assert_eq!(TableFormat::Ndjson.rows(&rows), "[\"a\\n\",1]\n[\"b\",2]\n");
    }
}
