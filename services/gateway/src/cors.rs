//! The other origins whose pages may call the API: none, unless the settings name them.

use std::str::FromStr;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// The time for which a browser may cache a preflight's answer.
const MAX_AGE: Duration = Duration::from_secs(3600);
const METHODS: [Method; 6] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];
/// Headers that pages may send besides those that are always allowed.
const REQUEST_HEADERS: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("x-request-id"),
];
/// Headers that pages may read besides those that are always allowed.
const ANSWER_HEADERS: [HeaderName; 4] = [
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    HeaderName::from_static("x-request-id"),
];

/// An origin that may call, like `https://shop.example`, or `*` for all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin(HeaderValue);

/// The error for a text that is not an origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an origin like https://shop.example, nor *")]
pub struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let host = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let is_origin =
            host.is_some_and(|host| !host.is_empty() && !host.contains('/')) || text == "*";
        let value = is_origin
            .then(|| HeaderValue::from_str(text).ok())
            .flatten();

        value.map(Self).ok_or(InvalidOrigin)
    }
}

/// Allows pages of these origins to call the routes. Cookies are not allowed: a token in a header
/// identifies the caller.
pub(crate) fn allow(routes: Router, origins: &[Origin]) -> Router {
    if origins.is_empty() {
        return routes;
    }

    let allowed = if origins.iter().any(|origin| origin.0 == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().map(|origin| origin.0.clone()))
    };

    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods(METHODS)
        .allow_headers(REQUEST_HEADERS);
    routes.layer(layer.expose_headers(ANSWER_HEADERS).max_age(MAX_AGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host_without_a_path() {
        for right in ["https://shop.example", "http://localhost:8080", "*"] {
            assert!(right.parse::<Origin>().is_ok(), "{right}");
        }

        for wrong in [
            "",
            "shop.example",
            "https://",
            "https://shop.example/",
            "null",
            "ftp://shop.example",
        ] {
            assert_eq!(wrong.parse::<Origin>(), Err(InvalidOrigin), "{wrong}");
        }
    }
}
