//! The products service: the catalogue, and the stock that orders take from.
//!
//! It owns the DynamoDB tables `products` and `product-reservations`. It publishes and consumes no
//! topic. The orders service reads products by id (`http`) and reserves stock under the order's key
//! (`reservation`).
//!
//! Searches use an index in memory (`search`), which each process builds and updates for itself.
//!
//! Invariants: a stored product is valid. A write that was decided on one version never overwrites
//! another. Stock never falls below zero. A reservation takes everything that it names, once, or
//! nothing.

mod config;
mod demo;
mod http;
mod precondition;
mod product;
mod reservation;
mod search;
mod store;

use aws_sdk_dynamodb::Client;
use axum::Router;
use chassis::auth::Auth;
use chassis::{Health, Listeners, Metrics, ServeError, Shutdown, dynamodb, retry};
pub use config::Config;
use store::Store;
pub use store::tables::{PRODUCTS, RESERVATIONS};

/// The parts the service is built from.
#[derive(Clone)]
pub struct Parts {
    /// The client of the tables.
    pub dynamodb: Client,
    /// Authenticates callers.
    pub auth: Auth,
}

/// Returns the service's routes. The tables must exist: see [`prepare`].
pub fn router(parts: &Parts) -> Router {
    router_of(parts, Store::new(parts.dynamodb.clone()))
}

fn router_of(parts: &Parts, store: Store) -> Router {
    parts.auth.protect(http::router(store))
}

/// Creates the tables and, if configured, the demo catalogue. Retries until it succeeds or a
/// shutdown is requested.
pub async fn prepare(config: &Config, parts: &Parts, shutdown: &Shutdown) {
    prepare_store(config, &Store::new(parts.dynamodb.clone()), shutdown).await;
}

async fn prepare_store(config: &Config, store: &Store, shutdown: &Shutdown) {
    retry(shutdown, "products: tables", || store.ensure_tables()).await;
    if config.demo_products {
        retry(shutdown, "products: demo catalogue", || {
            demo::fill_if_empty(store)
        })
        .await;
    }
}

/// Serves until a shutdown is requested. The service listens at once, and is ready once DynamoDB
/// has its table `products`.
///
/// # Errors
/// Returns [`ServeError`] if the listener fails.
pub async fn run(
    config: Config,
    parts: Parts,
    listeners: impl Into<Listeners>,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let health = Health::new();
    let client = parts.dynamodb.clone();
    health.register("dynamodb", move || {
        let client = client.clone();
        async move { dynamodb::ping(&client, PRODUCTS).await }
    });

    let store = Store::new(parts.dynamodb.clone());
    let serving = chassis::serve(
        "products",
        listeners,
        router_of(&parts, store.clone()),
        health,
        Metrics::new("products"),
        shutdown.clone(),
    );

    let indexing = async {
        prepare_store(&config, &store, &shutdown).await;
        retry(&shutdown, "products: index", || store.load()).await;
        store.follow(&shutdown).await;
    };
    let ((), served) = tokio::join!(indexing, serving);
    served
}
