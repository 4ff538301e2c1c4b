//! Limits on sizes, times and numbers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use reqwest::{Body, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};

use crate::{Gateway, SHORT, before_orders, config, problem, upstream};

const MIB: usize = 1 << 20;

/// Answers with the length of the body.
fn measuring() -> Router {
    let measure = post(async |body: axum::body::Bytes| body.len().to_string());
    Router::new()
        .route("/orders", measure)
        .layer(DefaultBodyLimit::disable())
}

#[tokio::test]
async fn a_body_of_a_mebibyte_passes_and_a_larger_one_does_not() {
    let gateway = before_orders(measuring()).await;
    let send = |body: Body| {
        gateway
            .request(Method::POST, "/api/orders")
            .body(body)
            .send()
    };

    let chunked = |size| {
        Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>(vec![
            0_u8;
            size
        ])]))
    };

    assert_eq!(
        send(vec![0; MIB].into())
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
        MIB.to_string()
    );

    assert_eq!(
        send(chunked(MIB)).await.unwrap().text().await.unwrap(),
        MIB.to_string()
    );

    problem(send(vec![0; MIB + 1].into()).await.unwrap(), 413).await;
    problem(send(chunked(MIB + 1)).await.unwrap(), 413).await;
}

#[tokio::test]
async fn a_file_may_be_longer_and_is_handed_on_as_it_comes() {
    let files = Router::new().route(
        "/files",
        post(async |body: axum::body::Bytes| body.len().to_string()),
    );

    let files_url = upstream(files.layer(DefaultBodyLimit::disable()))
        .await
        .parse()
        .unwrap();

    let gateway = Gateway::start(gateway::Config {
        files_url,
        ..config()
    })
    .await;

    let send = |body: Body| {
        gateway
            .request(Method::POST, "/api/files?name=a.csv")
            .body(body)
            .send()
    };

    assert_eq!(
        send(vec![0; 3 * MIB].into())
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
        (3 * MIB).to_string()
    );

    let pieces = (0..3).map(|_| Ok::<_, std::io::Error>(vec![0_u8; MIB]));
    let chunked = Body::wrap_stream(futures::stream::iter(pieces.collect::<Vec<_>>()));
    assert_eq!(
        send(chunked).await.unwrap().text().await.unwrap(),
        (3 * MIB).to_string()
    );
}

#[tokio::test]
async fn a_file_that_breaks_off_is_no_fault_of_the_upstream() {
    let files = Router::new().route(
        "/files",
        post(async |body: axum::body::Bytes| body.len().to_string()),
    );
    let files_url = upstream(files).await.parse().unwrap();

    let gateway = Gateway::start(gateway::Config {
        files_url,
        ..config()
    })
    .await;

    for _ in 0..20 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream
            .write_all(b"POST /api/files HTTP/1.1\r\nhost: shop\r\ncontent-length: 10\r\n\r\n{")
            .await
            .unwrap();

        stream.shutdown().await.unwrap();
        // The gateway may close the connection without an answer, because the client has gone.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }

    let answer = gateway
        .request(Method::POST, "/api/files")
        .body("[]")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.text().await.unwrap(), "2");
}

#[tokio::test]
async fn a_body_that_arrives_too_slowly_does_not_reach_the_upstream() {
    let gateway = Gateway::start(gateway::Config {
        body_timeout: SHORT,
        ..config()
    })
    .await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();

    stream
        .write_all(b"POST /api/orders HTTP/1.1\r\nhost: shop\r\ncontent-length: 10\r\n\r\n{")
        .await
        .unwrap();

    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn a_client_that_never_ends_its_head_is_let_go() {
    let gateway = Gateway::start(gateway::Config {
        head_timeout: SHORT,
        ..config()
    })
    .await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();

    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nx-slow: ")
        .await
        .unwrap();

    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn clients_that_dawdle_do_not_keep_others_waiting() {
    let gateway = before_orders(measuring()).await;
    let mut dawdlers = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream
            .write_all(b"POST /api/orders HTTP/1.1\r\nhost: shop\r\ncontent-length: 10\r\n\r\n{")
            .await
            .unwrap();
        dawdlers.push(stream);
    }

    let answer = gateway
        .request(Method::POST, "/api/orders")
        .body("[]")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.text().await.unwrap(), "2");
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let gateway = before_orders(measuring()).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nhost: shop\r\nx-long: {}\r\n\r\n",
        "a".repeat(MIB)
    );

    // The gateway may close the connection before it has read the whole head.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = vec![0; 12];
    match stream.read_exact(&mut answer).await {
        Ok(_) => assert_eq!(answer, b"HTTP/1.1 431"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

/// The state of an upstream that answers a request only when the test allows it.
struct Gate {
    arrived: Semaphore,
    open: Notify,
}

async fn wait(State(gate): State<Arc<Gate>>) -> &'static str {
    gate.arrived.add_permits(1);
    gate.open.notified().await;
    "done"
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_until_a_place_is_free() {
    let gate = Arc::new(Gate {
        arrived: Semaphore::new(0),
        open: Notify::new(),
    });

    let orders = Router::new()
        .route("/orders", get(wait))
        .with_state(Arc::clone(&gate));
    let orders_url = upstream(orders).await.parse().unwrap();

    let users_url = upstream(Router::new().route("/users", get("others")))
        .await
        .parse()
        .unwrap();

    let gateway = Gateway::start(gateway::Config {
        orders_url,
        users_url,
        concurrency: 1,
        ..config()
    })
    .await;
    let first = tokio::spawn(gateway.request(Method::GET, "/api/orders").send());
    gate.arrived.acquire().await.unwrap().forget();

    let refused = gateway.get("/api/orders").await;
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(problem(refused, 503).await, "the orders service is busy");

    assert_eq!(
        gateway.get("/api/users").await.status(),
        200,
        "each upstream has places of its own"
    );

    gate.open.notify_one();
    assert_eq!(first.await.unwrap().unwrap().text().await.unwrap(), "done");
    let second = tokio::spawn(gateway.request(Method::GET, "/api/orders").send());
    gate.arrived.acquire().await.unwrap().forget();
    gate.open.notify_one();

    assert_eq!(second.await.unwrap().unwrap().status(), 200);
}
