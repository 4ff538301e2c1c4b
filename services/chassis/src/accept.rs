//! The header `Accept` (RFC 9110), for replies in JSON. A client whose list of media types excludes
//! JSON gets a 406 in place of JSON, which a script would write to a file of another kind.

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::Problem;

/// Returns `true` if the client accepts no JSON. Without the header it accepts everything.
pub fn excludes_json(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let ranges = texts.flat_map(|text| text.split(',')).map(str::trim);

    let mut ranges = ranges.filter(|range| !range.is_empty()).peekable();
    ranges.peek().is_some() && !ranges.any(includes_json)
}

/// Returns `true` if a media range with a weight above zero includes JSON or a kind of it.
fn includes_json(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = matches!(kind.as_str(), "*/*" | "application/*" | "application/json")
        || kind.ends_with("+json");

    let weight = parts.find_map(|part| part.strip_prefix("q="));
    let is_refused = weight.is_some_and(|weight| weight.trim().parse() == Ok(0.0));
    is_json && !is_refused
}

/// Returns a 406 in place of a successful reply in JSON.
pub fn without_json(reply: Response) -> Response {
    let content_type = reply.headers().get(CONTENT_TYPE);
    let is_json =
        content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/json"));

    if !is_json || !reply.status().is_success() {
        return reply;
    }
    let detail = "this reply is application/json, which the header Accept excludes";
    Problem::new(StatusCode::NOT_ACCEPTABLE, detail).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(accept: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        excludes_json(&headers)
    }

    #[test]
    fn json_is_excluded_by_a_list_without_it() {
        for accept in [
            &["text/csv"][..],
            &["application/vnd.apache.parquet"],
            &["text/csv, image/png;q=0.5", "text/*"],
            &["application/json;q=0, text/csv"],
            &["*/*; q=0.0"],
        ] {
            assert!(excludes(accept), "{accept:?}");
        }

        for accept in [
            &[][..],
            &[""],
            &["*/*"],
            &["text/html, application/xhtml+xml, */*;q=0.8"],
            &["text/csv", "Application/JSON;q=0.1"],
            &["application/*"],
            &["application/problem+json"],
        ] {
            assert!(!excludes(accept), "{accept:?}");
        }
    }
}
