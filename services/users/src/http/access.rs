//! Log-in, log-out, and passwords.
//!
//! The answer and its duration are the same for an unknown address, an account without a password, and a wrong
//! password.
//!
//! Several accounts may state the same unverified address. Such an account can log in only from clients from which it
//! was used before, such as the one that signed up; otherwise a log-in would reveal which account was first. For such a
//! client, the password is compared with that account first, and then as for everybody else. The duration of a failed
//! log-in therefore depends only on the client.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use chassis::auth::Caller;
use chassis::{Json, Path, Problem, Result, SecurityEvent};
use events::Timestamp;
use serde::Deserialize;

use super::client::Client;
use super::keeping::{Keeping, Shown};
use super::{Users, no_such_user, proof, second_factor};
use crate::attempts::{Guess, Guesser};
use crate::second_factor::Code;
use crate::session::SessionError;
use crate::store::Credentials;
use crate::user::{Email, NewPassword, Password};

/// The value of `Cache-Control` for the keys: verifiers may cache them for five minutes.
const KEYS_KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// An id that no account has.
const NOBODY: i64 = 0;

const EPOCHS_KEPT: HeaderValue = HeaderValue::from_static("no-store");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogIn {
    email: Email,
    password: Password,
    /// Needed if the account has a second factor.
    code: Option<Code>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    /// May be absent only if the user has no password yet.
    current_password: Option<Password>,
    new_password: NewPassword,
}

pub(super) async fn log_in(
    keeping: Keeping,
    mut client: Client,
    State(users): State<Users>,
    Json(log_in): Json<LogIn>,
) -> Result<impl IntoResponse> {
    let code = log_in.code.clone();
    let Some(user) = authenticate(&users, &client, log_in).await? else {
        return Err(Problem::unauthorized(
            "the e-mail address or the password is not right",
        ));
    };

    second_factor::require(&users, &client, user.id, code).await?;
    let now = Timestamp::now();
    let device = client
        .give_device(keeping)
        .map(|cookie| AppendHeaders([(header::SET_COOKIE, cookie)]));

    users
        .store
        .remember_clients(user.id, &client.names(), now)
        .await?;

    tracing::info!(target: "security", event = "logged_in", user_id = user.id, network = %client.network);
    let tokens = users
        .sessions
        .begin(user.id, &client.used_from(), now)
        .await?;

    Ok((
        device,
        keeping.answer(tokens, users.sessions.refresh_life()),
    ))
}

/// Returns the account with this address and password; none if they do not match.
async fn authenticate(users: &Users, client: &Client, given: LogIn) -> Result<Option<Credentials>> {
    let names = client.names();
    let stated = users.store.credentials_of_stated(&given.email, &names);
    if let Some((account, known)) = stated.await? {
        let guess = Guess {
            account: format!("stated by {}", account.id),
            by: Guesser::Known(known),
        };

        let hash = account.password_hash.clone();
        if proof::is_password(users, client, &guess, given.password.clone(), hash).await? {
            return Ok(Some(account));
        }
    }

    let account = users.store.credentials_of(&given.email).await?;
    let guess = Guess {
        account: given.email.as_str().to_owned(),
        by: guesser(users, client, account.as_ref()).await?,
    };

    let hash = account
        .as_ref()
        .and_then(|found| found.password_hash.clone());
    let is_right = proof::is_password(users, client, &guess, given.password, hash).await?;
    let user_id = account.as_ref().map(|account| account.id);

    if !is_right {
        tracing::info!(target: "security", event = "log_in_failed", user_id, network = %client.network);
        client.events.count(SecurityEvent::LogInFailed);
    }
    Ok(account.filter(|_| is_right))
}

/// Returns the guesser of a log-in: a client known to the account, or a stranger. If there is no account, the same
/// query runs, and every client is a stranger.
async fn guesser(users: &Users, client: &Client, account: Option<&Credentials>) -> Result<Guesser> {
    let account_id = account.map_or(NOBODY, |account| account.id);
    let known = users
        .store
        .known_client(account_id, &client.names())
        .await?;
    Ok(known.map_or(Guesser::Stranger(client.network), Guesser::Known))
}

pub(super) async fn refresh(
    keeping: Keeping,
    client: Client,
    State(users): State<Users>,
    Shown(token): Shown,
) -> Result<impl IntoResponse> {
    let token = token.ok_or(SessionError::Refused)?;
    let from = client.used_from();
    let refreshed = users.sessions.refresh(&token, &from, Timestamp::now());
    let refreshed = refreshed.await;
    if matches!(refreshed, Err(SessionError::Reused)) {
        client.events.count(SecurityEvent::RefreshTokenReused);
    }

    let tokens = refreshed?;
    Ok(keeping.answer(tokens, users.sessions.refresh_life()))
}

pub(super) async fn log_out(
    keeping: Keeping,
    State(users): State<Users>,
    Shown(token): Shown,
) -> Result<impl IntoResponse> {
    if let Some(token) = token {
        users.sessions.end(&token, Timestamp::now()).await?;
    }
    Ok((StatusCode::NO_CONTENT, keeping.farewell(), ()))
}

/// Sets a password and ends every session of the user, who then logs in with the new password.
pub(super) async fn set_password(
    caller: Caller,
    client: Client,
    State(users): State<Users>,
    Path(id): Path<i64>,
    Json(change): Json<PasswordChange>,
) -> Result<StatusCode> {
    caller.require_user(id)?;
    let credentials = users
        .store
        .credentials(id)
        .await?
        .ok_or_else(no_such_user)?;

    proof::require_current_password(&users, &client, &credentials, change.current_password).await?;
    let turn = users.hasher.turn(client.as_stranger()).await?;
    let about = [credentials.email.clone(), credentials.name.clone()];
    let hashed = users.hasher.hash(turn, change.new_password, &about).await;
    let hash = hashed.map_err(|refused| refused.blaming("new_password"))?;

    let now = Timestamp::now();
    match users.store.set_password(&credentials, &hash, now).await? {
        true => {
            tracing::info!(target: "security", event = "password_changed", user_id = id);
            Ok(StatusCode::NO_CONTENT)
        }
        false => Err(Problem::conflict(
            "the password was changed by another request",
        )),
    }
}

/// Returns the epochs of tokens, for the other services. The gateway does not route to it.
pub(super) async fn epochs(State(users): State<Users>) -> Result<impl IntoResponse> {
    let epochs = users.sessions.keys().epochs(Timestamp::now()).await?;
    Ok(([(header::CACHE_CONTROL, EPOCHS_KEPT)], Json(epochs)))
}

pub(super) async fn keys(State(users): State<Users>) -> Result<impl IntoResponse> {
    let keys = users.sessions.keys().published(Timestamp::now()).await?;
    Ok(([(header::CACHE_CONTROL, KEYS_KEPT)], Json(keys)))
}
