//! Logging in and out, and passwords.
//!
//! Whether an address is unknown, has no password or another one: the answer is the same and takes as long.

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use chassis::auth::Caller;
use chassis::{Json, Path, Problem, Result};
use events::Timestamp;
use serde::Deserialize;

use super::keeping::{Keeping, Shown};
use super::{Users, no_such_user};
use crate::session::SessionError;
use crate::user::{Email, Password};

/// How long verifiers may keep the keys.
const KEYS_KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogIn {
    email: Email,
    password: Password,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    /// May be absent only where the user has none yet.
    current_password: Option<Password>,
    new_password: Password,
}

pub(super) async fn log_in(
    keeping: Keeping,
    State(users): State<Users>,
    Json(log_in): Json<LogIn>,
) -> Result<impl IntoResponse> {
    let account = log_in.email.as_str();
    users
        .attempts
        .count(account, Instant::now())
        .map_err(too_many)?;
    let credentials = users.store.credentials_of(&log_in.email).await?;
    let hash = credentials
        .as_ref()
        .and_then(|found| found.password_hash.clone());
    let is_right = users.hasher.verify(log_in.password, hash).await?;
    let Some(user) = credentials.filter(|_| is_right) else {
        return Err(Problem::unauthorized(
            "the e-mail address or the password is not right",
        ));
    };
    users.attempts.forget(account);
    let tokens = users.sessions.begin(user.id, Timestamp::now()).await?;
    Ok(keeping.answer(tokens, users.sessions.refresh_life()))
}

pub(super) async fn refresh(
    keeping: Keeping,
    State(users): State<Users>,
    Shown(token): Shown,
) -> Result<impl IntoResponse> {
    let token = token.ok_or(SessionError::Refused)?;
    let tokens = users.sessions.refresh(&token, Timestamp::now()).await?;
    Ok(keeping.answer(tokens, users.sessions.refresh_life()))
}

pub(super) async fn log_out(
    keeping: Keeping,
    State(users): State<Users>,
    Shown(token): Shown,
) -> Result<impl IntoResponse> {
    if let Some(token) = token {
        users.sessions.end(&token).await?;
    }
    Ok((StatusCode::NO_CONTENT, keeping.farewell(), ()))
}

/// Ends every session of the user: whoever knows the new password begins anew.
pub(super) async fn set_password(
    caller: Caller,
    State(users): State<Users>,
    Path(id): Path<i64>,
    Json(change): Json<NewPassword>,
) -> Result<StatusCode> {
    caller.require_user(id)?;
    let credentials = users
        .store
        .credentials(id)
        .await?
        .ok_or_else(no_such_user)?;
    if credentials.password_hash.is_some() {
        users
            .attempts
            .count(&format!("id {id}"), Instant::now())
            .map_err(too_many)?;
        let missing =
            || Problem::unprocessable("the current password is needed").field("current_password");
        let current = change.current_password.ok_or_else(missing)?;
        if !users
            .hasher
            .verify(current, credentials.password_hash.clone())
            .await?
        {
            return Err(
                Problem::forbidden("the current password is not right").field("current_password")
            );
        }
    }
    let hash = users.hasher.hash(change.new_password).await?;
    match users.store.set_password(&credentials, &hash).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::conflict(
            "the password was changed by another request",
        )),
    }
}

pub(super) async fn keys(State(users): State<Users>) -> Result<impl IntoResponse> {
    let keys = users.sessions.keys().published(Timestamp::now()).await?;
    Ok(([(header::CACHE_CONTROL, KEYS_KEPT)], Json(keys)))
}

fn too_many(wait: std::time::Duration) -> Problem {
    Problem::too_many_requests("too many attempts on this account", wait)
}
