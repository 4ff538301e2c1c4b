//! Checks that a caller has the password of an account.

use std::time::Instant;

use chassis::{Problem, Result};

use super::Users;
use super::client::Client;
use crate::attempts::{Guess, Guesser};
use crate::password::Waiter;
use crate::store::Credentials;
use crate::user::Password;

/// Compares a password, unless there were too many attempts. The guess is counted when its hash begins; one that is
/// refused or abandoned before is not counted.
pub(super) async fn is_password(
    users: &Users,
    client: &Client,
    guess: &Guess,
    password: Password,
    hash: Option<String>,
) -> Result<bool> {
    let refused = |wait| Problem::too_many_requests("too many attempts to log in", wait);
    users
        .attempts
        .admits(guess, Instant::now())
        .map_err(refused)?;

    let waiter = Waiter {
        network: client.network,
        is_known: matches!(guess.by, Guesser::Known(_)),
    };
    let turn = users.hasher.turn(waiter).await?;

    users
        .attempts
        .count(guess, Instant::now())
        .map_err(refused)?;

    let is_right = users.hasher.verify(turn, password, hash).await?;
    if is_right {
        users.attempts.forgive(guess);
    }

    Ok(is_right)
}

/// Requires the current password of an account that has one. Guesses are counted.
pub(super) async fn require_current_password(
    users: &Users,
    client: &Client,
    credentials: &Credentials,
    given: Option<Password>,
) -> Result<()> {
    let Some(hash) = &credentials.password_hash else {
        return Ok(());
    };
    let missing =
        || Problem::unprocessable("the current password is needed").field("current_password");
    let given = given.ok_or_else(missing)?;

    let guess = Guess {
        account: format!("id {}", credentials.id),
        by: Guesser::Known("token".to_owned()),
    };
    if is_password(users, client, &guess, given, Some(hash.clone())).await? {
        return Ok(());
    }
    Err(Problem::forbidden("the current password is not right").field("current_password"))
}
