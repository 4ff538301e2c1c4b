//! Pools of connections to the upstreams.
//!
//! Each thread has its own pool, because a connection is driven by the thread that opened it: a
//! request on another thread's connection would make the two threads wake each other.

use std::time::Duration;

use axum::body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thread_local::ThreadLocal;

use crate::config::Config;

/// Idle time after which a connection is closed: shorter than the upstreams' own, so that no
/// request is sent on a closing connection.
const IDLE: Duration = Duration::from_secs(20);
/// Interval of the system's keep-alive probes.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// One pool.
pub(super) type Pool = Client<HttpConnector, Body>;

/// A pool for each thread.
pub(crate) struct Pools {
    connect_timeout: Duration,
    most_idle: usize,
    of_threads: ThreadLocal<Pool>,
}

impl Pools {
    /// Returns empty pools.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            connect_timeout: config.connect_timeout,
            most_idle: config.concurrency,
            of_threads: ThreadLocal::new(),
        }
    }

    /// Returns this thread's pool.
    pub(super) fn here(&self) -> &Pool {
        self.of_threads.get_or(|| {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            connector.set_connect_timeout(Some(self.connect_timeout));
            connector.set_keepalive(Some(KEEP_ALIVE));

            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(self.most_idle)
                .build(connector)
        })
    }
}
