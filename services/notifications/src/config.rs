//! The settings of this service.

use std::time::Duration;

/// How the service behaves. Where it listens, stores and reads from is handed to [`crate::run`].
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Config {
    /// How long notifications are kept, such as `30d`. An event that is delivered again after that is notified again.
    #[arg(long, env = "TIDEMARK_NOTIFICATIONS_RETENTION", default_value = "30d",
          value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub notifications_retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { notifications_retention: Duration::from_secs(30 * 24 * 3600) }
    }
}
