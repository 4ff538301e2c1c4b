//! The time limit of endless replies: a reply ends when the token of its request expires.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::{Auth, bearer, token};
use crate::{Problem, Result};

/// The expiry of a request's token; none if authentication is off.
#[derive(Clone, Copy, Debug)]
pub struct Until(Option<SystemTime>);

impl Until {
    /// Waits until the token expires.
    pub async fn passed(self) {
        match self.0 {
            Some(end) => {
                let left = end.duration_since(SystemTime::now());
                tokio::time::sleep(left.unwrap_or(Duration::ZERO)).await;
            }
            None => std::future::pending().await,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Until {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let auth = parts.extensions.get::<Auth>().cloned();
        let auth = auth
            .ok_or_else(|| Problem::internal("a route that needs its caller is not protected"))?;

        if auth.is_open() {
            return Ok(Self(None));
        }

        auth.caller(&parts.headers).await?;
        let end = token::expiry(bearer(&parts.headers)?)?;
        Ok(Self(Some(UNIX_EPOCH + Duration::from_secs(end))))
    }
}
