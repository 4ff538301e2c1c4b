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

/// Maximum number of payments of one order, which limits the tests of stolen cards.
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
#[error("a token has 1 to 128 visible ASCII characters; it comes from the payment provider")]
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

/// `GET /orders/{id}/payments`: the payments of an order, the oldest first.
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
/// one that it declines 422, and one that was given back because the order was paid or ended meanwhile 409.
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
        let detail =
            format!("this order has had {tried} payments already; cancel it and order again");
        return Err(Problem::conflict(detail).field("token"));
    }

    let payment = payment(&order, new.token.0);
    orders.placing.store.add_payment(&payment).await?;

    // Runs in its own task, so that it is completed even if the client disconnects.
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
        // Another payment was faster, or the order was cancelled or expired meanwhile.
        PaymentStatus::Voided | PaymentStatus::Refunded => {
            let detail = format!(
                "the order could no longer be paid, and the payment was {}; look at the order's status",
                payment.status.name()
            );
            return Err(Problem::conflict(detail).field("status"));
        }
        PaymentStatus::Pending => StatusCode::ACCEPTED,
        PaymentStatus::Authorised | PaymentStatus::Captured => StatusCode::CREATED,
    };

    let location = [(header::LOCATION, format!("/orders/{order_id}/payments"))];
    Ok((status, location, Json(payment)).into_response())
}

impl From<SettleError> for Problem {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Store(error) => error.into(),
            SettleError::Provider(error) => {
                tracing::warn!(%error, "a payment could not be settled; will try again");
                Self::unavailable(
                    "the payment is stored, but the payment provider is unavailable; it is tried again",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_payment_that_pays_is_a_success() {
        let answered = |status| {
            let payment = Payment {
                id: Uuid::nil(),
                order_id: 7,
                status,
                total_cents: 100,
                currency: "EUR".to_owned(),
                reason: None,
                created_at: Timestamp::EPOCH,
                updated_at: Timestamp::EPOCH,
                token: "good".to_owned(),
            };
            let reply = reply(7, payment).unwrap_or_else(IntoResponse::into_response);
            reply.status().as_u16()
        };

        let statuses = PaymentStatus::ALL.map(|status| (status.name(), answered(status)));
        let expected = [
            ("pending", 202),
            ("authorised", 201),
            ("captured", 201),
            ("declined", 422),
            ("voided", 409),
            ("refunded", 409),
        ];
        assert_eq!(statuses, expected);
    }
}
