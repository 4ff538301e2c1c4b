//! Reads the keys and epochs that the users service publishes, over HTTP within the platform's own
//! network.

use std::error::Error;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;

use serde::de::DeserializeOwned;

use super::epochs::{Epochs, Signing};
use super::{EpochOf, JwksUrl, KeySource, Published};

const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const MOST_BYTES: usize = 64 << 10;
const MOST_EPOCHS_BYTES: usize = 4 << 20;

/// Reads the keys and the epochs: one request for each read, without redirects, of at most 64 KiB
/// (keys) or 4 MiB (epochs).
pub struct HttpKeys {
    client: Client<HttpConnector, Empty<Bytes>>,
    address: Uri,
    epochs_address: Uri,
    epochs: Epochs,
}

/// The reason why the keys or the epochs could not be read.
#[derive(Debug, thiserror::Error)]
enum HttpKeysError {
    #[error("the users service cannot be reached: {0}")]
    Away(#[from] legacy::Error),
    #[error("the users service answered {0}")]
    Unexpected(StatusCode),
    #[error("the answer was cut short or is too large: {0}")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    #[error("the answer is not the expected JSON: {0}")]
    NoKeys(#[from] serde_json::Error),
}

impl HttpKeys {
    /// Returns a reader of the keys at this address, and of the epochs at the same service.
    pub fn at(url: &JwksUrl) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_LIMIT));

        // Reads are far apart: keeping a connection open is not worth it.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);

        Self {
            client,
            address: url.uri().clone(),
            epochs_address: url.epochs_uri(),
            epochs: Epochs::default(),
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        address: &Uri,
        most_bytes: usize,
    ) -> Result<T, HttpKeysError> {
        let answer = self.client.get(address.clone()).await?;
        if answer.status() != StatusCode::OK {
            return Err(HttpKeysError::Unexpected(answer.status()));
        }

        let body = Limited::new(answer.into_body(), most_bytes)
            .collect()
            .await
            .map_err(HttpKeysError::Broken)?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    }
}

impl KeySource for HttpKeys {
    fn published(&self) -> Published<'_> {
        Box::pin(async { Ok(self.ask(&self.address, MOST_BYTES).await?) })
    }

    fn epoch_of(&self, signing: Signing) -> EpochOf<'_> {
        Box::pin(async move {
            let ask = || self.ask(&self.epochs_address, MOST_EPOCHS_BYTES);
            Ok(self.epochs.of(signing, ask).await)
        })
    }
}
