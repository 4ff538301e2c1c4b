//! The orders service: accepts orders and publishes each one exactly once.
//!
//! Owns the SQL tables `orders`, `order_items`, `payments` and `outbox`, and the tables that support them. Its orders
//! reference the table `users` of the users service, in the same database. Reserves stock at the products service,
//! which returns the prices. Publishes [`events::OrderCreated`] and [`events::OrderChanged`] to the topic
//! [`events::ORDERS`], keyed by user. Consumes no topic.
//!
//! The path of an order: `place` writes a claim, reserves the stock, and stores the order with its event in one
//! transaction. `relay` publishes the event from SQL to the log. `status` defines the allowed changes of state.
//! `settle` calls the payment `provider` until each payment is finished. `expiry` ends orders that were not paid in
//! time. `stock` releases the reservations that no order needs. `erasure` deletes the addresses of customers who have
//! closed their accounts.

mod config;

mod delivery;
mod status;

mod order;
mod payment;

mod store;

mod products;
mod stock;

mod idempotency;
mod place;

mod provider;
mod settle;

mod erasure;
mod expiry;

mod minutes;
mod sales;

mod metrics;
mod relay;

mod http;

use std::sync::Arc;

use axum::Router;
use chassis::auth::Auth;
use chassis::sql::{Database, MigrateError, Migration, Right};
use chassis::{Health, Listeners, Metrics, ServeError, Shutdown};
pub use config::Config;
use expiry::Expiry;
pub use metrics::RelayMetrics;
use place::Placing;
use products::Products;
pub use provider::{Answer, Charge, Decision, Provider, ProviderError, Simulated};
use record_log::RecordLog;
pub use relay::edge::{Refused, RelayParts, spawn as spawn_relay};
use settle::Settling;
use stock::Stock;
use store::Store;
use tokio::sync::Notify;

const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "0001-orders",
        mysql: include_str!("../migrations/0001-orders.mysql.sql"),
        sqlite: include_str!("../migrations/0001-orders.sqlite.sql"),
    },
    Migration {
        name: "0002-orders-by-time",
        mysql: include_str!("../migrations/0002-orders-by-time.mysql.sql"),
        sqlite: include_str!("../migrations/0002-orders-by-time.sqlite.sql"),
    },
    Migration {
        name: "0003-orders-by-currency",
        mysql: include_str!("../migrations/0003-orders-by-currency.mysql.sql"),
        sqlite: include_str!("../migrations/0003-orders-by-currency.sqlite.sql"),
    },
    Migration {
        name: "0004-states-and-payments",
        mysql: include_str!("../migrations/0004-states-and-payments.mysql.sql"),
        sqlite: include_str!("../migrations/0004-states-and-payments.sqlite.sql"),
    },
    Migration {
        name: "0005-names-of-products",
        mysql: include_str!("../migrations/0005-names-of-products.mysql.sql"),
        sqlite: include_str!("../migrations/0005-names-of-products.sqlite.sql"),
    },
    Migration {
        name: "0006-categories-of-lines",
        mysql: include_str!("../migrations/0006-categories-of-lines.mysql.sql"),
        sqlite: include_str!("../migrations/0006-categories-of-lines.sqlite.sql"),
    },
];

/// The rights of the service's database account.
pub const RIGHTS: &[Right] = &[
    Right::Rows("orders"),
    Right::Rows("order_items"),
    Right::Rows("outbox"),
    Right::Rows("outbox_batches"),
    Right::Rows("relay_lease"),
    Right::Rows("stock_claims"),
    Right::Rows("idempotency_keys"),
    Right::Rows("unpaid_orders"),
    Right::Rows("payments"),
    Right::Reads("migrations"),
    // To check that the customer exists, and has not closed the account.
    Right::ReadsColumn {
        table: "users",
        column: "id",
    },
    Right::ReadsColumn {
        table: "users",
        column: "closed_at_ms",
    },
];

/// The parts the service is built from.
pub struct Parts {
    /// The database of the orders. It also contains the tables of the users service.
    pub database: Database,
    /// The log that events are published to.
    pub log: Arc<dyn RecordLog>,
    /// Authenticates callers, and supplies the credentials for calls to the products service.
    pub auth: Auth,
}

/// The reason the service ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The HTTP server failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The HTTP client could not be created.
    #[error("no HTTP client can be created: {0}")]
    Client(#[from] reqwest::Error),
}

/// The assembled service: its routes and its background work.
pub struct Service {
    /// The HTTP routes.
    pub router: Router,
    placing: Placing,
    settling: Settling,
    expiry: Expiry,
    written: Arc<Notify>,
}

/// Creates or updates the service's tables. The tables of the users service must exist.
///
/// # Errors
/// Returns [`MigrateError`] if a migration fails.
pub async fn migrate(database: &Database) -> Result<(), MigrateError> {
    database.migrate("orders", MIGRATIONS).await
}

