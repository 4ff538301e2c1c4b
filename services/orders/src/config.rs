//! The settings of the orders service.

use std::time::Duration;

use clap::Args;

/// The settings.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Config {
    /// Base address of the products service.
    #[arg(
        id = "orders-products-url",
        long = "orders-products-url",
        env = "TIDEMARK_PRODUCTS_URL",
        default_value = "http://127.0.0.1:5002",
        value_name = "URL"
    )]
    pub products_url: String,
    /// Time after which another replica's relay takes over an unrenewed lease.
    #[arg(long, env = "TIDEMARK_ORDERS_RELAY_LEASE", default_value = "5s", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub orders_relay_lease: Duration,
    /// Interval at which the relay checks for orders that other replicas accepted; orders of its
    /// own process wake it at once.
    #[arg(long, env = "TIDEMARK_ORDERS_RELAY_POLL", default_value = "100ms", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub orders_relay_poll: Duration,
    /// How long the relay waits after the log has refused a record or a right, before it looks
    /// whether that was mended. Meanwhile the service is not ready, and orders stay in the outbox.
    #[arg(long, env = "TIDEMARK_ORDERS_RELAY_REFUSED_WAIT", default_value = "30s", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub orders_relay_refused_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            products_url: "http://127.0.0.1:5002".to_owned(),
            orders_relay_lease: Duration::from_secs(5),
            orders_relay_poll: Duration::from_millis(100),
            orders_relay_refused_wait: Duration::from_secs(30),
        }
    }
}
