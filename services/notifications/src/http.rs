//! The REST interface of the mailbox.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use chassis::auth::{Admin, Caller, Trusted};
use chassis::{Cursor, Json, Limit, Page, PageQuery, Path, Problem, Query, Result, described};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::account_mail::{Undelivered, UndeliveredMail};
use crate::clock::Clock;
use crate::notification::Notification;
use crate::store::{Position, Reopened, Shelf, Store};

/// The OpenAPI description of this service.
const DESCRIPTION: &str = include_str!("../openapi.json");
/// Largest number of dead letters that one request sends again.
const RETRIED_AT_ONCE: usize = 100;

/// Forbids caches to store the links in mails.
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");

/// The state of the handlers.
#[derive(Clone)]
pub struct Mailbox {
    /// The notifications.
    pub store: Store,
    /// The clock.
    pub clock: Clock,
    /// Wakes the sender.
    pub kept: Arc<Notify>,
    /// The mails about accounts that were not sent because there is no mail server.
    pub undelivered: Undelivered,
}

/// The query parameters of the list.
#[derive(Debug, Deserialize)]
struct ListQuery {
    /// Restricts the list to this user's notifications.
    user_id: Option<u64>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<Cursor>,
}

/// The mail about accounts that was not delivered; always one page.
#[derive(Serialize)]
struct UndeliveredPage {
    items: Vec<UndeliveredMail>,
    next: Option<String>,
}

/// The answer to a retry of dead letters.
#[derive(Debug, Serialize)]
struct Retried {
    /// Number of notifications that were reopened.
    retried: usize,
}

/// Returns the routes of this service.
pub fn router(mailbox: Mailbox) -> Router {
    let routes = Router::new()
        .route("/notifications", get(list))
        .route("/notifications/account-mail", get(undelivered))
        .route("/notifications/retry", post(retry_dead))
        .route("/notifications/{id}/retry", post(retry))
        .with_state(mailbox);
    described(routes, DESCRIPTION)
}

async fn list(
    caller: Caller,
    State(mailbox): State<Mailbox>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Notification>>> {
    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };
    let after: Option<Position> = page.after()?;
    let one_more = page.limit.items() + 1;

    let found = match caller.whose(query.user_id)? {
        Some(user_id) => {
            mailbox
                .store
                .of_user(user_id, after.as_ref(), one_more)
                .await?
        }
        None => {
            mailbox
                .store
                .all(after.as_ref(), one_more, mailbox.clock.now())
                .await?
        }
    };

    Ok(Json(Page::cut(found, page.limit, Position::after)))
}

/// Returns the mail about accounts that this replica would have sent if there were a mail server,
/// newest first.
async fn undelivered(_: Admin, State(mailbox): State<Mailbox>) -> impl IntoResponse {
    let page = UndeliveredPage {
        items: mailbox.undelivered.newest_first(),
        next: None,
    };
    ([(header::CACHE_CONTROL, NOT_KEPT)], Json(page))
}

/// Reopens a notification that was given up or skipped, or makes a pending one due at once.
async fn retry(
    _: Trusted,
    State(mailbox): State<Mailbox>,
    Path(id): Path<Uuid>,
) -> Result<Json<Notification>> {
    let now = mailbox.clock.now();
    let notification = match mailbox.store.reopen(id, now).await? {
        Reopened::To(notification) => *notification,
        Reopened::NotFrom(status) => {
            let detail = format!("a notification that is {} is not sent again", status.name());
            return Err(Problem::conflict(detail).field("status"));
        }
        Reopened::Gone => return Err(Problem::not_found("there is no such notification")),
    };

    if !mailbox.store.make_due(id, now).await? {
        return Err(Problem::conflict("its event is no longer stored here"));
    }

    mailbox.kept.notify_one();
    Ok(Json(notification))
}

/// Reopens dead letters, at most [`RETRIED_AT_ONCE`]. A further request reopens the next ones.
async fn retry_dead(_: Trusted, State(mailbox): State<Mailbox>) -> Result<Json<Retried>> {
    let now = mailbox.clock.now();
    let mut retried = 0;
    for errand in mailbox
        .store
        .errands(Shelf::Dead, now, RETRIED_AT_ONCE)
        .await?
    {
        let is_open = matches!(
            mailbox.store.reopen(errand.event_id, now).await?,
            Reopened::To(_)
        );
        if is_open && mailbox.store.make_due(errand.event_id, now).await? {
            retried += 1;
        }
    }

    mailbox.kept.notify_one();
    Ok(Json(Retried { retried }))
}
