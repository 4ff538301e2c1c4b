//! The storefront's files, embedded in the binary, compressed once at start and revalidated by
//! their hash.
//!
//! The storefront is hand-written HTML, CSS and ES modules under `storefront/`, without a build step.
//! At start each page is set into the frame that all pages share ([`page`]). A strict content
//! security policy forbids inline code and style, and content from other origins.

mod files;
mod page;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::asset::Asset;
use files::{FILES, File, MISSING};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' blob:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Sent with every file.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
];

/// Returns one route for each file. For other addresses, browsers get an error page.
pub(crate) fn router() -> Router {
    let missing = Arc::new(asset(&MISSING));
    let routes = FILES.iter().fold(Router::new(), |router, file| {
        let asset = Arc::new(asset(file));
        let answer = async move |headers: HeaderMap| answer(&asset, &headers);
        router.route(file.path, get(answer))
    });

    routes.fallback(async move |method: Method, uri: Uri, headers: HeaderMap| {
        let mut response = StatusCode::NOT_FOUND.into_response();
        if method == Method::GET && !uri.path().starts_with("/api") && is_for_people(&headers) {
            response = answer(&missing, &HeaderMap::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        response
    })
}

fn asset(file: &File) -> Asset {
    Asset::new(file.content_type(), file.content())
}

fn answer(asset: &Asset, asked: &HeaderMap) -> Response {
    let mut response = asset.answer(asked);
    let headers = HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
    response
}

/// Returns whether the client accepts HTML, as browsers do; programs get a problem document.
fn is_for_people(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_storefront_is_small() {
        let size: usize = FILES.iter().map(|file| asset(file).sent_bytes()).sum();
        assert!(size < 150_000, "{size} bytes, compressed");
    }
}