/// Creates the tables as they were after this migration: a database of an earlier version, for tests
/// of the migrations that follow.
///
/// # Errors
/// Returns [`MigrateError`] if a migration fails.
#[doc(hidden)]
pub async fn migrate_up_to(database: &Database, name: &str) -> Result<(), MigrateError> {
    let count = MIGRATIONS
        .iter()
        .position(|migration| migration.name == name)
        .map_or(0, |index| index + 1);
    database.migrate("orders", &MIGRATIONS[..count]).await
}

impl Service {
    /// Creates the service over this database, with the simulated payment provider. `auth`
    /// authenticates its callers.
    ///
    /// # Errors
    /// Returns an error if the HTTP client cannot be created.
    pub fn new(config: &Config, database: &Database, auth: &Auth) -> Result<Self, reqwest::Error> {
        Self::with_provider(config, database, auth, Arc::new(Simulated))
    }

    /// Creates the service with this payment provider.
    ///
    /// # Errors
    /// Returns an error if the HTTP client cannot be created.
    pub fn with_provider(
        config: &Config,
        database: &Database,
        auth: &Auth,
        provider: Arc<dyn Provider>,
    ) -> Result<Self, reqwest::Error> {
        let products = Products::new(&config.products_url, auth.clone())?;
        let written = Arc::new(Notify::new());
        let store = Store::new(database.clone());
        let placing = Placing {
            store: store.clone(),
            products,
            stock: Stock::default(),
            unpaid_for: config.orders_unpaid_for,
            limit: config.unpaid_limit(auth),
        };
        let settling = Settling {
            store: store.clone(),
            provider,
            due: Arc::new(Notify::new()),
            written: Arc::clone(&written),
        };
        let expiry = Expiry {
            store,
            stock: placing.stock.clone(),
            written: Arc::clone(&written),
            unpaid_for: config.orders_unpaid_for,
        };

        let orders = http::Orders {
            placing: placing.clone(),
            settling: settling.clone(),
            written: Arc::clone(&written),
        };

        Ok(Self {
            router: auth.protect(http::routes(orders)),
            placing,
            settling,
            expiry,
            written,
        })
    }

    /// Runs the background tasks until a shutdown is requested: releases stock, ends orders that were not paid in time,
    /// settles interrupted payments, and erases the addresses of closed accounts.
    pub async fn work(&self, shutdown: &Shutdown) {
        tokio::join!(
            self.return_stock(shutdown),
            self.expiry.run(shutdown),
            self.settling.run(shutdown),
            erasure::run(&self.placing.store, shutdown),
        );
    }

    /// Releases the stock that no order needs, until a shutdown is requested.
    pub async fn return_stock(&self, shutdown: &Shutdown) {
        self.placing
            .stock
            .run(&self.placing.store, &self.placing.products, shutdown)
            .await;
    }

    /// Returns the parts of the relay. Every order that this service stores wakes the relay.
    pub fn relay_parts(&self, config: &Config, parts: &Parts, metrics: &Metrics) -> RelayParts {
        RelayParts {
            database: parts.database.clone(),
            log: Arc::clone(&parts.log),
            written: Arc::clone(&self.written),
            metrics: RelayMetrics::new(metrics),
            lease: config.orders_relay_lease,
            poll: config.orders_relay_poll,
            refused_wait: config.orders_relay_refused_wait,
            stop_limit: config.orders_relay_stop_limit,
            refused: Refused::default(),
        }
    }
}

/// Registers the checks of readiness: the database answers, and no refusal of the log stops the relay.
fn register_checks(health: &Health, database: &Database, refused: &Refused) {
    let database = database.clone();
    health.register("sql", move || {
        let database = database.clone();
        async move { database.ping().await }
    });

    let refused = refused.clone();
    health.register("relay", move || {
        let refusal = refused.sentence();
        async move { refusal.map_or(Ok(()), Err) }
    });
}

/// Serves until a shutdown is requested. Orders are accepted once the tables exist. After the last request is answered,
/// the relay runs on until the accepted orders are published, within a time limit.
///
/// # Errors
/// Returns [`RunError`] if a part of the service cannot be created or fails.
pub async fn run(
    config: Config,
    parts: Parts,
    listeners: impl Into<Listeners>,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let health = Health::new();
    let metrics = Metrics::new("orders");

    let service = Service::new(&config, &parts.database, &parts.auth)?;
    let relay = service.relay_parts(&config, &parts, &metrics);
    register_checks(&health, &parts.database, &relay.refused);

    let relay_shutdown = Shutdown::new();
    let hold = health.hold("tables");
    let background = shutdown.child();

    let work = async {
        let ready =
            chassis::retry(&background, "orders' tables", || migrate(&parts.database)).await;
        drop(hold);
        ready?;

        let relay = spawn_relay(relay, relay_shutdown.clone());
        service.work(&background).await;
        Some(relay)
    };

    let serve = async {
        let served = chassis::serve(
            "orders",
            listeners,
            service.router.clone(),
            health,
            metrics,
            shutdown,
        )
        .await;

        background.request();
        served
    };
    let (relay, served) = tokio::join!(work, serve);
    relay_shutdown.request();

    if let Some(relay) = relay
        && let Err(error) = relay.await
    {
        tracing::error!(%error, "the relay's task failed");
    }

    Ok(served?)
}
