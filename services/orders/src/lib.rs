//! The orders service: takes orders and tells the world, each exactly once.
//!
//! Owns the SQL tables `orders`, `order_items`, `outbox` and those that serve them; its orders refer to the users
//! service's table `users` in the same database. Asks the products service for prices and stock. Publishes
//! [`events::OrderCreated`] to the topic [`events::ORDERS`], keyed by user; consumes nothing.
//!
//! An order's way: `place` claims, reserves and stores it with its event in one transaction; the `relay` carries the
//! event from SQL to the log; `stock` gives back what no order stands for.

mod config;
mod http;
mod idempotency;
mod metrics;
mod minutes;
mod order;
mod place;
mod products;
mod relay;
mod stock;
mod store;

use std::sync::Arc;

use axum::Router;
use chassis::auth::Auth;
use chassis::sql::{Database, MigrateError, Migration, Right};
use chassis::{Health, Listeners, Metrics, ServeError, Shutdown};
pub use config::Config;
pub use metrics::RelayMetrics;
use place::Placing;
use products::Products;
use record_log::RecordLog;
pub use relay::edge::{RelayParts, spawn as spawn_relay};
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
];

/// What the service's own account of the database may do.
pub const RIGHTS: &[Right] = &[
    Right::Rows("orders"),
    Right::Rows("order_items"),
    Right::Rows("outbox"),
    Right::Rows("outbox_batches"),
    Right::Rows("relay_lease"),
    Right::Rows("stock_claims"),
    Right::Rows("idempotency_keys"),
    Right::Reads("migrations"),
    // Whether the customer exists.
    Right::ReadsColumn {
        table: "users",
        column: "id",
    },
];

/// What the service works with.
pub struct Parts {
    /// Where orders are kept; the users service's tables are in it too.
    pub database: Database,
    /// Where events go.
    pub log: Arc<dyn RecordLog>,
    /// How it learns who calls, and what it shows the products service.
    pub auth: Auth,
}

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its server broke.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Its HTTP client could not be made.
    #[error("no HTTP client can be made: {0}")]
    Client(#[from] reqwest::Error),
    /// Its relay could not be started.
    #[error("the relay's thread cannot be started: {0}")]
    Relay(#[source] std::io::Error),
}

/// The service before it serves: its routes, and its work behind them.
pub struct Service {
    /// Its routes.
    pub router: Router,
    placing: Placing,
    written: Arc<Notify>,
}

/// Makes or updates the service's tables, which need those of the users service.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate(database: &Database) -> Result<(), MigrateError> {
    database.migrate("orders", MIGRATIONS).await
}

impl Service {
    /// A service over these tables, whose callers are those of `auth`.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(config: &Config, database: &Database, auth: &Auth) -> Result<Self, reqwest::Error> {
        let products = Products::new(&config.products_url, auth.clone())?;
        let written = Arc::new(Notify::new());
        let placing = Placing {
            store: Store::new(database.clone()),
            products,
            stock: Stock::default(),
        };

        let orders = http::Orders {
            placing: placing.clone(),
            written: Arc::clone(&written),
        };

        Ok(Self {
            router: auth.protect(http::routes(orders)),
            placing,
            written,
        })
    }

    /// Gives back stock that no order stands for, until a shutdown is requested.
    pub async fn return_stock(&self, shutdown: &Shutdown) {
        self.placing
            .stock
            .run(&self.placing.store, &self.placing.products, shutdown)
            .await;
    }

    /// What the relay works with; it is woken by every order of this service.
    pub fn relay_parts(&self, config: &Config, parts: &Parts, metrics: &Metrics) -> RelayParts {
        RelayParts {
            database: parts.database.clone(),
            log: Arc::clone(&parts.log),
            written: Arc::clone(&self.written),
            metrics: RelayMetrics::new(metrics),
            lease: config.orders_relay_lease,
            poll: config.orders_relay_poll,
        }
    }
}

/// Serves until a shutdown is requested. Orders are taken once the tables are there. The relay goes on for a moment after
/// the last request is answered, so that what was accepted is published.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    config: Config,
    parts: Parts,
    listeners: impl Into<Listeners>,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let health = Health::new();
    let metrics = Metrics::new("orders");
    let database = parts.database.clone();

    health.register("sql", move || {
        let database = database.clone();
        async move { database.ping().await }
    });

    let service = Service::new(&config, &parts.database, &parts.auth)?;
    let relay = service.relay_parts(&config, &parts, &metrics);
    let relay_shutdown = Shutdown::new();
    let hold = health.hold("tables");
    let background = shutdown.child();

    let work = async {
        let ready =
            chassis::retry(&background, "orders' tables", || migrate(&parts.database)).await;
        drop(hold);
        if ready.is_none() {
            return Ok(None);
        }

        let thread = spawn_relay(relay, relay_shutdown.clone());
        service.return_stock(&background).await;
        thread.map(Some)
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
    let (thread, served) = tokio::join!(work, serve);
    relay_shutdown.request();

    if let Some(thread) = thread.map_err(RunError::Relay)? {
        join(thread).await;
    }

    Ok(served?)
}

/// Waits for the relay's thread without holding up the runtime's own.
async fn join(thread: std::thread::JoinHandle<()>) {
    let ended = tokio::task::spawn_blocking(|| thread.join()).await;
    if !matches!(ended, Ok(Ok(()))) {
        tracing::error!("the relay's thread did not end well");
    }
}
