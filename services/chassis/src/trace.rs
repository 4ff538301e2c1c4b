//! Request ids and W3C trace context.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::Problem;

/// The header that carries a request's id, in both directions.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header of requests and records that names the span they come from.
pub const TRACEPARENT: &str = "traceparent";
const MAX_REQUEST_ID: usize = 128;

/// The id of a request: the client's own if it sent a valid one, otherwise a new one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestId(HeaderValue);

/// A W3C `traceparent`, version 00: the request's own span if there is a collector, otherwise the
/// header of the request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceParent(String);

impl RequestId {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let sensible = |id: &[u8]| {
            !id.is_empty()
                && id.len() <= MAX_REQUEST_ID
                && id
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
        };

        let sent = headers
            .get(REQUEST_ID)
            .filter(|sent| sensible(sent.as_bytes()));
        Self(sent.cloned().unwrap_or_else(fresh))
    }

    /// Returns the id as text: letters, digits, `-`, `_` and `.`.
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("an id is letters, digits and -_.")
    }
}

impl From<RequestId> for HeaderValue {
    fn from(id: RequestId) -> Self {
        id.0
    }
}

/// Returns a new id; ids are ordered by time.
fn fresh() -> HeaderValue {
    let mut text = [0; Hyphenated::LENGTH];
    let text = Uuid::now_v7().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).expect("hexadecimal digits and dashes are a header value")
}

impl TraceParent {
    /// Reads the header; a malformed one is ignored, as the specification requires.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(TRACEPARENT)?.to_str().ok()?;
        let mut parts = text.split('-');
        let lengths = [2, 32, 16, 2];
        let well_formed = lengths
            .iter()
            .all(|length| parts.next().is_some_and(|part| is_hex(part, *length)));
        (well_formed && parts.next().is_none() && text.starts_with("00-"))
            .then(|| Self(text.to_owned()))
    }

    /// Returns the header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_hex(part: &str, length: usize) -> bool {
    part.len() == length
        && part
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(parts
            .extensions
            .get::<Self>()
            .cloned()
            .unwrap_or_else(|| Self::of(&parts.headers)))
    }
}

impl<S: Send + Sync> axum::extract::OptionalFromRequestParts<S> for TraceParent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        Ok(Self::of(&parts.headers))
    }
}
