//! The settings of this service.

use clap::ArgAction;

/// The settings. Addresses to listen on and the tables' client are passed to [`crate::run`].
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Config {
    /// Fill an empty catalogue with a dozen demo products.
    #[arg(long = "demo", env = "TIDEMARK_DEMO", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub demo_products: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            demo_products: true,
        }
    }
}
