//! The REST interface of the mailbox.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::routing::get;
use chassis::{Cursor, Json, Limit, Page, PageQuery, Problem, Query, Result};
use events::Timestamp;
use serde::Deserialize;

use crate::notification::Notification;
use crate::store::{Position, Store, StoreError};

/// What this service offers, in OpenAPI.
const DESCRIPTION: &str = include_str!("../openapi.json");

/// The query of the list.
#[derive(Debug, Deserialize)]
struct ListQuery {
    /// Only this user's.
    user_id: Option<u64>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<Cursor>,
}

/// The routes of this service.
pub fn router(store: Store) -> Router {
    Router::new()
        .route("/notifications", get(list))
        .route("/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION)))
        .with_state(store)
}

async fn list(State(store): State<Store>, Query(query): Query<ListQuery>) -> Result<Json<Page<Notification>>> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor };
    let after: Option<Position> = page.after()?;
    let one_more = page.limit.items() + 1;
    let found = match query.user_id {
        Some(user_id) => store.of_user(user_id, after.as_ref(), one_more).await?,
        None => store.all(after.as_ref(), one_more, Timestamp::now()).await?,
    };
    Ok(Json(Page::cut(found, page.limit, Position::after)))
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unreadable(error) => Self::internal(error),
            error @ StoreError::DynamoDb(_) => {
                tracing::warn!(%error, "a request failed");
                Self::unavailable("the notifications cannot be reached")
            }
        }
    }
}
