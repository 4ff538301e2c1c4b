//! The routes of the users service.

mod access;
mod addresses;
mod client;
mod keeping;
mod mail;
mod proof;
mod second_factor;
mod sessions;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post, put};
use chassis::auth::{Admin, Caller};
use chassis::{Json, Page, PageQuery, Path, Problem, Query, Result, described};
use client::Client;
use events::Timestamp;

use crate::attempts::Attempts;
use crate::password::Hasher;
use crate::session::Sessions;
use crate::store::{Store, StoreError};
use crate::user::{Closing, NewUser, User, UserChange};

/// The service's description, in OpenAPI.
const DESCRIPTION: &str = include_str!("../openapi.json");

/// The state that the handlers share.
#[derive(Clone)]
pub struct Users {
    pub store: Store,
    pub hasher: Arc<Hasher>,
    pub sessions: Sessions,
    pub attempts: Arc<Attempts>,
    /// `true` if authentication is off. If it is on, a sign-up needs a password: without one, the account could not be
    /// used.
    pub is_open: bool,
    /// The address of the shop, with which the links in mail begin.
    pub shop_url: Arc<str>,
}

pub fn routes(users: Users) -> Router {
    let routes = Router::new()
        .route("/users", get(list).post(create))
        .route("/users/{id}", get(show).patch(change).delete(remove))
        .route("/users/{id}/password", put(access::set_password))
        .route(
            "/users/{id}/second-factor",
            get(second_factor::show)
                .post(second_factor::offer)
                .delete(second_factor::remove),
        )
        .route(
            "/users/{id}/second-factor/confirmation",
            post(second_factor::confirm),
        )
        .route("/users/{id}/verification", post(addresses::verify))
        .route(
            "/users/{id}/verification-mail",
            post(addresses::send_verification),
        )
        .route("/users/forgotten-password", post(addresses::forgotten))
        .route("/users/password-reset", post(addresses::reset))
        .route("/account-mail/take", post(mail::take))
        .route("/account-mail/{id}/settled", post(mail::settled))
        .route("/users/login", post(access::log_in))
        .route("/users/refresh", post(access::refresh))
        .route("/users/logout", post(access::log_out))
        .route(
            "/users/{id}/sessions",
            get(sessions::list).delete(sessions::end_all),
        )
        .route("/users/{id}/sessions/{session}", delete(sessions::end))
        .route("/.well-known/jwks.json", get(access::keys))
        .route("/.well-known/token-epochs.json", get(access::epochs))
        .with_state(users);
    described(routes, DESCRIPTION)
}

type Created = (StatusCode, [(HeaderName, String); 1], Json<User>);

async fn create(
    client: Client,
    State(users): State<Users>,
    Json(mut new): Json<NewUser>,
) -> Result<Created> {
    let hash = match new.password.take() {
        Some(password) => {
            let about = [new.email.as_str().to_owned(), new.name.as_str().to_owned()];
            let turn = users.hasher.turn(client.as_stranger()).await?;
            let hashed = users.hasher.hash(turn, password, &about).await;
            Some(hashed.map_err(|refused| refused.blaming("password"))?)
        }
        None if !users.is_open => return Err(password_needed()),
        None => None,
    };

    let user = users
        .store
        .insert(&new, hash.as_deref(), Timestamp::now())
        .await?;

    users
        .store
        .remember_clients(user.id, &client.names(), user.created_at)
        .await?;

    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, format!("/users/{}", user.id))],
        Json(user),
    ))
}

async fn list(
    _: Admin,
    State(users): State<Users>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<User>>> {
    let after = query.after()?.unwrap_or(0);
    let found = users.store.list(after, query.limit).await?;
    Ok(Json(Page::cut(found, query.limit, |user| user.id)))
}

async fn show(
    caller: Caller,
    State(users): State<Users>,
    Path(id): Path<i64>,
) -> Result<Json<User>> {
    if caller != Caller::Service {
        caller.require_user(id)?;
    }

    users
        .store
        .get(id)
        .await?
        .map(Json)
        .ok_or_else(no_such_user)
}

async fn change(
    caller: Caller,
    client: Client,
    State(users): State<Users>,
    Path(id): Path<i64>,
    Json(mut change): Json<UserChange>,
) -> Result<Json<User>> {
    caller.require_user(id)?;
    let password = change.current_password.take();
    if let Some(email) = &change.email
        && !is_admin_for_another(caller, id)
    {
        let found = users.store.credentials(id).await?;
        let credentials = found.ok_or_else(no_such_user)?;
        // The owner of an address can set a new password by mail, so a change of the address needs the password.
        if credentials.email != email.as_str() {
            proof::require_current_password(&users, &client, &credentials, password).await?;
            addresses::count_mail(&users, &client)?;
            tracing::info!(target: "security", event = "address_stated", user_id = id);
        }
    }

    users
        .store
        .update(id, change, Timestamp::now())
        .await?
        .map(Json)
        .ok_or_else(no_such_user)
}

/// Closes an account, which cannot be undone. An access token does not suffice, because it may be stolen: the owner's
/// password is needed, too.
async fn remove(
    caller: Caller,
    client: Client,
    State(users): State<Users>,
    Path(id): Path<i64>,
    closing: Option<Json<Closing>>,
) -> Result<impl IntoResponse> {
    caller.require_user(id)?;
    if !is_admin_for_another(caller, id) {
        let found = users.store.credentials(id).await?;
        let credentials = found.ok_or_else(no_such_user)?;
        let given = closing.and_then(|Json(closing)| closing.current_password);
        proof::require_current_password(&users, &client, &credentials, given)
            .await
            .inspect_err(|_| {
                let network = &client.network;
                tracing::info!(target: "security", event = "closing_refused", user_id = id, %network);
            })?;
    }

    let existed = users.store.end(id, Timestamp::now()).await?;
    if !existed {
        return Err(no_such_user());
    }

    tracing::info!(target: "security", event = "account_closed", user_id = id);
    Ok(StatusCode::NO_CONTENT)
}

/// Returns whether the caller is an admin and the account is another user's. Such an admin does not have the account's
/// password.
fn is_admin_for_another(caller: Caller, id: i64) -> bool {
    matches!(caller, Caller::User { id: own, is_admin: true } if own != id)
}

fn password_needed() -> Problem {
    Problem::unprocessable("a password is needed to log in").field("password")
}

fn no_such_user() -> Problem {
    Problem::not_found("there is no such user")
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::EmailTaken => {
                Self::conflict("another account has verified this e-mail address").field("email")
            }
            StoreError::HasOrders => Self::conflict("a user who has ordered cannot be deleted"),
            StoreError::Sql(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests;
