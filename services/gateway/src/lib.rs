//! The gateway: one address for the browser and for clients of the API.
//!
//! The gateway owns no data. It sends `/api/<noun>…` without `/api` to the service of that noun
//! ([`Config`] has the addresses), serves the storefront at `/`, and reports the upstreams' health
//! at `/health`. Concerns of every request that belong to no single service live here: limits on
//! size, time and number, retries, forwarding headers, trace context.
//!
//! ```text
//! routes (here) ──▶ proxy ──▶ upstream (places, breaker, retries, pool) ──▶ service
//! ```
//!
//! Rate limits are applied before the body is read: by address, and by account if a token
//! identifies one. Permissions are left to the services, each of which verifies the token itself.

mod asset;
mod client;
mod config;
mod cors;
mod forwarded;
mod health;
mod openapi;
mod proxy;
mod storefront;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{MethodFilter, any, on};
use chassis::auth::Auth;
use chassis::{Health, Listeners, Metrics, ServeError, Shutdown};
use futures::future::{Ready, ready};

pub use config::{Address, Config, InvalidAddress};
pub use cors::{InvalidOrigin, Origin};
use proxy::{BodyLimits, PREFIX, Proxy};
use upstream::{Counts, Pools, Shared, Upstream};

/// Largest size of a request's body.
const BODY_LIMIT_BYTES: usize = 1 << 20;
/// The service whose request bodies are files.
const FILES: &str = "files";
/// The collection whose service stores the answer to a POST with an idempotency key and returns it
/// for a repeated request. Its description has the parameter `Idempotency-Key`. No other POST is sent
/// twice, with or without that header.
const KEEPS_KEYS: &str = "/api/orders";
/// The collection whose service sets cookies; no other gets any.
const TAKES_COOKIES: &str = "/api/users";
/// Routes for calls between services; the gateway answers clients as if they did not exist.
const HIDDEN: [&str; 1] = ["/api/products/reservations"];
/// The methods that the gateway forwards. The services themselves refuse a method that they do not
/// allow, and list the allowed ones.
const METHODS: MethodFilter = MethodFilter::GET
    .or(MethodFilter::HEAD)
    .or(MethodFilter::POST)
    .or(MethodFilter::PUT)
    .or(MethodFilter::PATCH)
    .or(MethodFilter::DELETE)
    .or(MethodFilter::OPTIONS);

/// The gateway's dependencies besides its settings. It owns no data.
#[derive(Clone)]
pub struct Parts {
    /// Finds the account that a request is counted against.
    pub auth: Auth,
}

/// Serves until a shutdown is requested.
///
/// # Errors
/// When connections cannot be accepted, or the system has no threads for them.
pub async fn run(
    config: Config,
    parts: Parts,
    listeners: impl Into<Listeners>,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let health = Health::of_services_behind("services");
    let metrics = Metrics::new("gateway");
    let router = router(&config, parts, &health, &metrics, &shutdown);
    let limits = chassis::Limits::default();

    let limits = chassis::Limits {
        connections_of_address: config.connections_of_address,
        proxies: config.trusted_proxies.clone(),
        head: config.head_timeout,
        reply: limits.reply.max(config.upload_timeout), // other routes have shorter limits
        ..limits
    };

    let server = chassis::Server {
        service: "gateway".to_owned(),
        router,
        health,
        metrics,
        limits,
    };
    server.run_on_own_threads(listeners, shutdown).await
}

/// Returns the routes of the API and the storefront; registers a health check for each upstream and
/// the upstreams' error counters.
pub fn router(
    config: &Config,
    parts: Parts,
    health: &Health,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Router {
    let shared = Shared {
        pools: Arc::new(Pools::new(config)),
        counts: Counts::register(metrics),
    };

    let addresses = [
        ("users", &config.users_url),
        ("products", &config.products_url),
        ("orders", &config.orders_url),
        ("notifications", &config.notifications_url),
        ("analytics", &config.analytics_url),
        (FILES, &config.files_url),
    ];

    let new = |(name, address)| Arc::new(Upstream::new(name, address, config, &shared));
    let upstreams = addresses.map(new);
    let mut api = openapi::router(upstreams.to_vec());

    for upstream in upstreams {
        health::watch(health, Arc::clone(&upstream));
        api = api.merge(routes_to(upstream, config, shutdown));
    }

    for path in HIDDEN {
        api = api
            .route(path, any(hidden))
            .route(&format!("{path}/{{*rest}}"), any(hidden));
    }

    let routes = cors::allow(
        client::know_clients(api, config, parts.auth),
        &config.allowed_origins,
    )
    .merge(storefront::router());

    match config.hsts {
        Some(life) => routes.layer(map_response(transport_security(life))),
        None => routes,
    }
}

/// Adds the header that makes browsers use TLS alone for this time (RFC 6797).
fn transport_security(
    life: Duration,
) -> impl Fn(Response) -> Ready<Response> + Clone + Send + Sync + 'static {
    let value = format!("max-age={}; includeSubDomains", life.as_secs());
    let value = HeaderValue::try_from(value).expect("digits and letters are a header value");
    move |mut response| {
        let headers = response.headers_mut();
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
        ready(response)
    }
}

fn routes_to(upstream: Arc<Upstream>, config: &Config, shutdown: &Shutdown) -> Router {
    let list = format!("{PREFIX}/{}", upstream.name());
    let below = format!("{list}/{{*rest}}");
    let body_limits = BodyLimits {
        bytes: BODY_LIMIT_BYTES,
        time: config.body_timeout,
    };

    let upload_time = (upstream.name() == FILES).then_some(config.upload_timeout);
    let proxy = Arc::new(Proxy {
        upstream,
        keeps_keys: list == KEEPS_KEYS,
        takes_cookies: list == TAKES_COOKIES,
        body_limits,
        upload_time,
        shutdown: shutdown.clone(),
    });
    let handler = on(METHODS, proxy::forward);

    Router::new()
        .route(&list, handler.clone())
        .route(&below, handler)
        .with_state(proxy)
}

/// Answers 404 as for an unknown path; the chassis adds the problem document.
async fn hidden() -> StatusCode {
    StatusCode::NOT_FOUND
}
