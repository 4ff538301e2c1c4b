//! The products service, as the orders service needs it: stock is reserved at the prices of that moment, or given back.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::StatusCode;
use chassis::auth::Auth;
use chassis::{Peer, Problem};
use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::{Line, Price};

const RESERVATIONS: &str = "/products/reservations";
const CALL_LIMIT: Duration = Duration::from_secs(6);
/// Fifty lines take a tenth of it.
const MOST_BYTES: usize = 64 << 10;

/// A client of the products service. Clones share its connections.
#[derive(Clone)]
pub struct Products(Peer);

/// Why stock was not reserved.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// Nothing was taken, and the client is told why.
    #[error("the products service refused: {status}")]
    Refused {
        status: StatusCode,
        detail: String,
        field: Option<String>,
    },
    /// It may have been taken.
    #[error("the products service is away: {0}")]
    Away(#[source] reqwest::Error),
    /// It answered what nobody expected.
    #[error("the products service answered {0}")]
    Unexpected(StatusCode),
    /// Its answer cannot be understood; it may have been taken.
    #[error("the products service answered what it should not: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Its answer does not end within reason; it may have been taken.
    #[error("the products service answered too much")]
    Endless,
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
    /// A client of the service at this base address, which shows it what `auth` gives services.
    ///
    /// # Errors
    /// When the system cannot offer what HTTP needs.
    pub fn new(base_url: &str, auth: Auth) -> Result<Self, reqwest::Error> {
        Ok(Self(Peer::new(base_url, auth, CALL_LIMIT)?))
    }

    /// Takes the items from the stock under the key, all or none; says what one of each costs. Asked again with the same
    /// key and items it takes nothing more.
    pub async fn reserve(
        &self,
        key: Uuid,
        items: &[Line],
    ) -> Result<HashMap<Uuid, Price>, ReserveError> {
        let request = self
            .0
            .request(Method::POST, RESERVATIONS)
            .json(&Request { key, items });
        let mut response = self.0.send(request).await.map_err(ReserveError::Away)?;
        let body = body(&mut response).await?;

        if !response.status().is_success() {
            return Err(refusal(response.status(), &body));
        }

        let reservation: Reservation = serde_json::from_slice(&body)?;
        let price = |held: Held| {
            (
                held.product_id,
                Price {
                    cents: held.unit_price_cents,
                    currency: held.currency,
                },
            )
        };

        Ok(reservation.items.into_iter().map(price).collect())
    }

    /// Gives back what the key holds, and sees to it that it never holds anything again.
    pub async fn release(&self, key: &str) -> Result<(), ReleaseError> {
        let request = self
            .0
            .request(Method::DELETE, &format!("{RESERVATIONS}/{key}"));
        let response = self.0.send(request).await?;

        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(ReleaseError::Unexpected(status)),
        }
    }
}

/// The whole answer, as long as it is within reason.
async fn body(response: &mut Response) -> Result<Vec<u8>, ReserveError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(ReserveError::Away)? {
        if body.len() + chunk.len() > MOST_BYTES {
            return Err(ReserveError::Endless);
        }
        body.extend_from_slice(&chunk);
    }

    Ok(body)
}

/// A refusal blames an item. Blame on the key means that it was released meanwhile, which is nobody's mistake; blame on who
/// asks is none of the customer's.
fn refusal(status: StatusCode, body: &[u8]) -> ReserveError {
    let is_ours = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { detail, field })
            if status.is_client_error() && !is_ours && field.as_deref() != Some("key") =>
        {
            ReserveError::Refused {
                status,
                detail,
                field,
            }
        }
        _ => ReserveError::Unexpected(status),
    }
}

impl From<ReserveError> for Problem {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::Refused {
                status,
                detail,
                field,
            } => {
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
