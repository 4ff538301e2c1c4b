//! The gateway's settings. Every one has a default that suits a laptop, an environment variable and
//! a flag.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use axum::http::Uri;
use axum::http::uri::{Authority, Scheme};
use humantime::parse_duration;
use ipnet::IpNet;

use crate::cors::Origin;

/// The addresses of the upstream services, and the limits for clients and upstreams.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Config {
    /// Base address of the users service.
    #[arg(
        id = "gateway-users-url",
        long,
        env = "TIDEMARK_USERS_URL",
        default_value = "http://127.0.0.1:5001"
    )]
    pub users_url: Address,
    /// Base address of the products service.
    #[arg(
        id = "gateway-products-url",
        long,
        env = "TIDEMARK_PRODUCTS_URL",
        default_value = "http://127.0.0.1:5002"
    )]
    pub products_url: Address,
    /// Base address of the orders service.
    #[arg(
        id = "gateway-orders-url",
        long,
        env = "TIDEMARK_ORDERS_URL",
        default_value = "http://127.0.0.1:5003"
    )]
    pub orders_url: Address,
    /// Base address of the notifications service.
    #[arg(
        id = "gateway-notifications-url",
        long,
        env = "TIDEMARK_NOTIFICATIONS_URL",
        default_value = "http://127.0.0.1:5004"
    )]
    pub notifications_url: Address,
    /// Base address of the analytics service.
    #[arg(
        id = "gateway-analytics-url",
        long,
        env = "TIDEMARK_ANALYTICS_URL",
        default_value = "http://127.0.0.1:5005"
    )]
    pub analytics_url: Address,
    /// Base address of the files service.
    #[arg(
        id = "gateway-files-url",
        long,
        env = "TIDEMARK_FILES_URL",
        default_value = "http://127.0.0.1:5007"
    )]
    pub files_url: Address,
    /// Time limit for connecting to an upstream.
    #[arg(id = "gateway-connect-timeout", long, env = "TIDEMARK_GATEWAY_CONNECT_TIMEOUT", default_value = "1s", value_parser = parse_duration)]
    pub connect_timeout: Duration,
    /// Time limit for an upstream, from the request to the head of its answer.
    #[arg(id = "gateway-response-timeout", long, env = "TIDEMARK_GATEWAY_RESPONSE_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub response_timeout: Duration,
    /// Longest pause of an upstream within the body of its answer. Event streams are exempt.
    #[arg(id = "gateway-idle-timeout", long, env = "TIDEMARK_GATEWAY_IDLE_TIMEOUT", default_value = "30s", value_parser = parse_duration)]
    pub idle_timeout: Duration,
    /// Connections that one client address may have open; more are answered with 429 and closed.
    /// The trusted proxies may have any number.
    #[arg(
        id = "gateway-connections-of-address",
        long,
        env = "TIDEMARK_GATEWAY_CONNECTIONS_OF_ADDRESS",
        default_value_t = 512
    )]
    pub connections_of_address: usize,
    /// Time for which browsers may connect by TLS only (`Strict-Transport-Security`), like 365days,
    /// if TLS ends before the gateway [default: the header is not sent].
    #[arg(id = "gateway-hsts", long, env = "TIDEMARK_GATEWAY_HSTS", value_parser = parse_duration)]
    pub hsts: Option<Duration>,
    /// Time limit for a client to send the head of its request.
    #[arg(id = "gateway-head-timeout", long, env = "TIDEMARK_GATEWAY_HEAD_TIMEOUT", default_value = "30s", value_parser = parse_duration)]
    pub head_timeout: Duration,
    /// Time limit for a client to send a file and for the files service to store it.
    #[arg(id = "gateway-upload-timeout", long, env = "TIDEMARK_GATEWAY_UPLOAD_TIMEOUT", default_value = "10m", value_parser = parse_duration)]
    pub upload_timeout: Duration,
    /// Time limit for a client to send the body of its request.
    #[arg(id = "gateway-body-timeout", long, env = "TIDEMARK_GATEWAY_BODY_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub body_timeout: Duration,
    /// Requests that may be open at one upstream; more are rejected with 503 at once.
    #[arg(
        id = "gateway-concurrency",
        long,
        env = "TIDEMARK_GATEWAY_CONCURRENCY",
        default_value_t = 512
    )]
    pub concurrency: usize,
    /// Event streams that may be open at one upstream; more are rejected with 503 at once.
    #[arg(
        id = "gateway-streams",
        long,
        env = "TIDEMARK_GATEWAY_STREAMS",
        default_value_t = 1024
    )]
    pub streams: usize,
    /// Requests a second that one client address may make to the API [default: no limit].
    #[arg(id = "gateway-rate-limit", long, env = "TIDEMARK_GATEWAY_RATE_LIMIT")]
    pub rate_limit: Option<NonZeroU32>,
    /// Requests that an idle address may make at once [default: the rate limit].
    #[arg(id = "gateway-rate-burst", long, env = "TIDEMARK_GATEWAY_RATE_BURST")]
    pub rate_burst: Option<NonZeroU32>,
    /// Requests a second that one account may make to the API, or one address without a valid token
    /// [default: no limit].
    #[arg(
        id = "gateway-account-rate-limit",
        long,
        env = "TIDEMARK_GATEWAY_ACCOUNT_RATE_LIMIT"
    )]
    pub account_rate_limit: Option<NonZeroU32>,
    /// Requests that an idle account may make at once [default: the account's rate limit].
    #[arg(
        id = "gateway-account-rate-burst",
        long,
        env = "TIDEMARK_GATEWAY_ACCOUNT_RATE_BURST"
    )]
    pub account_rate_burst: Option<NonZeroU32>,
    /// Sign-ups an hour from one client address, at any pace; 0 for no limit [default: 60 with
    /// --auth enforced, no limit with --auth open].
    #[arg(
        id = "gateway-sign-up-limit",
        long,
        env = "TIDEMARK_GATEWAY_SIGN_UP_LIMIT"
    )]
    pub sign_up_limit: Option<u32>,
    /// Networks of proxies in front of the gateway, like 10.0.0.0/8, whose headers about the
    /// client's address are trusted.
    #[arg(
        id = "gateway-trusted-proxies",
        long,
        env = "TIDEMARK_GATEWAY_TRUSTED_PROXIES",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<IpNet>,
    /// Origins like `https://shop.example` whose pages may call the API from a browser, or * for
    /// all.
    #[arg(
        id = "gateway-allowed-origins",
        long,
        env = "TIDEMARK_GATEWAY_ALLOWED_ORIGINS",
        value_delimiter = ','
    )]
    pub allowed_origins: Vec<Origin>,
}

/// The base address of an upstream: `http://host:port`, without a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address(Authority);

impl Address {
    /// Returns host and port.
    pub fn authority(&self) -> &Authority {
        &self.0
    }
}

/// The error for a text that is not a base address of the form `http://host:port`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a base address like http://127.0.0.1:5001")]
pub struct InvalidAddress;

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let uri: Uri = text.parse().map_err(|_| InvalidAddress)?;
        let bare = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        if uri.scheme() != Some(&Scheme::HTTP) || !bare {
            return Err(InvalidAddress);
        }
        uri.authority().cloned().map(Self).ok_or(InvalidAddress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_plain_http_without_a_path() {
        let address: Address = "http://orders.shop.svc:5003/".parse().unwrap();
        assert_eq!(address.authority().as_str(), "orders.shop.svc:5003");
        for wrong in [
            "",
            "orders:5003",
            "https://orders:5003",
            "http://orders:5003/v1",
            "http://orders:5003/?a=b",
        ] {
            assert_eq!(wrong.parse::<Address>(), Err(InvalidAddress), "{wrong}");
        }
    }
}
