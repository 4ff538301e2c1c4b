//! The settings of this service.

use std::time::Duration;

/// How the service behaves. Where it listens, stores and reads from is handed to [`crate::run`].
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Config {
    /// How long counts are kept after their window's end, such as `30d`.
    #[arg(long, env = "TIDEMARK_ANALYTICS_RETENTION", default_value = "30d",
          value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub analytics_retention: Duration,
    /// Base address of the orders service, whose books the audit reads.
    #[arg(
        id = "analytics-orders-url",
        long = "analytics-orders-url",
        env = "TIDEMARK_ORDERS_URL",
        default_value = "http://127.0.0.1:5003",
        value_name = "URL"
    )]
    pub orders_url: String,
    /// How long after its end a minute may wait for its window before the audit calls a difference one.
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
