//! The storefront's files, embedded in the binary, compressed once at start and revalidated by their hash.
//!
//! The pages are hand-written HTML, CSS and ES modules under `storefront/`; nothing builds them. A strict content security
//! policy holds them to that: no inline code or style, nothing from elsewhere.

mod files;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::routing::get;

use crate::asset::Asset;
use files::FILES;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' blob:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Sent with every file.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
];

/// One route for each file.
pub(crate) fn router() -> Router {
    FILES.iter().fold(Router::new(), |router, file| {
        let asset = Arc::new(Asset::new(
            file.content_type(),
            Bytes::from_static(file.bytes),
        ));
        let answer = async move |headers: HeaderMap| {
            let mut response = asset.answer(&headers);
            response
                .headers_mut()
                .extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
            response
        };
        router.route(file.path, get(answer))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_storefront_is_small() {
        let size: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!(size < 150_000, "{size} bytes");
    }
}
