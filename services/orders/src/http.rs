//! The routes of the orders service.

mod minutes;
mod payments;
mod sales;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chassis::auth::Caller;
use chassis::{Cursor, Json, Limit, Page, Path, Problem, Query, Result, TraceParent, described};
use events::Timestamp;
use serde::Deserialize;
use tokio::sync::Notify;
use tracing::Instrument;

use crate::idempotency::IdempotencyKey;
use crate::order::{NewOrder, Order};
use crate::place::{Placed, Placing};
use crate::settle::Settling;
use crate::status::Status;
use crate::store::{Changed, Reply};

/// The OpenAPI description of the service.
const DESCRIPTION: &str = include_str!("../openapi.json");
/// Marks a reply as that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The state shared by the handlers.
#[derive(Clone)]
pub struct Orders {
    pub placing: Placing,
    pub settling: Settling,
    /// Wakes the relay.
    pub written: Arc<Notify>,
}

pub fn routes(orders: Orders) -> Router {
    let routes = Router::new()
        .route("/orders", get(list).post(create))
        .route("/orders/minutes", get(minutes::list))
        .route("/orders/sales", get(sales::list))
        .route("/orders/payments/events", post(payments::report))
        .route("/orders/{id}", get(show).patch(change))
        .route(
            "/orders/{id}/payments",
            get(payments::list).post(payments::create),
        )
        .with_state(orders);
    described(routes, DESCRIPTION)
}

#[derive(Deserialize)]
struct ListQuery {
    user_id: Option<i64>,
    status: Option<Status>,
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
    caller: Caller,
    State(orders): State<Orders>,
    idempotency_key: Option<IdempotencyKey>,
    trace: Option<TraceParent>,
    Json(new): Json<NewOrder>,
) -> Result<Response> {
    caller.require_user(new.user_id)?;
    // Runs in its own task, so that it is completed even if the client disconnects.
    let placing = async move {
        let placed = orders
            .placing
            .place(&new, idempotency_key, trace.as_ref())
            .await;
        // Wakes the relay even after an error, because the order may have been stored.
        orders.written.notify_one();
        placed
    };

    let reply = match tokio::spawn(placing.in_current_span())
        .await
        .map_err(Problem::internal)??
    {
        Placed::Now(reply) => created(reply)?,
        Placed::Before(reply) => ([(REPLAYED, "true")], created(reply)?).into_response(),
    };
    Ok(reply)
}

fn created(reply: Reply) -> Result<Response> {
    let order: Order = serde_json::from_str(&reply.0).map_err(Problem::internal)?;
    let headers = [
        (header::LOCATION, format!("/orders/{}", order.id)),
        (header::CONTENT_TYPE, "application/json".into()),
    ];
    Ok((StatusCode::CREATED, headers, reply.0).into_response())
}

async fn list(
    caller: Caller,
    State(orders): State<Orders>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Order>>> {
    let user_id = caller.whose(query.user_id)?;
    let before = query
        .cursor
        .map_or(Ok(i64::MAX), |cursor| cursor.decode())?;

    let found = orders
        .placing
        .store
        .list(user_id, query.status, before, query.limit)
        .await?;
    Ok(Json(Page::cut(found, query.limit, |order| order.id)))
}

async fn show(
    caller: Caller,
    State(orders): State<Orders>,
    Path(id): Path<i64>,
) -> Result<Json<Order>> {
    orders.get(id, caller).await.map(Json)
}

async fn change(
    caller: Caller,
    State(orders): State<Orders>,
    Path(id): Path<i64>,
    Json(change): Json<StatusChange>,
) -> Result<Json<Order>> {
    orders.check_change(id, caller, change.status).await?;
    if change.status == Status::Expired {
        let detail = "an order expires by itself when it is not paid in time; cancel it instead";
        return Err(Problem::conflict(detail).field("status"));
    }

    match orders
        .placing
        .store
        .set_status(id, change.status, Timestamp::now())
        .await?
    {
        Changed::To(order) => {
            orders.placing.stock.release_soon();
            orders.settling.due.notify_one();
            orders.written.notify_one();
            Ok(Json(*order))
        }
        Changed::NotPaid => {
            let detail = "an order that was not paid cannot be refunded";
            Err(Problem::conflict(detail).field("status"))
        }
        Changed::NotFrom(current) => {
            let detail = format!(
                "an order that is {} cannot become {}",
                current.name(),
                change.status.name()
            );
            Err(Problem::conflict(detail).field("status"))
        }
        Changed::NoOrder => Err(no_such_order()),
    }
}

impl Orders {
    /// Returns an order that the caller may see. To other callers the order does not exist.
    async fn get(&self, id: i64, caller: Caller) -> Result<Order> {
        let order = self.placing.store.get(id).await?;
        order
            .filter(|order| caller.may_act_for(order.user_id))
            .ok_or_else(no_such_order)
    }

    /// Returns an error unless the caller may make this change. Unrestricted callers may make any
    /// change; the order's user may only cancel it.
    async fn check_change(&self, id: i64, caller: Caller, next: Status) -> Result<()> {
        if caller.is_unrestricted() {
            return Ok(());
        }

        self.get(id, caller).await?;
        if next == Status::Cancelled {
            return Ok(());
        }

        Err(Problem::forbidden("the owner of an order may only cancel it").field("status"))
    }
}

fn no_such_order() -> Problem {
    Problem::not_found("there is no such order")
}
