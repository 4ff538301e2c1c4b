//! The orders service, as the audit needs it: what SQL holds, by minute.

use std::time::Duration;

use chassis::auth::Auth;
use chassis::{Peer, Problem};
use events::Timestamp;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use crate::audit::StoredMinute;

const CALL_LIMIT: Duration = Duration::from_secs(10);

/// A client of the orders service. Clones share its connections.
#[derive(Clone)]
pub struct Orders(Peer);

/// Why the orders could not be had.
#[derive(Debug, thiserror::Error)]
pub enum OrdersError {
    /// It did not answer, or not with what was expected.
    #[error("the orders service is away: {0}")]
    Away(#[from] reqwest::Error),
    /// It refused.
    #[error("the orders service answered {0}")]
    Refused(StatusCode),
}

#[derive(Deserialize)]
struct Minutes {
    items: Vec<StoredMinute>,
}

impl Orders {
    /// A client of the service at this base address, which shows it what `auth` gives services.
    ///
    /// # Errors
    /// When the system cannot offer what HTTP needs.
    pub fn new(base_url: &str, auth: Auth) -> Result<Self, reqwest::Error> {
        Ok(Self(Peer::new(base_url, auth, CALL_LIMIT)?))
    }

    /// The minutes with orders from `from` to before `to`, both whole minutes.
    ///
    /// # Errors
    /// [`OrdersError`].
    pub async fn by_minute(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<StoredMinute>, OrdersError> {
        let request = self
            .0
            .request(Method::GET, &format!("/orders/minutes?from={from}&to={to}"));
        let response = self.0.send(request).await?;

        match response.status() {
            StatusCode::OK => Ok(response.json::<Minutes>().await?.items),
            status => Err(OrdersError::Refused(status)),
        }
    }
}

impl From<OrdersError> for Problem {
    fn from(error: OrdersError) -> Self {
        tracing::warn!(%error, "the orders cannot be asked");
        Self::unavailable("the orders cannot be asked right now")
    }
}
