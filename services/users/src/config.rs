//! The settings of the users service.

use std::time::Duration;

use axum::http::Uri;
use chassis::auth::Secret;
use clap::Args;

use crate::user::Email;

const DEFAULT_SHOP_URL: &str = "http://127.0.0.1:5000";

/// The settings.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Config {
    /// Number of passwords that are hashed at the same time. Each takes one core and 19 MiB for about 20 ms.
    #[arg(long, env = "TIDEMARK_USERS_HASHERS", default_value_t = 2, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub users_hashers: u16,
    /// Number of requests that may wait until a password is hashed; further ones are rejected at once. One address
    /// may take a quarter of these places. Another quarter is reserved for clients from which the account was used
    /// before.
    #[arg(long, env = "TIDEMARK_USERS_HASH_QUEUE", default_value_t = 128, value_name = "N",
          value_parser = clap::value_parser!(u16).range(4..=4096))]
    pub users_hash_queue: u16,
    /// Lifetime of an access token. A revoked token is rejected within 20 seconds.
    #[arg(long, env = "TIDEMARK_USERS_ACCESS_TOKEN_LIFE", default_value = "15m", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub users_access_token_life: Duration,
    /// Lifetime of a refresh token.
    #[arg(long, env = "TIDEMARK_USERS_REFRESH_TOKEN_LIFE", default_value = "30days", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub users_refresh_token_life: Duration,
    /// Lifetime of a session, however often its token is refreshed.
    #[arg(long, env = "TIDEMARK_USERS_SESSION_LIFE", default_value = "90days", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub users_session_life: Duration,
    /// Time for which a key signs access tokens before it is replaced.
    #[arg(long, env = "TIDEMARK_USERS_SIGNING_KEY_LIFE", default_value = "30days", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub users_signing_key_life: Duration,
    /// Time after which an account is removed if its address was never verified and it has no orders. `0s` keeps
    /// such accounts. With `--auth open`, all accounts are kept.
    #[arg(long, env = "TIDEMARK_USERS_UNVERIFIED_FOR", default_value = "30days", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub users_unverified_for: Duration,
    /// Whether an admin needs a second factor: without one, an admin's access token does not have the role, so
    /// that the admin can set one and do nothing else as an admin.
    #[arg(long, env = "TIDEMARK_USERS_ADMINS_NEED_SECOND_FACTOR")]
    pub users_admins_need_second_factor: bool,
    /// Address of the shop, with which the links in mail begin [default: the address of the gateway on this machine].
    /// It is never taken from a request.
    #[arg(long, env = "TIDEMARK_USERS_SHOP_URL", value_name = "URL", value_parser = shop_url)]
    pub users_shop_url: Option<String>,
    /// E-mail address of the first admin, whose account is created at start.
    #[arg(
        long,
        env = "TIDEMARK_USERS_ADMIN_EMAIL",
        value_name = "EMAIL",
        requires = "users_admin_password"
    )]
    pub users_admin_email: Option<Email>,
    /// Password of the first admin, until its owner chooses another.
    #[arg(
        long,
        env = "TIDEMARK_USERS_ADMIN_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD",
        requires = "users_admin_email"
    )]
    pub users_admin_password: Option<Secret>,
}

impl Config {
    /// Returns the address of the shop.
    pub(crate) fn shop_url(&self) -> &str {
        self.users_shop_url.as_deref().unwrap_or(DEFAULT_SHOP_URL)
    }
}

impl Default for Config {
    fn default() -> Self {
        let month = Duration::from_secs(30 * 24 * 3600);
        Self {
            users_hashers: 2,
            users_hash_queue: 128,
            users_access_token_life: Duration::from_secs(15 * 60),
            users_refresh_token_life: month,
            users_session_life: 3 * month,
            users_signing_key_life: month,
            users_unverified_for: month,
            users_admins_need_second_factor: false,
            users_shop_url: None,
            users_admin_email: None,
            users_admin_password: None,
        }
    }
}

/// Parses the address of the shop: `https://host` or `http://host`, optionally with a port and a path.
fn shop_url(text: &str) -> Result<String, String> {
    let url: Uri = text.parse().map_err(|error| format!("{error}"))?;
    let is_web = matches!(url.scheme_str(), Some("http" | "https"));
    if is_web && url.query().is_none() && !text.contains(['#', '@']) {
        return Ok(text.to_owned());
    }
    Err(
        "it must be an address like https://shop.example, without a query, a fragment or a user"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::shop_url;

    #[test]
    fn the_shop_has_a_web_address() {
        for url in [
            "https://shop.example",
            "http://127.0.0.1:5000",
            "https://a.example/shop/",
        ] {
            assert!(shop_url(url).is_ok(), "{url}");
        }
        for url in [
            "shop.example",
            "javascript:alert(1)",
            "https://a@b",
            "https://a?b",
            "https://a#b",
        ] {
            assert!(shop_url(url).is_err(), "{url}");
        }
    }
}
