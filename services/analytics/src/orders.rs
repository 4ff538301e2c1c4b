//! A client of the orders service: reads the orders stored in SQL by minute, for the audit, and the sales of a product or
//! of a category.

use std::time::Duration;

use chassis::auth::Auth;
use chassis::{Peer, Problem};
use events::Timestamp;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use crate::audit::StoredMinute;
use crate::sales::{Sold, StoredSales};
use crate::series::{Step, Steps};

const CALL_LIMIT: Duration = Duration::from_secs(10);

/// A client of the orders service. Clones share its connections.
#[derive(Clone)]
pub struct Orders(Peer);

/// The reason the orders could not be read.
#[derive(Debug, thiserror::Error)]
pub enum OrdersError {
    /// The service did not reply, or the reply could not be read.
    #[error("the orders service is unavailable: {0}")]
    Away(#[from] reqwest::Error),
    /// The service returned another status than 200.
    #[error("the orders service answered {0}")]
    Refused(StatusCode),
    /// The range has more lines of orders than the service adds up.
    #[error("the range has more lines of orders than are added up: choose a shorter one")]
    TooMuch,
}

#[derive(Deserialize)]
struct Minutes {
    items: Vec<StoredMinute>,
}

/// Sales by step, oldest first.
#[derive(Deserialize)]
pub struct Sales {
    /// The steps that have sales.
    pub items: Vec<StoredSales>,
    /// The name that the product had when it was last ordered.
    pub name: Option<String>,
}

impl Orders {
    /// Creates a client of the service at this base address. Its requests carry the service
    /// credentials of `auth`.
    ///
    /// # Errors
    /// Returns an error if the HTTP client cannot be created.
    pub fn new(base_url: &str, auth: Auth) -> Result<Self, reqwest::Error> {
        Ok(Self(Peer::new(base_url, auth, CALL_LIMIT)?))
    }

    /// Returns the minutes with orders from `from` to before `to`, both of which are whole minutes.
    ///
    /// # Errors
    /// Returns [`OrdersError`] if the service cannot be reached or its reply is not the expected
    /// one.
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

    /// Returns the sales of a product or of a category by step.
    ///
    /// # Errors
    /// Returns [`OrdersError`] if the service cannot be reached, its reply is not the expected one, or there are too
    /// many sales.
    pub async fn sales(&self, sold: &Sold, step: Step, steps: Steps) -> Result<Sales, OrdersError> {
        let of = match sold {
            Sold::Product(product) => ("product", product.to_string()),
            Sold::Category(category) => ("category", category.as_str().to_owned()),
        };
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("from", &steps.from().to_string())
            .append_pair("to", &steps.to().to_string())
            .append_pair("step", step.name())
            .append_pair(of.0, &of.1)
            .finish();
        let request = self
            .0
            .request(Method::GET, &format!("/orders/sales?{query}"));
        let response = self.0.send(request).await?;

        match response.status() {
            StatusCode::OK => Ok(response.json().await?),
            StatusCode::UNPROCESSABLE_ENTITY => Err(OrdersError::TooMuch),
            status => Err(OrdersError::Refused(status)),
        }
    }
}

impl From<OrdersError> for Problem {
    fn from(error: OrdersError) -> Self {
        if matches!(error, OrdersError::TooMuch) {
            return Self::unprocessable(error.to_string()).field("from");
        }
        tracing::warn!(%error, "the stored orders cannot be read");
        Self::unavailable("the orders service is unavailable right now")
    }
}
