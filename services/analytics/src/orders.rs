//! The orders service, as the audit needs it: what SQL holds, by minute.

use std::time::Duration;

use chassis::Problem;
use chassis::auth::Auth;
use events::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde::Deserialize;

use crate::audit::StoredMinute;

const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Less than the server's, so that no request is sent on a connection that is just being closed.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// A client of the orders service. Clones share its connections.
#[derive(Clone)]
pub struct Orders {
    client: Client,
    auth: Auth,
    minutes_url: String,
}

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
        let client = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(CALL_LIMIT)
            .pool_idle_timeout(IDLE_LIMIT)
            .no_proxy()
            .redirect(Policy::none())
            .build()?;
        Ok(Self { client, auth, minutes_url: format!("{}/orders/minutes", base_url.trim_end_matches('/')) })
    }

    /// The minutes with orders from `from` to before `to`, both whole minutes.
    ///
    /// # Errors
    /// [`OrdersError`].
    pub async fn by_minute(&self, from: Timestamp, to: Timestamp) -> Result<Vec<StoredMinute>, OrdersError> {
        let mut request = self.client.get(format!("{}?from={from}&to={to}", self.minutes_url));
        if let Some(token) = self.auth.service_token() {
            request = request.bearer_auth(token);
        }
        let response = request.send().await?;
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
