//! The sessions of an account, for its owner.

use axum::extract::State;
use axum::http::StatusCode;
use chassis::auth::Caller;
use chassis::{Json, Path, Problem, Result};
use events::Timestamp;
use serde::Serialize;

use super::Users;
use crate::store::sessions::Session;

#[derive(Serialize)]
pub(super) struct SessionList {
    items: Vec<Session>,
}

pub(super) async fn list(
    caller: Caller,
    State(users): State<Users>,
    Path(id): Path<i64>,
) -> Result<Json<SessionList>> {
    caller.require_user(id)?;
    let items = users.sessions.list(id).await?;
    Ok(Json(SessionList { items }))
}

/// Ends all sessions of the user.
pub(super) async fn end_all(
    caller: Caller,
    State(users): State<Users>,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    caller.require_user(id)?;
    users.sessions.end_all_of(id, Timestamp::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn end(
    caller: Caller,
    State(users): State<Users>,
    Path((id, session)): Path<(i64, String)>,
) -> Result<StatusCode> {
    caller.require_user(id)?;
    let ended = users
        .sessions
        .end_one_of(id, &session, Timestamp::now())
        .await?;

    let missing = || Problem::not_found("there is no such session");
    ended.then_some(StatusCode::NO_CONTENT).ok_or_else(missing)
}
