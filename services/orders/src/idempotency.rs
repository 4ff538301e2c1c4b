//! The header `Idempotency-Key`: once a request is done, repeating it under the same key returns
//! the same reply.

use axum::extract::OptionalFromRequestParts;
use axum::http::request::Parts;
use chassis::Problem;

const HEADER: &str = "idempotency-key";
const MAX_BYTES: usize = 128;

/// A client's key: 1 to 128 visible ASCII characters. Each user has their own keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            let problem = Problem::bad_request("a request has one key; send the header once");
            return Err(problem.field("Idempotency-Key"));
        }

        let bytes = value.as_bytes();
        let fits = (1..=MAX_BYTES).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        if !fits {
            let problem = Problem::bad_request("a key has 1 to 128 visible ASCII characters");
            return Err(problem.field("Idempotency-Key"));
        }

        Ok(Some(Self(String::from_utf8_lossy(bytes).into_owned())))
    }
}
