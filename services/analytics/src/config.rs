//! The settings of this service.

use std::time::Duration;

/// The settings. The addresses to listen on, the tables and the log are passed to [`crate::run`].
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Config {
    /// Time for which counts are kept after the end of their window, such as `30d`.
    #[arg(long, env = "TIDEMARK_ANALYTICS_RETENTION", default_value = "30d",
          value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub analytics_retention: Duration,
    /// Base address of the orders service, from which the audit reads the stored orders.
    #[arg(
        id = "analytics-orders-url",
        long = "analytics-orders-url",
        env = "TIDEMARK_ORDERS_URL",
        default_value = "http://127.0.0.1:5003",
        value_name = "URL"
    )]
    pub orders_url: String,
    /// Time after the end of a minute until the audit reports uncounted orders as a difference, if no window has
    /// arrived.
    #[arg(long, env = "TIDEMARK_ANALYTICS_AUDIT_PATIENCE", default_value = "5m",
          value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub analytics_audit_patience: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            analytics_retention: Duration::from_secs(30 * 24 * 3600),
            orders_url: "http://127.0.0.1:5003".to_owned(),
            analytics_audit_patience: Duration::from_secs(300),
        }
    }
}
