//! A client of the products service for imports.
//!
//! A missing product is created under its own id. An existing one is updated with all fields of the
//! row except the stock, which sales may have reduced meanwhile. A repeated import, whole or in part,
//! therefore changes nothing.

use std::time::Duration;

use chassis::Peer;
use chassis::auth::Auth;
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::header::IF_NONE_MATCH;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalogue::{Product, RefusedProduct};
use crate::csv::Complaint;

const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Number of products in flight at the same time.
const AT_ONCE: usize = 8;
/// Number of refused products in the summary.
const REFUSED_SHOWN: usize = 20;

/// A client of the products service.
#[derive(Clone)]
pub struct ProductsClient(Peer);

/// The reason why an import did not complete. It may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum ProductsError {
    /// The service did not answer; the request may have been processed.
    #[error("the products service is unavailable: {0}")]
    Away(#[from] reqwest::Error),
    /// The service answered with an unexpected status.
    #[error("the products service answered {0}")]
    Unexpected(StatusCode),
}

/// The result of an import.
#[derive(Debug, Default)]
pub struct Imported {
    added: u64,
    changed: u64,
    /// The products that the service rejected, with its reasons.
    pub refused: Vec<RefusedProduct>,
}

enum Outcome {
    Added,
    Changed,
    Refused(RefusedProduct),
}

#[derive(Deserialize)]
struct Refusal {
    detail: String,
    field: Option<String>,
}

impl ProductsClient {
    /// Creates a client of the service at this base address, which authenticates itself as a
    /// service with `auth`.
    ///
    /// # Errors
    /// When the system cannot provide an HTTP client.
    pub fn new(base_url: &str, auth: Auth) -> Result<Self, reqwest::Error> {
        Ok(Self(Peer::new(base_url, auth, CALL_LIMIT)?))
    }

    /// Creates or updates the products.
    ///
    /// # Errors
    /// [`ProductsError`]; some of the products may have been written.
    pub async fn import(&self, products: Vec<Product>) -> Result<Imported, ProductsError> {
        let client = self.clone();
        let mut outcomes = stream::iter(products)
            .map(move |product| client.clone().bring(product))
            .buffered(AT_ONCE);
        let mut imported = Imported::default();

        while let Some(outcome) = outcomes.try_next().await? {
            imported.note(outcome);
        }

        Ok(imported)
    }

    async fn bring(self, product: Product) -> Result<Outcome, ProductsError> {
        let path = format!("/products/{}", product.id);
        let put = self
            .0
            .request(Method::PUT, &path)
            .header(IF_NONE_MATCH, "*");
        let added = self.0.send(put.json(&product.body)).await?;

        match added.status() {
            StatusCode::PRECONDITION_FAILED => {}
            status if status.is_success() => return Ok(Outcome::Added),
            _ => return refused(&product, added).await,
        }

        let mut body = product.body.clone();
        body.remove("stock");
        let changed = self
            .0
            .send(self.0.request(Method::PATCH, &path).json(&body))
            .await?;

        if changed.status().is_success() {
            Ok(Outcome::Changed)
        } else {
            refused(&product, changed).await
        }
    }
}

/// Returns the complaint about a product that the service rejected. Any other status is an error.
async fn refused(product: &Product, response: Response) -> Result<Outcome, ProductsError> {
    match response.status() {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            let Refusal { detail, field } = response.json().await?;
            let complaint = Complaint {
                column: field,
                problem: detail,
            };
            Ok(Outcome::Refused(product.refused(complaint)))
        }
        status => Err(ProductsError::Unexpected(status)),
    }
}

impl Imported {
    fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Added => self.added += 1,
            Outcome::Changed => self.changed += 1,
            Outcome::Refused(product) => self.refused.push(product),
        }
    }

    /// Returns the entry for the metadata.
    pub fn summary(&self) -> Value {
        let shown = self.refused.iter().take(REFUSED_SHOWN);
        let first_refused: Vec<Value> = shown
            .map(|product| product.complaint.summary(&product.row))
            .collect();

        json!({
            "added": self.added,
            "changed": self.changed,
            "refused": self.refused.len(),
            "first_refused": first_refused,
        })
    }
}
