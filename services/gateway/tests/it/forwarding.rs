//! The parts of a request that are forwarded to the upstream, and of an answer to the client.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{Gateway, before_orders, config, problem, upstream};

/// Answers with its request.
fn mirror() -> Router {
    Router::new().fallback(async |request: Request| {
        let (head, body) = request.into_parts();
        let text = |headers: &HeaderMap, name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let names: Vec<&str> = head.headers.keys().map(|name| name.as_str()).collect();

        let seen = json!({
            "method": head.method.as_str(),
            "uri": head.uri.to_string(),
            "host": text(&head.headers, "host"),
            "forwarded_for": text(&head.headers, "x-forwarded-for"),
            "forwarded_host": text(&head.headers, "x-forwarded-host"),
            "forwarded_proto": text(&head.headers, "x-forwarded-proto"),
            "request_id": text(&head.headers, "x-request-id"),
            "traceparent": text(&head.headers, "traceparent"),
            "names": names,
            "body": String::from_utf8(axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap(),
        });

        axum::Json(seen)
    })
}

#[tokio::test]
async fn each_noun_goes_to_its_service_without_the_prefix() {
    let mut config = config();
    for (url, name) in [
        (&mut config.users_url, "users"),
        (&mut config.products_url, "products"),
        (&mut config.orders_url, "orders"),
        (&mut config.notifications_url, "notifications"),
        (&mut config.analytics_url, "analytics"),
    ] {
        let answer = any(async move |request: Request| format!("{name} {}", request.uri()));
        *url = upstream(Router::new().fallback(answer))
            .await
            .parse()
            .unwrap();
    }

    let gateway = Gateway::start(config).await;
    for (asked, expected) in [
        ("/api/users", "users /users"),
        (
            "/api/products/7?full=yes%20please",
            "products /products/7?full=yes%20please",
        ),
        ("/api/orders/1/items/2", "orders /orders/1/items/2"),
        (
            "/api/notifications?limit=5",
            "notifications /notifications?limit=5",
        ),
        ("/api/analytics/recent", "analytics /analytics/recent"),
    ] {
        assert_eq!(gateway.get(asked).await.text().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn the_upstream_learns_who_asked_and_nothing_of_the_hop() {
    let gateway = before_orders(mirror()).await;
    let request = gateway.request(Method::POST, "/api/orders").body("{}");
    let request = request
        .header("connection", "x-private")
        .header("x-private", "1")
        .header("te", "trailers");

    let request = request
        .header("x-forwarded-for", "203.0.113.9")
        .header("x-forwarded-proto", "https");
    let seen: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(seen["method"], "POST");
    assert_eq!(seen["body"], "{}");

    assert_eq!(
        seen["forwarded_for"], "127.0.0.1",
        "a stranger's claim is not believed"
    );

    assert_eq!(seen["forwarded_proto"], "http");
    assert_eq!(seen["forwarded_host"], gateway.address.to_string());
    assert_ne!(seen["host"], seen["forwarded_host"]);

    let names: Vec<&str> = seen["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();

    assert!(
        !names
            .iter()
            .any(|name| ["connection", "x-private", "te", "transfer-encoding"].contains(name)),
        "{names:?}"
    );
}

#[tokio::test]
async fn cookies_go_to_the_service_that_sets_them_alone() {
    let mut config = config();
    let seen = upstream(mirror()).await;
    config.users_url = seen.parse().unwrap();
    config.orders_url = seen.parse().unwrap();
    let gateway = Gateway::start(config).await;

    for (path, is_sent) in [("/api/users/refresh", true), ("/api/orders", false)] {
        let request = gateway
            .request(Method::POST, path)
            .header("cookie", "a=b")
            .header("cookie", "c=d");
        let seen: Value = request.send().await.unwrap().json().await.unwrap();
        let names = seen["names"].as_array().unwrap();
        assert_eq!(names.contains(&json!("cookie")), is_sent, "{path}");
        assert!(names.contains(&json!("x-request-id")), "{path}");
    }
}

#[tokio::test]
async fn a_request_keeps_its_id_and_trace_and_gets_them_when_it_has_none() {
    let gateway = before_orders(mirror()).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = gateway.request(Method::GET, "/api/orders");

    let named = request
        .header("x-request-id", "from-the-client")
        .header("traceparent", parent)
        .send()
        .await
        .unwrap();
    assert_eq!(named.headers()["x-request-id"], "from-the-client");

    let seen: Value = named.json().await.unwrap();
    assert_eq!(
        (&seen["request_id"], &seen["traceparent"]),
        (&json!("from-the-client"), &json!(parent))
    );

    let nameless = gateway.get("/api/orders").await;
    let id = nameless.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();

    let seen: Value = nameless.json().await.unwrap();
    assert_eq!(seen["request_id"], id);
    assert_eq!(seen["traceparent"].as_str().unwrap().len(), parent.len());
}

#[tokio::test]
async fn an_answer_crosses_as_it_is_without_the_headers_of_the_hop() {
    let answer = any(async || -> Response {
        let headers = [
            ("connection", "x-private"),
            ("x-private", "1"),
            ("etag", "\"7\""),
            ("set-cookie", "a=b"),
        ];
        (
            axum::http::StatusCode::IM_A_TEAPOT,
            headers,
            Body::from("short and stout"),
        )
            .into_response()
    });

    let gateway = before_orders(Router::new().fallback(answer)).await;
    let answer = gateway.get("/api/orders").await;

    assert_eq!(answer.status(), 418);
    assert_eq!(answer.headers()["etag"], "\"7\"");
    assert_eq!(answer.headers()["set-cookie"], "a=b");
    assert_eq!(answer.headers()["content-length"], "15");
    assert!(!answer.headers().contains_key("x-private"));
    assert_eq!(answer.text().await.unwrap(), "short and stout");
}

#[tokio::test]
async fn allow_is_passed_on_and_locations_get_the_prefix() {
    let created = (axum::http::StatusCode::CREATED, [("location", "/orders/7")]);
    let gateway = before_orders(Router::new().route("/orders", post(created))).await;
    for method in [Method::OPTIONS, Method::DELETE] {
        let refused = gateway.request(method, "/api/orders").send().await.unwrap();
        assert_eq!(refused.headers()["allow"], "POST");
        problem(refused, 405).await;
    }

    let created = gateway
        .request(Method::POST, "/api/orders")
        .send()
        .await
        .unwrap();
    assert_eq!(created.headers()["location"], "/api/orders/7");
}

#[tokio::test]
async fn what_is_not_a_route_is_explained() {
    let gateway = before_orders(mirror()).await;
    for path in [
        "/api",
        "/api/",
        "/api/orders/",
        "/api/nothing",
        "/api/metrics",
        "/nothing",
        "/assets/",
    ] {
        problem(gateway.get(path).await, 404).await;
    }

    let trace = Method::from_bytes(b"TRACE").unwrap();
    for (method, path) in [
        (trace, "/api/orders"),
        (Method::POST, "/"),
        (Method::DELETE, "/live"),
    ] {
        let refused = gateway.request(method, path).send().await.unwrap();
        assert!(refused.headers().contains_key("allow"), "{path}");
        problem(refused, 405).await;
    }
}

#[tokio::test]
async fn reservations_of_stock_are_not_for_clients() {
    let products_url = upstream(mirror()).await.parse().unwrap();
    let gateway = Gateway::start(gateway::Config {
        products_url,
        ..config()
    })
    .await;

    for path in ["/api/products/reservations", "/api/products/reservations/7"] {
        let refused = gateway
            .request(Method::POST, path)
            .body("{}")
            .send()
            .await
            .unwrap();
        problem(refused, 404).await;
    }

    assert_eq!(gateway.get("/api/products/7").await.status(), 200);
}
