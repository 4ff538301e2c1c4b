//! Extractors for handlers. An invalid request is answered with a problem document that names the
//! field and describes the error to the sender.

use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Problem;
use crate::duplicates::Unique;
use crate::wording::in_words;

/// An error of the deserializer, with the path to the value.
type JsonError = serde_path_to_error::Error<serde_json::Error>;

/// A JSON body, of a request or of a reply; a request's is an object. Malformed JSON is a 400, and a wrong or missing
/// field a 422. A body over the limit, which is 1 MiB unless the router sets another, is a 413. Another content type
/// or a compressed body is a 415.
///
/// An object with a duplicate key is a 422, at any depth. A whole number is written without a
/// fraction and without an exponent: `1.0`, `1e0` and `1e-400` are a 422 as well.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

/// The parameters of the path. An invalid one is a 400.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

/// The query. An invalid parameter is a 400.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !says_json(request.headers()) {
            let detail = "the body must be sent as application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        if is_encoded(request.headers()) {
            let detail = "the body must be sent without Content-Encoding";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }

        let body =
            Bytes::from_request(request, state)
                .await
                .map_err(|rejection| match rejection.status() {
                    StatusCode::PAYLOAD_TOO_LARGE => {
                        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
                    }
                    _ => Problem::bad_request("the body could not be read"),
                })?;

        parse_json(&body).map(Self)
    }
}

/// A body that may be absent: none if the request has no content.
impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        if request.body().size_hint().exact() == Some(0) {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state)
            .await
            .map(Some)
    }
}

fn says_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };

    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Returns whether the body is compressed. A body is never expanded, so a small one stays small.
fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // serde would also fill a struct from an array, field by field.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::unprocessable(
            "the body must be an object, not an array",
        ));
    }

    let Unique = read(body, not_json)?;
    // The body is valid JSON, so one of its values is wrong, even where serde reports a syntax error.
    read(body, wrong_field)
}

/// Parses the whole body. `explain` describes an error of the deserializer.
fn read<T: DeserializeOwned>(
    body: &[u8],
    explain: fn(&JsonError) -> Problem,
) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value =
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| explain(&error))?;

    deserializer
        .end()
        .map_err(|error| Problem::bad_request(format!("the body is not valid JSON: {error}")))?;

    Ok(value)
}

fn not_json(error: &JsonError) -> Problem {
    let inner = error.inner();
    if inner.is_data() {
        return wrong_field(error);
    }
    Problem::bad_request(format!("the body is not valid JSON: {inner}"))
}

fn wrong_field(error: &JsonError) -> Problem {
    let message = error.inner().to_string();
    let problem = Problem::unprocessable(in_words(&message));
    match blamed_field(&error.path().to_string(), &message) {
        Some(field) => problem.field(field),
        None => problem,
    }
}

/// Returns the path to the field. The path of a missing, unknown or duplicate field is its parent's,
/// so the name is taken from the message, where it stands between backquotes.
fn blamed_field(path: &str, message: &str) -> Option<String> {
    let named = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix));
    let parent = Some(path).filter(|path| *path != ".");

    match (named.and_then(|rest| rest.split('`').next()), parent) {
        (Some(name), Some(parent)) if !parent.ends_with(name) => Some(format!("{parent}.{name}")),
        (Some(name), None) => Some(name.to_owned()),
        (_, parent) => parent.map(str::to_owned),
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(_) => {
                let params = RawPathParams::from_request_parts(parts, state).await;
                let name = params
                    .ok()
                    .and_then(|params| params.iter().next().map(|(name, _)| name.to_owned()));
                let problem = Problem::bad_request("the path holds a value of the wrong form");

                Err(match name {
                    Some(name) => problem.field(name),
                    None => problem,
                })
            }
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(pairs)
            .map(Self)
            .map_err(|error| {
                let message = error.inner().to_string();
                let problem = Problem::bad_request(in_words(&message));
                match blamed_field(&error.path().to_string(), &message) {
                    Some(field) => problem.field(field),
                    None => problem,
                }
            })
    }
}
