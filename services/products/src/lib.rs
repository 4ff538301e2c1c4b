//! The products service: the catalogue, and the stock that orders take from.
//!
//! It owns the DynamoDB tables `products` and `product-reservations`. It publishes and consumes nothing; the orders
//! service asks it for products by id (`http`) and reserves stock under the order's key (`reservation`).
//!
//! The catalogue is searched in an index in memory (`search`), which each process makes and keeps up by itself.
//!
//! What always holds: a product is valid or not stored; a write that was decided on one version never overwrites
//! another; stock never falls below zero, and a reservation takes everything it names, once, or nothing.

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

/// What the service stores in.
#[derive(Clone)]
pub struct Parts {
    /// Where the tables are.
    pub dynamodb: Client,
    /// How it learns who calls.
    pub auth: Auth,
}

/// The service's routes over tables that exist: see [`prepare`].
pub fn router(parts: &Parts) -> Router {
    router_of(parts, Store::new(parts.dynamodb.clone()))
}

fn router_of(parts: &Parts, store: Store) -> Router {
    parts.auth.protect(http::router(store))
}

/// Creates the tables and, where asked for, the demo catalogue; tries until it succeeds or a shutdown is requested.
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

/// Serves until shut down. It listens at once and is ready when its tables are.
///
/// # Errors
/// [`ServeError`] when the listener is broken.
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
