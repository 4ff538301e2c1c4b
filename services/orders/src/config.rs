//! The settings of the orders service.

use std::time::Duration;

use chassis::auth::Auth;
use clap::Args;

use crate::store::UnpaidLimit;

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
    /// Interval at which the relay checks for orders that other replicas have accepted. Orders of its own process
    /// wake it at once.
    #[arg(long, env = "TIDEMARK_ORDERS_RELAY_POLL", default_value = "100ms", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub orders_relay_poll: Duration,
    /// The wait after the log has refused a record or a right, before the relay tries again. Meanwhile the
    /// service is not ready, and orders stay in the outbox.
    #[arg(long, env = "TIDEMARK_ORDERS_RELAY_REFUSED_WAIT", default_value = "30s", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub orders_relay_refused_wait: Duration,
    /// The longest time for which a stopping service still publishes the orders that it has accepted. The relay
    /// of another replica, or of the next start, publishes the rest.
    #[arg(long, env = "TIDEMARK_ORDERS_RELAY_STOP_LIMIT", default_value = "2s", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub orders_relay_stop_limit: Duration,
    /// The longest time for which an order may stay unpaid. Then it expires, and its stock can be sold again.
    #[arg(long, env = "TIDEMARK_ORDERS_UNPAID_FOR", default_value = "30m", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub orders_unpaid_for: Duration,
    /// Number of unpaid orders that one account may have [default: 20; no limit with `--auth open`].
    #[arg(
        long,
        env = "TIDEMARK_ORDERS_UNPAID_ORDERS",
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub orders_unpaid_orders: Option<u32>,
    /// Number of pieces in all unpaid orders of one account together [default: 1000; no limit with
    /// `--auth open`].
    #[arg(
        long,
        env = "TIDEMARK_ORDERS_UNPAID_PIECES",
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub orders_unpaid_pieces: Option<u32>,
}

/// The default number of unpaid orders of one account if callers authenticate.
const UNPAID_ORDERS: u32 = 20;
/// The default number of pieces in these orders.
const UNPAID_PIECES: u32 = 1_000;

impl Config {
    /// Returns the limit of one account's unpaid orders; none if there is no limit.
    pub(crate) fn unpaid_limit(&self, auth: &Auth) -> Option<UnpaidLimit> {
        let is_set = self.orders_unpaid_orders.is_some() || self.orders_unpaid_pieces.is_some();
        if auth.is_open() && !is_set {
            return None;
        }

        let unlimited = auth.is_open().then_some(u32::MAX);
        let or_default = |set: Option<u32>, default| set.or(unlimited).unwrap_or(default);
        Some(UnpaidLimit {
            orders: or_default(self.orders_unpaid_orders, UNPAID_ORDERS),
            pieces: or_default(self.orders_unpaid_pieces, UNPAID_PIECES),
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            products_url: "http://127.0.0.1:5002".to_owned(),
            orders_relay_lease: Duration::from_secs(5),
            orders_relay_poll: Duration::from_millis(100),
            orders_relay_refused_wait: Duration::from_secs(30),
            orders_relay_stop_limit: Duration::from_secs(2),
            orders_unpaid_for: Duration::from_secs(30 * 60),
            orders_unpaid_orders: None,
            orders_unpaid_pieces: None,
        }
    }
}
