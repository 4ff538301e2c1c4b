//! The place where a client keeps its refresh token.
//!
//! Clients of the API receive and send the token as a field. A page in a browser sends `tidemark-session: cookie`: it
//! receives the token in a cookie that no script can read, and the cookie is accepted only with that header. Pages of
//! other sites cannot send the header, because a browser would first send a preflight to the gateway. They can
//! therefore neither use nor end a session.
//!
//! Over TLS, the names of cookies begin with `__Host-`. Browsers accept such a cookie only from this host and over TLS
//! (RFC 6265bis, 4.1.3.2), so neither another host of the domain nor a page without TLS can set one. Such a cookie has
//! the path `/`; the gateway forwards it only to this service. A developer's machine has no TLS, so the name there has
//! no prefix.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use chassis::{Json, Problem, Result};
use serde::Deserialize;

use crate::session::Tokens;

/// The header with which a page selects cookies.
const SESSION: HeaderName = HeaderName::from_static("tidemark-session");
/// The header in which the gateway sends the scheme of the page's connection.
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const COOKIE: &str = "tidemark_refresh";
/// The prefix of cookies that browsers accept only from the host itself and over TLS.
const OF_THIS_HOST: &str = "__Host-";
/// This service's path for browsers, behind the gateway.
const PATH: &str = "/api/users";
/// The value of `Cache-Control` that forbids caches to store tokens.
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");

/// The place where a client keeps its refresh token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Keeping {
    /// Where the client chooses: it gets the token as a field.
    Field,
    /// In a cookie, which is restricted to TLS only if the page was loaded over TLS.
    Cookie { is_secure: bool },
}

/// The refresh token in a request.
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
            is_secure: is_secure(headers),
        }
    }

    /// Returns the answer with the client's tokens; the refresh token is valid for `life`.
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

    /// Returns the header that makes a browser delete its cookie.
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

/// Returns whether the page was loaded over TLS.
fn is_secure(headers: &HeaderMap) -> bool {
    headers
        .get(X_FORWARDED_PROTO)
        .is_some_and(|value| value == "https")
}

/// Returns the cookie with this name, which browsers send only to this host.
pub(super) fn cookie(name: &str, value: &str, life: Duration, is_secure: bool) -> HeaderValue {
    let life = life.as_secs();
    let place = if is_secure {
        "Path=/; Secure".to_owned()
    } else {
        format!("Path={PATH}")
    };

    let name = name_of(name, is_secure);
    let text = format!("{name}={value}; Max-Age={life}; HttpOnly; SameSite=Strict; {place}");
    HeaderValue::try_from(text).expect("base64 is a header value")
}

fn name_of(name: &str, is_secure: bool) -> String {
    let prefix = if is_secure { OF_THIS_HOST } else { "" };
    format!("{prefix}{name}")
}

/// Returns the value of a cookie; none if there are several with different values, because another host of the domain
/// may have set one of them.
pub(super) fn in_cookie(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let wanted = name_of(wanted, is_secure(headers));
    let lines = headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|line| line.to_str().ok());

    let pairs = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));

    let mut values = pairs
        .filter(|(name, _)| *name == wanted)
        .map(|(_, value)| value);
    let first = values.next()?;
    values.all(|other| other == first).then(|| first.to_owned())
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
