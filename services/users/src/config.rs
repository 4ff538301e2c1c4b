//! The settings of the users service.

use clap::Args;

/// What can be set.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// How many passwords are hashed at once; each takes a core and 19 MiB for some 20 ms.
    #[arg(long, env = "TIDEMARK_USERS_HASHERS", default_value_t = 2, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub users_hashers: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self { users_hashers: 2 }
    }
}
