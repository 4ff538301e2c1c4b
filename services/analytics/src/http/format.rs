//! The formats of a reply, chosen by `Accept`: JSON, CSV, NDJSON and Parquet.
//!
//! A table is sent page by page while it is read, so it needs the memory of one page, or of one row group of a Parquet
//! file. The first page is read before the reply begins, so an unavailable store is a 503. A later failure ends the
//! connection before the body is complete, so that clients notice it.

mod lines;
mod parquet;
mod row;

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use chassis::{Json, Result};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde::Serialize;

use self::parquet::Parquet;
use crate::store::StoreError;
use lines::{Csv, Ndjson};
pub(super) use row::{Cell, Column, Kind, Row};

/// The header that informs caches that the reply depends on `Accept`.
const VARY: (header::HeaderName, &str) = (header::VARY, "accept");
/// The registered media type of Parquet.
const PARQUET: &str = "application/vnd.apache.parquet";

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
    /// Columns with types, for DuckDB, pandas and Spark.
    Parquet,
}

/// Turns the rows of a table into the bytes of a reply.
trait Encoder<R>: Send {
    /// Returns the bytes before the first row.
    fn begin(&mut self) -> Bytes;

    /// Adds rows, and returns the bytes that can be sent now; they may be empty until further rows are added.
    fn rows(&mut self, rows: &[R]) -> Bytes;

    /// Returns the bytes after the last row.
    fn end(&mut self) -> Bytes;
}

impl<S: Sync> FromRequestParts<S> for Format {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Infallible> {
        Ok(Self::accepted(&parts.headers))
    }
}

impl Format {
    /// Returns the format with the highest weight in `Accept`; of several with the same weight, the first. Returns JSON
    /// if no format is named.
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
        PARQUET => Format::Table(TableFormat::Parquet),
        "application/json" | "application/*" | "*/*" => Format::Json,
        _ => return None,
    };

    let weight = parts.find_map(|part| part.strip_prefix("q="));
    Some((
        format,
        weight.map_or(Some(1.0), |weight| weight.parse().ok())?,
    ))
}

impl TableFormat {
    fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
            Self::Parquet => PARQUET,
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
        }
    }

    fn encoder<R: Row>(self) -> Box<dyn Encoder<R>> {
        match self {
            Self::Csv => Box::new(Csv),
            Self::Ndjson => Box::new(Ndjson),
            Self::Parquet => Box::new(Parquet::new::<R>()),
        }
    }
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

    let mut encoder = format.encoder::<R>();
    let begin = stream::iter([Ok(encoder.begin()), Ok(encoder.rows(&first))]);
    let body = begin
        .chain(encoded(encoder, pages))
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

/// Returns the bytes of these pages and of the end of the table.
fn encoded<R: Row>(
    encoder: Box<dyn Encoder<R>>,
    pages: impl Stream<Item = std::result::Result<Vec<R>, StoreError>> + Send + Unpin,
) -> impl Stream<Item = std::result::Result<Bytes, StoreError>> + Send {
    stream::try_unfold(Some((encoder, pages)), |unfinished| async {
        let Some((mut encoder, mut pages)) = unfinished else {
            return Ok(None);
        };

        match pages.try_next().await? {
            Some(page) => Ok(Some((encoder.rows(&page), Some((encoder, pages))))),
            None => Ok(Some((encoder.end(), None))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Format = Format::Table(TableFormat::Csv);
    const NDJSON: Format = Format::Table(TableFormat::Ndjson);
    const TYPED: Format = Format::Table(TableFormat::Parquet);

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
            (&["application/vnd.apache.parquet"], TYPED),
            (&["application/vnd.apache.parquet;q=0.1, text/csv"], CSV),
            (&["text/csv;q=0"], Format::Json),
            (&["text/html,application/xml;q=0.9,*/*;q=0.8"], Format::Json),
        ] {
            assert_eq!(accepted(accept), format, "{accept:?}");
        }
    }
}
