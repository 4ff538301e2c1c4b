//! The connections to the upstreams, kept for the next request.
//!
//! Each thread has its own, for a connection is driven by the thread that made it: a request that took another's would wake
//! that thread, and be woken by it.

use std::time::Duration;

use axum::body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thread_local::ThreadLocal;

use crate::config::Config;

/// Connections nobody used for so long are closed: before the upstreams close them, so that no request meets a closing one.
const IDLE: Duration = Duration::from_secs(20);
/// How often the system looks whether the other end is still there.
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
    /// Empty ones.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            connect_timeout: config.connect_timeout,
            most_idle: config.concurrency,
            of_threads: ThreadLocal::new(),
        }
    }

    /// This thread's.
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
