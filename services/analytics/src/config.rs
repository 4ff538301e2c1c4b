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
}

impl Default for Config {
    fn default() -> Self {
        Self { analytics_retention: Duration::from_secs(30 * 24 * 3600) }
    }
}
