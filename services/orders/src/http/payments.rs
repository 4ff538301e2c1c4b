//! The routes of payments.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chassis::auth::{Caller, Trusted};
use chassis::{Json, Page, Path, Problem, Result};
use events::Timestamp;
use serde::Deserialize;
use tracing::Instrument;
use uuid::Uuid;

use super::Orders;
use crate::order::Order;
use crate::payment::{Payment, PaymentStatus};
use crate::settle::SettleError;
use crate::status::Status;
use crate::store::Observed;

/// The most payments of one order. More of them would let a client try stolen cards.
const MAX_PAYMENTS: usize = 10;

/// The body of a request to pay.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPayment {
    token: Token,
}

/// The provider's name for the card or account that pays: 1 to 128 visible ASCII characters.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Token(String);

#[derive(Debug, thiserror::Error)]
#[error("a token has 1 to 128 visible ASCII characters; the payment provider gives it out")]
struct NoToken;

impl TryFrom<String> for Token {
    type Error = NoToken;

    fn try_from(token: String) -> std::result::Result<Self, NoToken> {
        let fits = (1..=128).contains(&token.len());
        (fits && token.bytes().all(|byte| byte.is_ascii_graphic()))
            .then_some(Self(token))
            .ok_or(NoToken)
    }
}

/// The body of a provider's report.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    payment_id: Uuid,
    status: Reported,
    reason: Option<String>,
}

/// A provider's report.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reported {
    Authorised,
    Captured,
    Declined,
    Refunded,
}

impl From<Report> for Observed {
    fn from(report: Report) -> Self {
        match report.status {
            Reported::Authorised => Self::of(PaymentStatus::Authorised),
            Reported::Captured => Self::of(PaymentStatus::Captured),
            Reported::Refunded => Self::of(PaymentStatus::Refunded),
            Reported::Declined => Self::declined(report.reason.as_deref().unwrap_or_default()),
        }
    }
}

/// `GET /orders/{id}/payments`: the payments of an order, the first one first.
pub(super) async fn list(
    caller: Caller,
    State(orders): State<Orders>,
    Path(id): Path<i64>,
) -> Result<Json<Page<Payment>>> {
    orders.get(id, caller).await?;
    let items = orders.placing.store.payments_of(id).await?;
    Ok(Json(Page { items, next: None }))
}

/// `POST /orders/{id}/payments`: pays an order. A payment that the provider decides later gets 202,
/// and one that it declines 422.
pub(super) async fn create(
    caller: Caller,
    State(orders): State<Orders>,
    Path(id): Path<i64>,
    Json(new): Json<NewPayment>,
) -> Result<Response> {
    let order = orders.get(id, caller).await?;
    if order.status != Status::Pending {
        let detail = format!(
            "an order that is {} cannot be paid; only a pending one can",
            order.status.name()
        );
        return Err(Problem::conflict(detail).field("status"));
    }

    let tried = orders.placing.store.payments_of(id).await?.len();
    if tried >= MAX_PAYMENTS {
        let detail = format!("{tried} payments of this order were tried; cancel it and order anew");
        return Err(Problem::conflict(detail).field("token"));
    }

    let payment = payment(&order, new.token.0);
    orders.placing.store.add_payment(&payment).await?;

    // Runs on its own task, so that a client that disconnects cannot stop it midway.
    let settling = orders.settling.clone();
    let paying = async move {
        let settled = settling.settle(payment.id).await;
        if settled.is_err() {
            settling.due.notify_one();
        }
        settled.map(|paid| (payment, paid))
    };
    match tokio::spawn(paying.in_current_span())
        .await
        .map_err(Problem::internal)?
    {
        Ok((payment, paid)) => reply(id, paid.unwrap_or(payment)),
        Err(error) => Err(error.into()),
    }
}

/// `POST /orders/payments/events`: a later decision of a provider. A repeated report changes nothing.
pub(super) async fn report(
    _: Trusted,
    State(orders): State<Orders>,
    Json(report): Json<Report>,
) -> Result<StatusCode> {
    let id = report.payment_id;
    let is_known = orders
        .placing
        .store
        .observe(id, report.into(), Timestamp::now())
        .await?;
    if !is_known {
        return Err(Problem::not_found("there is no such payment").field("payment_id"));
    }

    orders.written.notify_one();
    let settled = orders.settling.settle(id).await;
    if settled.is_err() {
        orders.settling.due.notify_one();
    }
    settled?;
    Ok(StatusCode::NO_CONTENT)
}

fn payment(order: &Order, token: String) -> Payment {
    let now = Timestamp::now();
    Payment {
        id: Uuid::now_v7(),
        order_id: order.id,
        status: PaymentStatus::Pending,
        total_cents: order.total_cents,
        currency: order.currency.clone(),
        reason: None,
        created_at: now,
        updated_at: now,
        token,
    }
}

fn reply(order_id: i64, payment: Payment) -> Result<Response> {
    let status = match payment.status {
        PaymentStatus::Declined => {
            let reason = payment.reason.unwrap_or_default();
            let detail = format!("the payment was declined: {reason}; try another card");
            return Err(Problem::unprocessable(detail).field("token"));
        }
        PaymentStatus::Pending => StatusCode::ACCEPTED,
        _ => StatusCode::CREATED,
    };

    let location = [(header::LOCATION, format!("/orders/{order_id}/payments"))];
    Ok((status, location, Json(payment)).into_response())
}

impl From<SettleError> for Problem {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Store(error) => error.into(),
            SettleError::Provider(error) => {
                tracing::warn!(%error, "a payment waits to be settled");
                Self::unavailable("the payment is stored, and its provider does not answer yet")
            }
        }
    }
}
