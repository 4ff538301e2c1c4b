//! The client of a request, and its rate limits.
//!
//! The client's address is the connection's own. If the connection comes from a trusted proxy, it is
//! the last address of `X-Forwarded-For` that is not a trusted proxy's: entries further left are not
//! trustworthy.
//!
//! There are three limits. The first counts the requests of an address; of an IPv6 address it takes
//! the first 64 bits, because one customer has all addresses of such a network. The second counts the
//! requests of an account from all addresses, and those of an address if there is no valid token. The
//! third counts the sign-ups of an address: a client with unlimited accounts would have no limit.

mod accounts;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use chassis::auth::Auth;
use chassis::{Problem, network_of};
use futures::future::BoxFuture;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use tower::Service;
use tower::layer::layer_fn;

use crate::config::Config;
use crate::forwarded::X_FORWARDED_FOR;
use accounts::Accounts;

/// Number of requests after which idle clients are removed.
const REQUESTS_BETWEEN_CLEANINGS: u64 = 4_096;

/// Sign-ups an hour from one address, if authentication is on and no setting overrides it.
const SIGN_UPS_AN_HOUR: u32 = 60;
/// The path at which accounts are created.
const SIGN_UP: &str = "/api/users";

/// The peer that opened a request's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: IpAddr,
    /// Whether it is a trusted proxy, whose statements about the client are kept.
    pub(crate) is_trusted: bool,
    /// The address of the client: the peer's own, or the one that trusted proxies state.
    pub(crate) client: IpAddr,
}

/// The state of the rate limits.
struct Clients {
    trusted: Vec<IpNet>,
    addresses: Option<Limiter>,
    accounts: Option<Limiter>,
    sign_ups: Option<Limiter>,
    known: Accounts,
}

/// The key by which requests are counted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Client {
    Address(IpAddr),
    Account(i64),
}

struct Limiter {
    seen: DefaultKeyedRateLimiter<Client>,
    clock: DefaultClock,
    requests: AtomicU64,
}

/// Adds the [`Peer`] to each request of these routes, and rejects clients over their rate limit.
pub(crate) fn know_clients(routes: Router, config: &Config, auth: Auth) -> Router {
    let limiter = |rate: Option<NonZeroU32>, burst: Option<_>| {
        rate.map(|rate| Limiter::new(Quota::per_second(rate).allow_burst(burst.unwrap_or(rate))))
    };

    let sign_ups =
        config
            .sign_up_limit
            .unwrap_or(if auth.is_open() { 0 } else { SIGN_UPS_AN_HOUR });

    let clients = Arc::new(Clients {
        trusted: config.trusted_proxies.clone(),
        addresses: limiter(config.rate_limit, config.rate_burst),
        accounts: limiter(config.account_rate_limit, config.account_rate_burst),
        sign_ups: NonZeroU32::new(sign_ups).map(|an_hour| Limiter::new(Quota::per_hour(an_hour))),
        known: Accounts::new(auth),
    });

    routes.layer(layer_fn(move |routes| Admission {
        routes,
        clients: Arc::clone(&clients),
    }))
}

/// Routes behind the rate limits.
#[derive(Clone)]
struct Admission<R> {
    routes: R,
    clients: Arc<Clients>,
}

impl<R> Service<Request> for Admission<R>
where
    R: Service<Request, Response = Response> + Clone + Send + 'static,
    R::Future: Send,
{
    type Response = Response;
    type Error = R::Error;
    type Future = BoxFuture<'static, Result<Response, R::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        self.routes.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let mut routes = self.routes.clone();
        let clients = Arc::clone(&self.clients);
        Box::pin(async move {
            match clients.admit(&mut request).await {
                Ok(()) => routes.call(request).await,
                Err(problem) => Ok(problem.into_response()),
            }
        })
    }
}

impl Clients {
    /// Adds the peer to a request, if its client is within the rate limit.
    async fn admit(&self, request: &mut Request) -> Result<(), Problem> {
        // A router that a test calls without a connection has no peer and no limits.
        let Some(ConnectInfo(socket)) = request.extensions().get::<ConnectInfo<SocketAddr>>()
        else {
            return Ok(());
        };

        let address = socket.ip().to_canonical();
        let peer = Peer::new(address, request.headers(), &self.trusted);
        let client = Client::Address(network_of(peer.client));
        self.count_address(client, request)?;
        self.count_account(client, request.headers()).await?;
        request.extensions_mut().insert(peer);

        Ok(())
    }

