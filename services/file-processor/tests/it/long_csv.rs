//! A CSV of any length, on a server with the part of S3's protocol that reading needs. The file is not stored: each
//! range is computed when it is requested.

use std::ops::Range;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

use crate::runtime_api::Function;

/// The key of the file in its bucket.
pub const KEY: &str = "uploads/long.csv";
const HEADER: &str = "order_id,customer,placed_at,total,paid\n";
/// The length of each row, in bytes.
const ROW_BYTES: u64 = 69;

/// A CSV whose rows are computed from their numbers, so its length has no limit.
#[derive(Clone, Copy, Debug)]
pub struct LongCsv {
    /// The number of rows below the header.
    pub rows: u64,
}

impl LongCsv {
    /// Returns a CSV with as many whole rows as fit into `bytes`.
    pub fn of_bytes(bytes: u64) -> Self {
        Self {
            rows: bytes.saturating_sub(HEADER.len() as u64) / ROW_BYTES,
        }
    }

    /// Returns the length of the file.
    pub fn bytes(self) -> u64 {
        HEADER.len() as u64 + self.rows * ROW_BYTES
    }

    /// Starts the server, and returns a function that reads from it.
    pub async fn function(self) -> Function {
        let routes = Router::new()
            .route("/uploads/{*key}", get(read))
            .with_state(Arc::new(self));

        Function::start_on_s3(&testbed::serve(routes).await).await
    }

    fn slice(self, range: Range<u64>) -> Bytes {
        let header = HEADER.len() as u64;
        let first = range.start.saturating_sub(header) / ROW_BYTES;
        let last = range
            .end
            .saturating_sub(header)
            .div_ceil(ROW_BYTES)
            .min(self.rows);
        let mut text = String::with_capacity(((last - first + 1) * ROW_BYTES + header) as usize);
        let mut begins = header + first * ROW_BYTES;

        if range.start < header {
            text.push_str(HEADER);
            begins = 0;
        }

        (first..last).for_each(|row| push_row(&mut text, row));
        Bytes::from(text).slice((range.start - begins) as usize..(range.end - begins) as usize)
    }
}

fn push_row(text: &mut String, row: u64) {
    use std::fmt::Write;

    let customer = row % 9973;
    let ms = row % 1000;
    let total = row % 500;

    writeln!(
        text,
        "{row:010},\"Customer, No. {customer:04}\",2026-11-22T10:00:00.{ms:03}Z,{total:03}.99,true"
    )
    .unwrap();
}

async fn read(State(csv): State<Arc<LongCsv>>, headers: HeaderMap) -> Response {
    let length = csv.bytes();
    let described = [
        (header::ETAG, "\"tag\"".to_owned()),
        (
            header::LAST_MODIFIED,
            "Sun, 22 Nov 2026 10:00:00 GMT".to_owned(),
        ),
    ];

    let Some(range) = headers
        .get(header::RANGE)
        .map(|range| range.to_str().unwrap())
    else {
        return (
            described,
            [(header::CONTENT_LENGTH, length.to_string())],
            Body::empty(),
        )
            .into_response();
    };

    let (start, end) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let start: u64 = start.parse().unwrap();
    let end: u64 = end.parse().unwrap();

    let part = [(
        header::CONTENT_RANGE,
        format!("bytes {start}-{end}/{length}"),
    )];

    (
        StatusCode::PARTIAL_CONTENT,
        described,
        part,
        csv.slice(start..end + 1),
    )
        .into_response()
}
