//! The products service, as an import needs it.
//!
//! A product that is not there is added under its own id. One that is there gets what the row says but its stock, which
//! counts what was sold since: so an import that is repeated, whole or in part, changes nothing.

use std::time::Duration;

use chassis::Peer;
use chassis::auth::Auth;
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::header::IF_NONE_MATCH;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalogue::Product;
use crate::csv::{Complaint, Source};

const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How many products are under way at once.
const AT_ONCE: usize = 8;
/// Of how many refused products the summary tells.
const REFUSED_SHOWN: usize = 20;

/// A client of the products service.
#[derive(Clone)]
pub struct ProductsClient(Peer);

/// Why an import did not come to its end. It may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum ProductsError {
    /// It may have been done.
    #[error("the products service is away: {0}")]
    Away(#[from] reqwest::Error),
    /// It answered what nobody expected.
    #[error("the products service answered {0}")]
    Unexpected(StatusCode),
}

/// What became of the products of a file.
#[derive(Debug, Default)]
pub struct Imported {
    added: u64,
    changed: u64,
    /// The rows that the service does not take, with its reasons.
    pub refused: Vec<(Source, Complaint)>,
}

enum Outcome {
    Added,
    Changed,
    Refused(Source, Complaint),
}

#[derive(Deserialize)]
struct Refusal {
    detail: String,
    field: Option<String>,
}

impl ProductsClient {
    /// A client of the service at this base address, which shows it what `auth` gives services.
    ///
    /// # Errors
    /// When the system cannot offer what HTTP needs.
    pub fn new(base_url: &str, auth: Auth) -> Result<Self, reqwest::Error> {
        Ok(Self(Peer::new(base_url, auth, CALL_LIMIT)?))
    }

    /// Brings the catalogue to what the products say.
    ///
    /// # Errors
    /// [`ProductsError`]; some of them may have been brought there.
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

/// A product that the service does not take is the row's fault; anything else is not.
async fn refused(product: &Product, response: Response) -> Result<Outcome, ProductsError> {
    match response.status() {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            let Refusal { detail, field } = response.json().await?;
            let complaint = Complaint {
                column: field,
                problem: detail,
            };
            Ok(Outcome::Refused(product.source.clone(), complaint))
        }
        status => Err(ProductsError::Unexpected(status)),
    }
}

impl Imported {
    fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Added => self.added += 1,
            Outcome::Changed => self.changed += 1,
            Outcome::Refused(source, complaint) => self.refused.push((source, complaint)),
        }
    }

    /// What the metadata says of it.
    pub fn summary(&self) -> Value {
        let shown = self.refused.iter().take(REFUSED_SHOWN);
        let first_refused: Vec<Value> = shown
            .map(|(source, complaint)| complaint.summary(source))
            .collect();

        json!({
            "added": self.added,
            "changed": self.changed,
            "refused": self.refused.len(),
            "first_refused": first_refused,
        })
    }
}
