//! Tests of the gateway's contract, with real upstream servers on loopback.

#![allow(clippy::unwrap_used)]

mod clients;
mod description;
mod forwarding;
mod limits;
mod pages;
mod streaming;
mod trouble;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use chassis::auth::Auth;
use chassis::{Listeners, Shutdown};
use clap::Parser;
use gateway::{Config, Parts};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A short time for tests: long enough for an answer on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);

/// A gateway that serves until its test ends.
struct Gateway {
    address: SocketAddr,
    operator: SocketAddr,
    shutdown: Shutdown,
    served: JoinHandle<()>,
    client: reqwest::Client,
}

impl Gateway {
    async fn start(config: Config) -> Self {
        Self::start_knowing(config, Auth::open()).await
    }

    /// Starts a gateway that authenticates callers by `auth`.
    async fn start_knowing(config: Config, auth: Auth) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let operator = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let operator_address = operator.local_addr().unwrap();

        let listeners = Listeners {
            public: listener,
            operator: Some(operator),
        };

        let shutdown = Shutdown::new();
        let served = gateway::run(config, Parts { auth }, listeners, shutdown.clone());
        let served = tokio::spawn(async move { served.await.unwrap() });

        Self {
            address,
            operator: operator_address,
            shutdown,
            served,
            client: reqwest::Client::new(),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    /// Returns its metrics, from the operator's address.
    async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.operator);
        let answer = self.client.get(url).send().await.unwrap();
        answer.text().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }
}

/// Returns the default settings, with addresses of upstreams where nothing listens.
fn config() -> Config {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        gateway: Config,
    }

    let nowhere = "http://127.0.0.1:1";
    let mut config = Flags::parse_from(["gateway"]).gateway;
    for url in [
        &mut config.users_url,
        &mut config.products_url,
        &mut config.orders_url,
        &mut config.notifications_url,
        &mut config.analytics_url,
        &mut config.files_url,
    ] {
        *url = nowhere.parse().unwrap();
    }

    config
}

/// Serves `router` on a port of its own, and returns its address.
async fn upstream(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    serve(listener, router);
    address
}

/// Serves `router` until the task is aborted.
fn serve(listener: TcpListener, router: Router) -> JoinHandle<()> {
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
}

/// Starts a gateway whose orders service is `router`.
async fn before_orders(router: Router) -> Gateway {
    let orders_url = upstream(router).await.parse().unwrap();
    Gateway::start(Config {
        orders_url,
        ..config()
    })
    .await
}

/// Asserts that the answer is a problem document with this status, and returns its detail.
async fn problem(response: Response, status: u16) -> String {
    assert_eq!(response.status(), status);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );

    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    body["detail"].as_str().unwrap().to_owned()
}
