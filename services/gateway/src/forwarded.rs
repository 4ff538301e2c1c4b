//! The names of the headers that state where a request comes from.

use axum::http::HeaderName;

/// The addresses that a request came through, the client's first.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The host in the client's request.
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The scheme of the client's request: `http` or `https`.
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client's address, as determined by the gateway; services count by it.
pub(crate) const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("tidemark-client-address");
