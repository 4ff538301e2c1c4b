//! The products service, as the orders service needs it: stock is reserved at the prices of that moment, or given back.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::StatusCode;
use chassis::Problem;
use reqwest::{Client, Response};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::{Line, Price};

const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const CALL_LIMIT: Duration = Duration::from_secs(6);
/// Less than the server's, so that no request is sent on a connection that is just being closed.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// A client of the products service. Clones share its connections.
#[derive(Clone)]
pub struct Products {
    client: Client,
    reservations_url: String,
}

/// Why stock was not reserved.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// Nothing was taken, and the client is told why.
    #[error("the products service refused: {status}")]
    Refused { status: StatusCode, detail: String, field: Option<String> },
    /// It may have been taken.
    #[error("the products service is away: {0}")]
    Away(#[source] reqwest::Error),
    /// It answered what nobody expected.
    #[error("the products service answered {0}")]
    Unexpected(StatusCode),
}

/// Why stock was not given back.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("the products service is away: {0}")]
    Away(#[from] reqwest::Error),
    #[error("the products service answered {0}")]
    Unexpected(StatusCode),
}

#[derive(Serialize)]
struct Request<'a> {
    key: Uuid,
    items: &'a [Line],
}

#[derive(Deserialize)]
struct Reservation {
    items: Vec<Held>,
}

#[derive(Deserialize)]
struct Held {
    product_id: Uuid,
    unit_price_cents: u64,
    currency: String,
}

#[derive(Deserialize)]
struct Refusal {
    detail: String,
    field: Option<String>,
}

impl Products {
    /// A client of the service at this base address.
    ///
    /// # Errors
    /// When the system cannot offer what HTTP needs.
    pub fn new(base_url: &str) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(CALL_LIMIT)
            .pool_idle_timeout(IDLE_LIMIT)
            .no_proxy()
            .build()?;
        Ok(Self { client, reservations_url: format!("{}/products/reservations", base_url.trim_end_matches('/')) })
    }

    /// Takes the items from the stock under the key, all or none; says what one of each costs. Asked again with the same
    /// key and items it takes nothing more.
    pub async fn reserve(&self, key: Uuid, items: &[Line]) -> Result<HashMap<Uuid, Price>, ReserveError> {
        let request = self.client.post(&self.reservations_url).json(&Request { key, items });
        let response = request.send().await.map_err(ReserveError::Away)?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let reservation: Reservation = response.json().await.map_err(ReserveError::Away)?;
        let price = |held: Held| (held.product_id, Price { cents: held.unit_price_cents, currency: held.currency });
        Ok(reservation.items.into_iter().map(price).collect())
    }

    /// Gives back what the key holds, and sees to it that it never holds anything again.
    pub async fn release(&self, key: &str) -> Result<(), ReleaseError> {
        let response = self.client.delete(format!("{}/{key}", self.reservations_url)).send().await?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(ReleaseError::Unexpected(status)),
        }
    }
}

/// A refusal blames an item; blame on the key means that it was released meanwhile, which is nobody's mistake.
async fn refusal(response: Response) -> ReserveError {
    let status = response.status();
    match response.json::<Refusal>().await {
        Ok(Refusal { detail, field }) if status.is_client_error() && field.as_deref() != Some("key") => {
            ReserveError::Refused { status, detail, field }
        }
        _ => ReserveError::Unexpected(status),
    }
}

impl From<ReserveError> for Problem {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::Refused { status, detail, field } => {
                let problem = Self::new(status, detail);
                match field {
                    Some(field) => problem.field(field),
                    None => problem,
                }
            }
            error => {
                tracing::warn!(%error, "stock was not reserved");
                Self::unavailable("the catalogue cannot be asked right now")
            }
        }
    }
}
