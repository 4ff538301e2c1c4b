//! Text for browsers: compressed if the browser accepts gzip, and not sent again if the browser has
//! it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Headers of every asset. A browser may store it but must revalidate it before use: names stay,
/// contents change.
const HEADERS: [(HeaderName, &str); 2] = [
    (header::CACHE_CONTROL, "no-cache"),
    (header::VARY, "accept-encoding"),
];

/// A text in its plain and its compressed form.
pub(crate) struct Asset {
    content_type: &'static str,
    plain: Form,
    gzip: Form,
}

struct Form {
    bytes: Bytes,
    etag: HeaderValue,
}

impl Asset {
    pub(crate) fn new(content_type: &'static str, bytes: Bytes) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let hash = hasher.finish();

        let gzip = Form {
            bytes: compress(&bytes),
            etag: etag(&format!("{hash:016x}-gzip")),
        };

        Self {
            content_type,
            plain: Form {
                bytes,
                etag: etag(&format!("{hash:016x}")),
            },
            gzip,
        }
    }

    /// Returns the number of bytes sent to a browser.
    #[cfg(test)]
    pub(crate) fn sent_bytes(&self) -> usize {
        self.gzip.bytes.len().min(self.plain.bytes.len())
    }

    /// Returns the answer to a request with these headers.
    pub(crate) fn answer(&self, asked: &HeaderMap) -> Response {
        let is_gzip = takes_gzip(asked) && self.gzip.bytes.len() < self.plain.bytes.len();
        let form = if is_gzip { &self.gzip } else { &self.plain };
        let mut response = if has_already(asked, &form.etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Body::from(form.bytes.clone()).into_response()
        };
        let headers = response.headers_mut();
        headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));

        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(self.content_type),
        );

        headers.insert(header::ETAG, form.etag.clone());
        if is_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }

        response
    }
}

fn compress(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("writing to memory does not fail").into()
}

fn etag(hash: &str) -> HeaderValue {
    HeaderValue::try_from(format!("\"{hash}\""))
        .expect("hexadecimal digits in quotes are a header value")
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    values(headers, &header::ACCEPT_ENCODING).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip")
            && !weight.trim().trim_end_matches(['0', '.']).ends_with("q=")
    })
}

fn has_already(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    values(headers, &header::IF_NONE_MATCH)
        .any(|known| known.trim_start_matches("W/").as_bytes() == etag.as_bytes())
}

/// Returns the members of a header that is a list.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers
        .get_all(name)
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (asked, expected) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("gzip;q=0.001", true),
        ] {
            assert_eq!(
                takes_gzip(&asking(header::ACCEPT_ENCODING, asked)),
                expected,
                "{asked}"
            );
        }

        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn what_did_not_change_is_not_sent_again() {
        let asset = Asset::new("text/plain", Bytes::from_static(b"a text"));
        let etag = asset.answer(&HeaderMap::new()).headers()[header::ETAG].clone();
        let again = asset.answer(&HeaderMap::from_iter([(header::IF_NONE_MATCH, etag)]));
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let other = asset.answer(&asking(header::IF_NONE_MATCH, "\"0\", W/\"1\""));
        assert_eq!(other.status(), StatusCode::OK);
    }
}
