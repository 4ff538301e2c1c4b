//! The mail about accounts, for the notifications service. The gateway does not route to it.
//!
//! Admins may not take mail, because the links in it are for the owners of the accounts.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use chassis::auth::Caller;
use chassis::{Json, Path, Problem, Result};
use events::Timestamp;
use serde::Serialize;

use super::Users;
use crate::mail::OutgoingMail;

/// The value of `Cache-Control` that forbids caches to store tokens.
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");

#[derive(Serialize)]
struct OutgoingMailList {
    items: Vec<OutgoingMail>,
}

/// Returns the mail that is due. Mail that is not settled is returned again later.
pub(super) async fn take(caller: Caller, State(users): State<Users>) -> Result<impl IntoResponse> {
    require_service(caller)?;
    let taken = users.store.take_mail(Timestamp::now()).await?;
    let items = taken
        .into_iter()
        .map(|mail| mail.outgoing(&users.shop_url))
        .collect();

    Ok((
        [(header::CACHE_CONTROL, NOT_KEPT)],
        Json(OutgoingMailList { items }),
    ))
}

/// Settles a mail: it was sent, or can never be sent.
pub(super) async fn settled(
    caller: Caller,
    State(users): State<Users>,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    require_service(caller)?;
    let existed = users.store.settle_mail(&id).await?;
    let missing = || Problem::not_found("there is no such mail");
    existed
        .then_some(StatusCode::NO_CONTENT)
        .ok_or_else(missing)
}

fn require_service(caller: Caller) -> Result<()> {
    match caller {
        Caller::Service | Caller::Anonymous => Ok(()),
        Caller::User { .. } => Err(Problem::forbidden(
            "only services of the platform may do this",
        )),
    }
}