    fn count_address(&self, client: Client, request: &Request) -> Result<(), Problem> {
        if let Some(limiter) = &self.addresses {
            let too_many =
                |wait| Problem::too_many_requests("too many requests from this address", wait);
            limiter.admit(client).map_err(too_many)?;
        }

        if let Some(limiter) = self.sign_ups.as_ref().filter(|_| is_sign_up(request)) {
            let too_many =
                |wait| Problem::too_many_requests("too many sign-ups from this address", wait);
            limiter.admit(client).map_err(too_many)?;
        }

        Ok(())
    }

    /// Counts the request against its account. This comes after the address's limit, because
    /// verifying a token costs more.
    async fn count_account(&self, client: Client, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(limiter) = &self.accounts else {
            return Ok(());
        };
        let client = self.known.of(headers).await.map_or(client, Client::Account);
        let too_many = |wait| Problem::too_many_requests("too many requests of this account", wait);
        limiter.admit(client).map_err(too_many)
    }
}

impl Limiter {
    fn new(quota: Quota) -> Self {
        let seen = RateLimiter::keyed(quota);
        Self {
            seen,
            clock: DefaultClock::default(),
            requests: AtomicU64::new(0),
        }
    }

    fn admit(&self, client: Client) -> Result<(), Duration> {
        if self
            .requests
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(REQUESTS_BETWEEN_CLEANINGS)
        {
            self.seen.retain_recent();
        }

        self.seen
            .check_key(&client)
            .map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

fn is_sign_up(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() == SIGN_UP
}

fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

impl Peer {
    fn new(address: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = is_trusted(trusted, address);
        let client = if is_trusted {
            client_behind(address, headers, trusted)
        } else {
            address
        };

        Self {
            address,
            is_trusted,
            client,
        }
    }
}

/// Returns the client's address for a request from a trusted proxy: the last address in the headers
/// that is not a trusted proxy's.
fn client_behind(proxy: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut client = proxy;
    let chain = headers
        .get_all(X_FORWARDED_FOR)
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    let chain: Vec<&str> = chain.flat_map(|line| line.split(',')).collect();

    for text in chain.into_iter().rev() {
        let Ok(address) = text.trim().parse::<IpAddr>() else {
            break;
        };

        client = address.to_canonical();
        if !is_trusted(trusted, client) {
            break;
        }
    }

    client
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: [u8; 4], chain: &'static str) -> IpAddr {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::from_static(chain))]);
        Peer::new(IpAddr::from(peer), &headers, &trusted).client
    }

    #[test]
    fn without_a_trusted_proxy_the_connection_is_the_client() {
        assert_eq!(
            client([192, 0, 2, 7], "198.51.100.1"),
            IpAddr::from([192, 0, 2, 7])
        );
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
        let real = IpAddr::from([198, 51, 100, 1]);
        assert_eq!(client([10, 0, 0, 1], "198.51.100.1"), real);
        assert_eq!(
            client([10, 0, 0, 1], "203.0.113.5, 198.51.100.1, 10.9.9.9"),
            real,
            "addresses further left are not trusted"
        );

        assert_eq!(client([10, 0, 0, 1], ""), IpAddr::from([10, 0, 0, 1]));
        assert_eq!(
            client([10, 0, 0, 1], "198.51.100.1, nonsense"),
            IpAddr::from([10, 0, 0, 1])
        );
    }

    #[test]
    fn a_customers_whole_ipv6_network_counts_as_one() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::2"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    }

    #[test]
    fn a_client_over_its_limit_gets_the_wait_and_others_pass() {
        let limiter = Limiter::new(
            Quota::per_second(NonZeroU32::MIN).allow_burst(NonZeroU32::new(2).unwrap()),
        );
        let one = Client::Account(1);
        let other = Client::Address([192, 0, 2, 2].into());

        assert_eq!(limiter.admit(one), Ok(()));
        assert_eq!(limiter.admit(one), Ok(()));
        assert!(limiter.admit(one).unwrap_err() <= Duration::from_secs(1));
        assert_eq!(limiter.admit(other), Ok(()));
    }
}
