//! The verification of e-mail addresses, and the reset of a forgotten password.
//!
//! Requests for mail have the same answer and do the same work whether the address has an account or not: each stores a
//! mail, and its content is decided later ([`crate::mail`]).
//!
//! A token proves that its bearer reads the mail of an address. To verify the address of an account, its session is
//! needed, too. Otherwise a person who has not signed up could confirm a stranger's account by opening the link in such
//! a mail.

use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use chassis::auth::Caller;
use chassis::{Json, Path, Problem, Result};
use events::Timestamp;
use serde::Deserialize;

use super::client::Client;
use super::{Users, no_such_user};
use crate::mail::MailKind;
use crate::store::addresses::Shown;
use crate::user::{Email, NewPassword, User};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Verification {
    token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForgottenPassword {
    email: Email,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordReset {
    token: String,
    new_password: NewPassword,
}

/// Verifies the address of an account by the token that was sent there.
pub(super) async fn verify(
    caller: Caller,
    State(users): State<Users>,
    Path(id): Path<i64>,
    Json(shown): Json<Verification>,
) -> Result<Json<User>> {
    caller.require_user(id)?;
    let verified = users
        .store
        .verify_address(id, &shown.token, Timestamp::now());

    match verified.await?.ok_or_else(no_such_user)? {
        Shown::Accepted(user) => {
            tracing::info!(target: "security", event = "address_verified", user_id = id);
            Ok(Json(user))
        }
        Shown::Refused => Err(refused(Some(id))),
    }
}

/// Sends the mail to verify an address again, unless the address is verified already.
pub(super) async fn send_verification(
    caller: Caller,
    client: Client,
    State(users): State<Users>,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    caller.require_user(id)?;
    let user = users.store.get(id).await?.ok_or_else(no_such_user)?;
    if user.verified_email.as_ref() == Some(&user.email) {
        return Ok(StatusCode::ACCEPTED);
    }

    count_mail(&users, &client)?;
    users
        .store
        .put_mail(MailKind::VerifyAddress, &user.email, Timestamp::now())
        .await?;
    Ok(StatusCode::ACCEPTED)
}

/// Sends a link to set another password, if an account holds the address.
pub(super) async fn forgotten(
    client: Client,
    State(users): State<Users>,
    Json(forgotten): Json<ForgottenPassword>,
) -> Result<StatusCode> {
    count_mail(&users, &client)?;
    tracing::info!(target: "security", event = "password_reset_requested", network = %client.network);

    let email = forgotten.email.as_str();
    users
        .store
        .put_mail(MailKind::ResetPassword, email, Timestamp::now())
        .await?;
    Ok(StatusCode::ACCEPTED)
}

/// Sets a password by the token that was sent to the account's address. A request without a valid token does not wait
/// for a turn to hash.
pub(super) async fn reset(
    client: Client,
    State(users): State<Users>,
    Json(shown): Json<PasswordReset>,
) -> Result<StatusCode> {
    let now = Timestamp::now();
    let found = users.store.credentials_of_token(&shown.token, now).await?;
    let account = found.ok_or_else(|| refused(None))?;

    let turn = users.hasher.turn(client.as_stranger()).await?;
    let about = [account.email.clone(), account.name.clone()];
    let hashed = users.hasher.hash(turn, shown.new_password, &about).await;
    let hash = hashed.map_err(|refused| refused.blaming("new_password"))?;

    let reset = users
        .store
        .reset_password(&shown.token, &account, &hash, now);
    if !reset.await? {
        return Err(refused(Some(account.id)));
    }

    tracing::info!(target: "security", event = "password_reset", user_id = account.id, network = %client.network);
    Ok(StatusCode::NO_CONTENT)
}

/// Counts a request that sends mail to an address of the caller's choice.
pub(super) fn count_mail(users: &Users, client: &Client) -> Result<()> {
    let refused = |wait| Problem::too_many_requests("too many requests for mail", wait);
    users
        .attempts
        .count_mail(client.network, Instant::now())
        .map_err(refused)
}

fn refused(user_id: Option<i64>) -> Problem {
    tracing::info!(target: "security", event = "mail_token_refused", user_id);
    Problem::unprocessable(
        "the link was already used, has expired or is incomplete; request another one",
    )
    .field("token")
}
