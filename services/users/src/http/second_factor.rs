//! The second factor: its enrolment, its removal, and its part in a log-in.
//!
//! ```text
//! POST …/second-factor              the password          ──▶ secret, shown once
//! POST …/second-factor/confirmation a code of the secret  ──▶ recovery codes, shown once; every session ends
//! POST /users/login                 password and code     ──▶ session
//! DELETE …/second-factor            password and code, or an admin for another's account
//! ```
//!
//! A log-in needs a code only if the account has confirmed a factor, and the password is checked before. Codes are
//! guessed against an allowance of the account, because a guesser who comes this far has its password.

use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use chassis::auth::Caller;
use chassis::{Json, Path, Problem, Result, SecurityEvent};
use events::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::{Users, is_admin_for_another, no_such_user, proof};
use crate::second_factor::{Code, SharedSecret, recovery_codes};
use crate::store::second_factors::SecondFactor;
use crate::token;
use crate::user::{Closing, Password};

/// The state of an account's second factor.
#[derive(Serialize)]
pub(super) struct FactorState {
    /// None if there is none.
    confirmed_at: Option<Timestamp>,
    recovery_codes_left: i64,
}

/// A secret to be confirmed; it is shown once.
#[derive(Serialize)]
pub(super) struct OfferedSecret {
    secret: String,
    link: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmation {
    code: Code,
}

/// The recovery codes; they are shown once.
#[derive(Serialize)]
pub(super) struct Confirmed {
    recovery_codes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    current_password: Option<Password>,
    code: Option<Code>,
}

/// `GET /users/{id}/second-factor`.
pub(super) async fn show(
    caller: Caller,
    State(users): State<Users>,
    Path(id): Path<i64>,
) -> Result<Json<FactorState>> {
    caller.require_user(id)?;
    let factor = users.store.second_factor(id).await?;
    let confirmed_ms = factor.and_then(|factor| factor.confirmed_at_ms);
    Ok(Json(FactorState {
        confirmed_at: confirmed_ms.map(instant).transpose()?,
        recovery_codes_left: users.store.recovery_codes_left(id).await?,
    }))
}

/// `POST /users/{id}/second-factor`. An admin sets none for another account, whose owner would be locked out.
pub(super) async fn offer(
    caller: Caller,
    client: Client,
    State(users): State<Users>,
    Path(id): Path<i64>,
    Json(body): Json<Closing>,
) -> Result<(StatusCode, Json<OfferedSecret>)> {
    caller.require_user(id)?;
    if is_admin_for_another(caller, id) {
        return Err(Problem::forbidden("only its owner sets a second factor"));
    }

    let found = users.store.credentials(id).await?;
    let credentials = found.ok_or_else(no_such_user)?;
    if credentials.password_hash.is_none() {
        return Err(Problem::conflict("set a password first"));
    }
    proof::require_current_password(&users, &client, &credentials, body.current_password).await?;

    let secret = SharedSecret::generate(&credentials.email);
    let text = secret.to_base32();
    if !users.store.offer_second_factor(id, &text).await? {
        let detail = "the account has a second factor; remove it first";
        return Err(Problem::conflict(detail));
    }

    let link = secret.link().map_err(Problem::internal)?;
    Ok((
        StatusCode::CREATED,
        Json(OfferedSecret { secret: text, link }),
    ))
}

/// `POST /users/{id}/second-factor/confirmation`.
pub(super) async fn confirm(
    caller: Caller,
    client: Client,
    State(users): State<Users>,
    Path(id): Path<i64>,
    Json(confirmation): Json<Confirmation>,
) -> Result<Json<Confirmed>> {
    caller.require_user(id)?;
    if is_admin_for_another(caller, id) {
        return Err(Problem::forbidden("only its owner sets a second factor"));
    }

    let factor = users.store.second_factor(id).await?;
    let offered = factor.filter(|factor| factor.confirmed_at_ms.is_none());
    let offered = offered.ok_or_else(no_factor)?;
    count(&users, id)?;

    let now = Timestamp::now();
    let Some(step) = step_of(&offered, &confirmation.code, now)? else {
        return Err(refuse(&client, id, Problem::unprocessable));
    };

    let codes = recovery_codes();
    let hashes: Vec<String> = codes.iter().map(|code| token::hash(code)).collect();
    let confirmed = (offered.secret.as_str(), step);
    let is_first = users
        .store
        .confirm_second_factor(id, confirmed, &hashes, now);
    if !is_first.await? {
        return Err(Problem::conflict("another request confirmed it"));
    }

    tracing::info!(target: "security", event = "second_factor_set", user_id = id);
    Ok(Json(Confirmed {
        recovery_codes: codes,
    }))
}

/// `DELETE /users/{id}/second-factor`. An admin removes the one of another, who has lost the app and the recovery codes.
pub(super) async fn remove(
    caller: Caller,
    client: Client,
    State(users): State<Users>,
    Path(id): Path<i64>,
    removal: Option<Json<Removal>>,
) -> Result<StatusCode> {
    caller.require_user(id)?;
    if !is_admin_for_another(caller, id) {
        let found = users.store.credentials(id).await?;
        let credentials = found.ok_or_else(no_such_user)?;
        let given = removal.map(|Json(removal)| (removal.current_password, removal.code));
        let (password, code) = given.unwrap_or_default();
        proof::require_current_password(&users, &client, &credentials, password).await?;
        require(&users, &client, id, code).await?;
    }

    if !users.store.remove_second_factor(id).await? {
        return Err(no_factor());
    }
    tracing::info!(target: "security", event = "second_factor_removed", user_id = id);
    Ok(StatusCode::NO_CONTENT)
}

/// Requires a code of an account that has confirmed a second factor, and uses it up. The password was given before.
pub(super) async fn require(
    users: &Users,
    client: &Client,
    id: i64,
    code: Option<Code>,
) -> Result<()> {
    let factor = users.store.second_factor(id).await?;
    let Some(factor) = factor.filter(|factor| factor.confirmed_at_ms.is_some()) else {
        return Ok(());
    };
    let code = code.ok_or_else(|| {
        Problem::unauthorized("the code of the second factor is needed").field("code")
    })?;

    count(users, id)?;
    if is_good(users, id, &factor, &code).await? {
        users.attempts.forgive_code(id);
        return Ok(());
    }
    Err(refuse(client, id, Problem::unauthorized))
}

/// Returns whether the code is one of now that was not used, or a recovery code; and uses it up.
async fn is_good(users: &Users, id: i64, factor: &SecondFactor, code: &Code) -> Result<bool> {
    if let Some(step) = step_of(factor, code, Timestamp::now())? {
        return Ok(users.store.use_step(id, step).await?);
    }

    let is_recovery = users.store.use_recovery_code(id, &code.hash()).await?;
    if is_recovery {
        tracing::info!(target: "security", event = "recovery_code_used", user_id = id);
    }
    Ok(is_recovery)
}

fn step_of(factor: &SecondFactor, code: &Code, now: Timestamp) -> Result<Option<u64>> {
    let secret = SharedSecret::of_base32(&factor.secret, "").map_err(Problem::internal)?;
    Ok(secret.step_of(code, now))
}

/// Counts a guess of a code, if it is admitted.
fn count(users: &Users, id: i64) -> Result<()> {
    let refused = |wait| Problem::too_many_requests("too many codes were tried", wait);
    users
        .attempts
        .count_code(id, Instant::now())
        .map_err(refused)
}

fn refuse(client: &Client, id: i64, problem: fn(&'static str) -> Problem) -> Problem {
    tracing::warn!(target: "security", event = "second_factor_refused", user_id = id, network = %client.network);
    client.events.count(SecurityEvent::SecondFactorRefused);
    problem("the code is not right, or was used before").field("code")
}

fn instant(ms: i64) -> Result<Timestamp> {
    let instant = u64::try_from(ms).ok().and_then(Timestamp::from_ms);
    instant.ok_or_else(|| Problem::internal(format!("{ms} ms is not an instant")))
}

fn no_factor() -> Problem {
    Problem::conflict("there is no second factor")
}
