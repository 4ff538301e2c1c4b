//! Upstreams that are unavailable, slow or broken, and that recover.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{any, get};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::{Gateway, SHORT, before_orders, config, problem, serve, upstream};

#[tokio::test]
async fn an_upstream_that_is_away_is_named() {
    let gateway = Gateway::start(config()).await;
    let refused = gateway
        .request(Method::POST, "/api/orders")
        .body("{}")
        .send()
        .await
        .unwrap();

    assert_eq!(
        problem(refused, 502).await,
        "the orders service cannot be reached"
    );
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_in_time_is_named() {
    let orders = Router::new().fallback(any(async || std::future::pending::<StatusCode>().await));
    let orders_url = upstream(orders).await.parse().unwrap();
    let gateway = Gateway::start(gateway::Config {
        orders_url,
        response_timeout: SHORT,
        ..config()
    })
    .await;

    assert_eq!(
        problem(gateway.get("/api/orders").await, 504).await,
        "the orders service did not answer in time"
    );
}

/// Starts an upstream that closes the first connection after it has read a request, and answers on the others.
async fn breaking_once() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        drop(read_head(&listener).await);
        loop {
            let mut stream = read_head(&listener).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nagain")
                .await
                .unwrap();
        }
    });

    address
}

async fn read_head(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream
}

#[tokio::test]
async fn a_read_is_tried_again_when_its_connection_breaks() {
    let orders_url = breaking_once().await.parse().unwrap();
    let gateway = Gateway::start(gateway::Config {
        orders_url,
        ..config()
    })
    .await;

    assert_eq!(
        gateway.get("/api/orders").await.text().await.unwrap(),
        "again"
    );

    let metrics = gateway.metrics().await;
    assert!(
        metrics
            .contains("gateway_upstream_retries_total{upstream=\"orders\",service=\"gateway\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn an_order_is_not_tried_again_unless_it_has_a_key() {
    for (key, status) in [(None, 502), (Some("k"), 200)] {
        let orders_url = breaking_once().await.parse().unwrap();
        let gateway = Gateway::start(gateway::Config {
            orders_url,
            ..config()
        })
        .await;
        let request = gateway.request(Method::POST, "/api/orders");
        let request = key.into_iter().fold(request, |request, key| {
            request.header("idempotency-key", key)
        });

        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

/// Only the description of orders has an idempotency key.
#[test]
fn orders_are_all_that_is_kept_by_key() {
    let mut kept = Vec::new();
    for description in [
        include_str!("../../../users/openapi.json"),
        include_str!("../../../products/openapi.json"),
        include_str!("../../../orders/openapi.json"),
        include_str!("../../../notifications/openapi.json"),
        include_str!("../../../analytics/openapi.json"),
        include_str!("../../../file-processor/openapi.json"),
    ] {
        let document: Value = serde_json::from_str(description).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            let operation = item["post"].to_string();
            if operation.to_lowercase().contains("idempotency-key") {
                kept.push(path.clone());
            }
        }
    }

    assert_eq!(kept, ["/orders"]);
}

#[tokio::test]
async fn a_key_does_not_have_other_services_asked_twice() {
    for path in ["/api/users", "/api/users/login"] {
        let users_url = breaking_once().await.parse().unwrap();
        let gateway = Gateway::start(gateway::Config {
            users_url,
            ..config()
        })
        .await;
        let request = gateway.request(Method::POST, path);
        let answer = request.header("idempotency-key", "k").send().await.unwrap();

        assert_eq!(answer.status(), 502, "{path}");
    }

    let orders_url = breaking_once().await.parse().unwrap();
    let gateway = Gateway::start(gateway::Config {
        orders_url,
        ..config()
    })
    .await;
    let request = gateway.request(Method::POST, "/api/orders/7");
    let answer = request.header("idempotency-key", "k").send().await.unwrap();

    assert_eq!(answer.status(), 502);
}

#[tokio::test]
async fn an_upstream_that_keeps_failing_is_not_called_for_a_while() {
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = place.local_addr().unwrap();
    drop(place);

    let orders_url = format!("http://{address}").parse().unwrap();
    let gateway = Gateway::start(gateway::Config {
        orders_url,
        ..config()
    })
    .await;

    for _ in 0..5 {
        problem(
            gateway
                .request(Method::POST, "/api/orders")
                .send()
                .await
                .unwrap(),
            502,
        )
        .await;
    }

    let refused = gateway
        .request(Method::POST, "/api/orders")
        .send()
        .await
        .unwrap();
    assert!(refused.headers().contains_key("retry-after"));

    assert_eq!(
        problem(refused, 503).await,
        "the orders service failed repeatedly and is not called: circuit breaker open"
    );

    let metrics = gateway.metrics().await;
    let counted = |kind: &str, count| {
        let labels = format!("{{kind=\"{kind}\",upstream=\"orders\",service=\"gateway\"}}");
        assert!(
            metrics.contains(&format!("gateway_upstream_failures_total{labels} {count}")),
            "{metrics}"
        );
    };
    counted("unreachable", 5);
    counted("circuit_open", 1);

    serve(
        TcpListener::bind(address).await.unwrap(),
        Router::new().route("/orders", get("back")),
    );

    let back = async {
        while gateway.get("/api/orders").await.status() != 200 {
            sleep(SHORT / 10).await;
        }
    };

    timeout(Duration::from_secs(10), back)
        .await
        .expect("a probe reaches the upstream");
}

#[tokio::test]
async fn an_upstreams_own_errors_are_answers() {
    let orders = Router::new().fallback(any(StatusCode::INTERNAL_SERVER_ERROR));
    let gateway = before_orders(orders).await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/api/orders").await.status(), 500);
    }
}

#[tokio::test]
async fn health_sums_up_the_upstreams() {
    let ready = || Router::new().route("/health/ready", get("ok"));
    let mut config = config();
    for url in [
        &mut config.users_url,
        &mut config.products_url,
        &mut config.notifications_url,
        &mut config.analytics_url,
        &mut config.files_url,
    ] {
        *url = upstream(ready()).await.parse().unwrap();
    }

    let degraded = Gateway::start(config.clone()).await.get("/health").await;
    assert_eq!(degraded.status(), 503);
    let body: Value = degraded.json().await.unwrap();
    assert_eq!(body["status"], "degraded");

    assert_eq!(
        (&body["services"]["orders"], &body["services"]["users"]),
        (&json!("unavailable"), &json!("ok"))
    );

    config.orders_url = upstream(ready()).await.parse().unwrap();
    let gateway = Gateway::start(config).await;
    let whole = gateway.get("/health").await;
    assert_eq!(whole.status(), 200);

    let ok = [
        "users",
        "products",
        "orders",
        "notifications",
        "analytics",
        "files",
    ]
    .map(|name| (name.to_owned(), json!("ok")));
    let services = Value::from_iter(ok);

    assert_eq!(
        whole.json::<Value>().await.unwrap(),
        json!({"status": "ok", "services": services})
    );
}

#[tokio::test]
async fn the_gateway_is_ready_whatever_becomes_of_its_upstreams() {
    let gateway = Gateway::start(config()).await;
    assert_eq!(gateway.get("/health").await.status(), 503);
    assert_eq!(gateway.get("/health/ready").await.status(), 200);
}
