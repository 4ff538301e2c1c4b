//! The client of a request, as far as log-in needs it: its network, and its device if it has sent a cookie.
//!
//! The gateway sends the client's address in a header, which clients cannot set. For a request that did not pass the
//! gateway, the connection's address is used.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use chassis::{SecurityEvents, network_of};

use super::keeping::{Keeping, cookie, in_cookie};
use crate::password::Waiter;
use crate::store::sessions::UsedFrom;
use crate::token;

/// The header of the client's address, as determined by the gateway.
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("tidemark-client-address");
const DEVICE: &str = "tidemark_device";
const DEVICE_KNOWN_FOR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The client of a request.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// The IPv4 address, or the first 64 bits of the IPv6 address, because one customer has all addresses of such a
    /// network.
    pub(super) network: IpAddr,
    /// The header `User-Agent`.
    user_agent: String,
    /// The secret in the device's cookie.
    device: Option<String>,
    /// The counters of the security log.
    pub(super) events: SecurityEvents,
}

impl Client {
    /// Returns the names under which this client may be known to an account: that of its device, then that of its
    /// network.
    pub(super) fn names(&self) -> Vec<String> {
        let device = self.device.as_deref();
        let device = device.map(|secret| format!("device:{}", token::hash(secret)));
        let network = format!("network:{}", self.network);
        device.into_iter().chain([network]).collect()
    }

    /// Returns the network and user agent that are stored with its session.
    pub(super) fn used_from(&self) -> UsedFrom {
        UsedFrom::new(self.network.to_string(), &self.user_agent)
    }

    /// Returns this client as a waiter for a turn to hash that is not known to an account.
    pub(super) fn as_stranger(&self) -> Waiter {
        Waiter {
            network: self.network,
            is_known: false,
        }
    }

    /// Creates the cookie that identifies the browser's device later, and returns it; none if the browser already has
    /// one, or if the client uses no cookies.
    pub(super) fn give_device(&mut self, keeping: Keeping) -> Option<HeaderValue> {
        let Keeping::Cookie { is_secure } = keeping else {
            return None;
        };
        if self.device.is_some() {
            return None;
        }

        let secret = token::generate();
        let set = cookie(DEVICE, &secret, DEVICE_KNOWN_FOR, is_secure);
        self.device = Some(secret);

        Some(set)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let connection = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let address = stated(&parts.headers)
            .or(connection.map(|ConnectInfo(socket)| socket.ip()))
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let Ok(events) = SecurityEvents::from_request_parts(parts, &()).await;
        let user_agent = parts.headers.get(header::USER_AGENT);
        let user_agent = user_agent.and_then(|value| value.to_str().ok());

        Ok(Self {
            network: network_of(address),
            user_agent: user_agent.unwrap_or_default().to_owned(),
            device: in_cookie(&parts.headers, DEVICE),
            events,
        })
    }
}

fn stated(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get(CLIENT_ADDRESS)?.to_str().ok()?.parse().ok()
}
