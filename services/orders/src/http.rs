//! The routes of the orders service.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chassis::{Cursor, Json, Limit, Page, Path, Problem, Query, Result, TraceParent};
use events::Timestamp;
use serde::Deserialize;
use tokio::sync::Notify;
use tracing::Instrument;

use crate::idempotency::IdempotencyKey;
use crate::minutes;
use crate::order::{NewOrder, Order, Status};
use crate::place::{Placed, Placing};
use crate::store::{Changed, Reply};

/// What the service offers, in OpenAPI.
const DESCRIPTION: &str = include_str!("../openapi.json");
/// Says that a reply is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What the handlers share.
#[derive(Clone)]
pub struct Orders {
    pub placing: Placing,
    /// Wakes the relay.
    pub written: Arc<Notify>,
}

pub fn routes(orders: Orders) -> Router {
    Router::new()
        .route("/orders", get(list).post(create))
        .route("/orders/minutes", get(minutes::list))
        .route("/orders/{id}", get(show).patch(change))
        .route("/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION)))
        .with_state(orders)
}

#[derive(Deserialize)]
struct ListQuery {
    user_id: Option<i64>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<Cursor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusChange {
    status: Status,
}

async fn create(
    State(orders): State<Orders>,
    idempotency_key: Option<IdempotencyKey>,
    trace: Option<TraceParent>,
    Json(new): Json<NewOrder>,
) -> Result<Response> {
    // On a task of its own: a client that hangs up cannot stop it half-way.
    let placing = async move {
        let placed = orders.placing.place(&new, idempotency_key, trace.as_ref()).await;
        orders.written.notify_one();
        placed
    };
    let reply = match tokio::spawn(placing.in_current_span()).await.map_err(Problem::internal)?? {
        Placed::Now(reply) => created(reply)?,
        Placed::Before(reply) => ([(REPLAYED, "true")], created(reply)?).into_response(),
    };
    Ok(reply)
}

fn created(reply: Reply) -> Result<Response> {
    let order: Order = serde_json::from_str(&reply.0).map_err(Problem::internal)?;
    let headers =
        [(header::LOCATION, format!("/orders/{}", order.id)), (header::CONTENT_TYPE, "application/json".into())];
    Ok((StatusCode::CREATED, headers, reply.0).into_response())
}

async fn list(State(orders): State<Orders>, Query(query): Query<ListQuery>) -> Result<Json<Page<Order>>> {
    let before = query.cursor.map_or(Ok(i64::MAX), |cursor| cursor.decode())?;
    let found = orders.placing.store.list(query.user_id, before, query.limit).await?;
    Ok(Json(Page::cut(found, query.limit, |order| order.id)))
}

async fn show(State(orders): State<Orders>, Path(id): Path<i64>) -> Result<Json<Order>> {
    orders.placing.store.get(id).await?.map(Json).ok_or_else(no_such_order)
}

async fn change(
    State(orders): State<Orders>,
    Path(id): Path<i64>,
    Json(change): Json<StatusChange>,
) -> Result<Json<Order>> {
    match orders.placing.store.set_status(id, change.status, Timestamp::now()).await? {
        Changed::To(order) => {
            orders.placing.stock.release_soon();
            Ok(Json(order))
        }
        Changed::NotFrom(current) => {
            let detail = format!("an order that is {} cannot become {}", current.name(), change.status.name());
            Err(Problem::conflict(detail).field("status"))
        }
        Changed::NoOrder => Err(no_such_order()),
    }
}

fn no_such_order() -> Problem {
    Problem::not_found("there is no such order")
}
