//! Where a client keeps its refresh token.
//!
//! Clients of the API are given it as a field, and show it as one. A page in a browser sends `tidemark-session: cookie`: it
//! is given the token in a cookie that no script reads, and the cookie is heard only beside that header. Pages of other
//! sites cannot send the header, for a browser would ask the gateway first; so none can use or end a session of ours.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use chassis::{Json, Problem, Result};
use serde::Deserialize;

use crate::session::Tokens;

/// By this header a page says that it has cookies.
const SESSION: HeaderName = HeaderName::from_static("tidemark-session");
/// How the page's own connection was made, by the word of the gateway.
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const COOKIE: &str = "tidemark_refresh";
/// Where browsers meet this service: behind the gateway.
const PATH: &str = "/api/users";
/// Tokens are nobody's but the client's.
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");

/// Where a client keeps its refresh token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Keeping {
    /// Wherever it likes.
    Field,
    /// In a cookie, which goes over TLS only where the page came so.
    Cookie { is_secure: bool },
}

/// The refresh token that a request shows.
pub(super) struct Shown(pub(super) Option<String>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refresh {
    refresh_token: String,
}

impl Keeping {
    fn of(headers: &HeaderMap) -> Self {
        if headers.get(SESSION).is_none_or(|value| value != "cookie") {
            return Self::Field;
        }
        Self::Cookie {
            is_secure: headers
                .get(X_FORWARDED_PROTO)
                .is_some_and(|value| value == "https"),
        }
    }

    /// The answer that gives the client its tokens; the refresh token is good for `life`.
    pub(super) fn answer(self, mut tokens: Tokens, life: Duration) -> impl IntoResponse {
        let cookie = match self {
            Self::Field => None,
            Self::Cookie { is_secure } => tokens
                .refresh_token
                .take()
                .map(|token| cookie(COOKIE, &token, life, is_secure)),
        };

        (
            [(header::CACHE_CONTROL, NOT_KEPT)],
            cookie.map(|cookie| [(header::SET_COOKIE, cookie)]),
            Json(tokens),
        )
    }

    /// What has a browser forget its cookie.
    pub(super) fn farewell(self) -> Option<[(HeaderName, HeaderValue); 1]> {
        match self {
            Self::Field => None,
            Self::Cookie { is_secure } => Some([(
                header::SET_COOKIE,
                cookie(COOKIE, "", Duration::ZERO, is_secure),
            )]),
        }
    }
}

/// The cookie of this name, which goes to this service alone.
pub(super) fn cookie(name: &str, value: &str, life: Duration, is_secure: bool) -> HeaderValue {
    let secure = if is_secure { "; Secure" } else { "" };
    let life = life.as_secs();
    let text =
        format!("{name}={value}; Path={PATH}; Max-Age={life}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::try_from(text).expect("base64 is a header value")
}

pub(super) fn in_cookie(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let lines = headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|line| line.to_str().ok());

    let mut pairs = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));

    pairs
        .find(|(name, _)| *name == wanted)
        .map(|(_, token)| token.to_owned())
}

impl<S: Send + Sync> FromRequestParts<S> for Keeping {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl<S: Send + Sync> FromRequest<S> for Shown {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        if Keeping::of(request.headers()) != Keeping::Field {
            return Ok(Self(in_cookie(request.headers(), COOKIE)));
        }
        let Json(Refresh { refresh_token }) = Json::from_request(request, state).await?;
        Ok(Self(Some(refresh_token)))
    }
}
