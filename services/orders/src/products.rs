//! A client of the products service: reserves stock at the current prices, and releases it.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::StatusCode;
use chassis::auth::Auth;
use chassis::{Peer, Problem};
use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::{Line, Offer};

const RESERVATIONS: &str = "/products/reservations";
const CALL_LIMIT: Duration = Duration::from_secs(6);
/// Maximum size of a reply. An order of fifty lines needs a tenth of it.
const MOST_BYTES: usize = 64 << 10;

/// A client of the products service. Clones share its connections.
#[derive(Clone)]
pub struct Products(Peer);

/// The reason stock was not reserved.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// Nothing was reserved; the reason is returned to the client.
    #[error("the products service refused: {status}")]
    Refused {
        status: StatusCode,
        detail: String,
        field: Option<String>,
    },
    /// The request failed or got no reply; the stock may have been reserved.
    #[error("the products service is unavailable: {0}")]
    Away(#[source] reqwest::Error),
    /// The service returned an error that the client did not cause.
    #[error("the products service answered {0}")]
    Unexpected(StatusCode),
    /// The reply could not be parsed; the stock may have been reserved.
    #[error("the reply of the products service cannot be parsed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The reply is too long; the stock may have been reserved.
    #[error("the reply of the products service is longer than {MOST_BYTES} bytes")]
    Endless,
}

/// The reason stock was not released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("the products service is unavailable: {0}")]
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
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    category: Option<String>,
    unit_price_cents: u64,
    currency: String,
}

#[derive(Deserialize)]
struct Refusal {
    detail: String,
    field: Option<String>,
}

impl Products {
    /// Creates a client of the service at this base address. Its requests carry the service
    /// credentials of `auth`.
    ///
    /// # Errors
    /// Returns an error if the HTTP client cannot be created.
    pub fn new(base_url: &str, auth: Auth) -> Result<Self, reqwest::Error> {
        Ok(Self(Peer::new(base_url, auth, CALL_LIMIT)?))
    }

    /// Reserves the items under the key, all or none, and returns the offer of each product. A
    /// repeated call with the same key and items reserves nothing more.
    pub async fn reserve(
        &self,
        key: Uuid,
        items: &[Line],
    ) -> Result<HashMap<Uuid, Offer>, ReserveError> {
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
        let offer = |held: Held| {
            (
                held.product_id,
                Offer {
                    name: held.name,
                    category: held.category,
                    unit_price_cents: held.unit_price_cents,
                    currency: held.currency,
                },
            )
        };

        Ok(reservation.items.into_iter().map(offer).collect())
    }

    /// Releases the reservation of the key. Nothing can be reserved under that key afterwards.
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

/// Reads the whole body, up to [`MOST_BYTES`].
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

/// Converts an error reply. A 4xx is returned to the client, except two that the client did not cause: the rejection
/// of a key that was released meanwhile, and a 401 or 403, which concerns this service's credentials.
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
                Self::unavailable("the catalogue is unavailable right now")
            }
        }
    }
}
