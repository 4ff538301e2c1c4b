//! Connections over loopback: their limits, and the end of a server.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use chassis::{Health, Limits, Listeners, Metrics, ServeError, Server, Shutdown};
use futures::{Stream, StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

struct Running {
    address: SocketAddr,
    operator: SocketAddr,
    shutdown: Shutdown,
    /// Notified when a request has reached `/slow`.
    reached: Arc<Notify>,
    /// Notified when the body of `/large` was dropped.
    released: Arc<Notify>,
    /// Notified to let the requests at `/slow` finish.
    release: Arc<Notify>,
    server: JoinHandle<Result<(), ServeError>>,
}

/// Larger than the buffers between client and server.
const LARGE_BYTES: usize = 64 << 20;

/// Notifies when it is dropped.
struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Returns a body of [`LARGE_BYTES`], in pieces.
fn endless(dropped: Dropped) -> impl Stream<Item = Result<Vec<u8>, Infallible>> {
    let pieces = LARGE_BYTES >> 16;
    stream::iter(0..pieces).map(move |_| {
        let _held = &dropped;
        Ok(vec![b'x'; 1 << 16])
    })
}

async fn start(limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let operator = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let operator_address = operator.local_addr().unwrap();

    let listeners = Listeners {
        public: listener,
        operator: Some(operator),
    };

    let released = Arc::new(Notify::new());
    let large = {
        let released = Arc::clone(&released);
        async move || Body::from_stream(endless(Dropped(released)))
    };

    let reached = Arc::new(Notify::new());
    let release = Arc::new(Notify::new());
    let shutdown = Shutdown::new();

    let slow = {
        let reached = Arc::clone(&reached);
        let release = Arc::clone(&release);
        async move || {
            reached.notify_one();
            release.notified().await;
            "done"
        }
    };

    let router = Router::new()
        .route("/slow", get(slow))
        .route("/large", get(large))
        .route("/quick", get(async || "quick"));

    let server = Server {
        service: "test".into(),
        router,
        health: Health::new(),
        metrics: Metrics::new("test"),
        limits,
    };
    let server = tokio::spawn(server.run(listeners, shutdown.clone()));

    Running {
        address,
        operator: operator_address,
        released,
        shutdown,
        reached,
        release,
        server,
    }
}

async fn send(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// Returns the bytes until the server closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut reply = Vec::new();
    match stream.read_to_end(&mut reply).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }

    String::from_utf8(reply).unwrap()
}

#[tokio::test]
async fn a_shutdown_finishes_requests_and_closes_idle_connections() {
    let running = start(Limits::default()).await;
    let idle = send(running.address, "").await;
    let slow = send(running.address, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    running.reached.notified().await;
    running.shutdown.request();

    assert_eq!(rest(idle).await, "");
    running.release.notify_one();
    assert!(rest(slow).await.ends_with("done"));
    running.server.await.unwrap().unwrap();

    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn what_does_not_finish_is_cut_off_at_the_deadline() {
    let drain = Duration::from_millis(100);
    let running = start(Limits {
        drain,
        ..Limits::default()
    })
    .await;
    let slow = send(running.address, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    running.reached.notified().await;

    let began = Instant::now();
    running.shutdown.request();
    running.server.await.unwrap().unwrap();

    assert!(began.elapsed() >= drain && began.elapsed() < Duration::from_secs(5));
    assert_eq!(rest(slow).await, "");
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_head_is_dropped() {
    let running = start(Limits {
        head: Duration::from_millis(100),
        ..Limits::default()
    })
    .await;
    let dawdling = send(running.address, "GET /quick HTTP/1.1\r\nhost:").await;
    assert!(!rest(dawdling).await.contains("quick"));
    running.shutdown.request();
    running.server.await.unwrap().unwrap();
}

/// A connection on which half a head was sent.
async fn half_sent(running: &Running) -> TcpStream {
    let stream = send(running.address, "GET /quick HTTP/1.1\r\nhost:").await;
    tokio::task::yield_now().await;
    stream
}

const QUICK: &str = "GET /quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn connections_over_the_cap_are_told_so_at_once() {
    let running = start(Limits {
        connections: 2,
        ..Limits::default()
    })
    .await;
    let held = [half_sent(&running).await, half_sent(&running).await];
    let answer = rest(send(running.address, QUICK).await).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    drop(held);

    let served = async {
        while !rest(send(running.address, QUICK).await)
            .await
            .ends_with("quick")
        {
            tokio::task::yield_now().await;
        }
    };

    tokio::time::timeout(Duration::from_secs(10), served)
        .await
        .unwrap();
    running.shutdown.request();
    running.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_address_cannot_take_the_connections_of_all() {
    let running = start(Limits {
        connections: 100,
        connections_of_address: 3,
        ..Limits::default()
    })
    .await;

    let _held = [
        half_sent(&running).await,
        half_sent(&running).await,
        half_sent(&running).await,
    ];

    let answer = rest(send(running.address, QUICK).await).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();

    let mut other = other.connect(running.address).await.unwrap();
    other.write_all(QUICK.as_bytes()).await.unwrap();
    assert!(rest(other).await.ends_with("quick"), "others are served");

    let probe = rest(send(running.operator, &QUICK.replace("/quick", "/health/live")).await).await;
    assert!(probe.starts_with("HTTP/1.1 200 "), "{probe}");
    running.shutdown.request();
    running.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn metrics_are_at_the_operators_address_alone() {
    let running = start(Limits::default()).await;
    let ask =
        async |address, path: &str| rest(send(address, &QUICK.replace("/quick", path)).await).await;

    for path in ["/metrics", "/metrics/", "//metrics", "/%6detrics"] {
        let answer = ask(running.address, path).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }

    let metrics = ask(running.operator, "/metrics").await;
    assert!(metrics.contains("http_requests_total"), "{metrics}");
    assert!(
        ask(running.operator, "/quick")
            .await
            .starts_with("HTTP/1.1 404 ")
    );

    for address in [running.address, running.operator] {
        assert!(
            ask(address, "/health/ready")
                .await
                .starts_with("HTTP/1.1 200 ")
        );
    }

    running.shutdown.request();
    running.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_names_one_host() {
    let running = start(Limits::default()).await;
    for (version, hosts, status) in [
        ("1.1", "host: shop.example:80\r\n", 200),
        ("1.1", "host: [::1]:5000\r\n", 200),
        ("1.1", "host:\r\n", 200),
        ("1.1", "", 400),
        ("1.1", "host: a\r\nhost: a\r\n", 400),
        ("1.1", "host: a\r\nHOST: b\r\n", 400),
        ("1.1", "host: a b\r\n", 400),
        ("1.1", "host: me@shop.example\r\n", 400),
        ("1.1", "host: shop.example/quick\r\n", 400),
        ("1.0", "", 200),
        ("1.0", "host: a\r\nhost: a\r\n", 400),
    ] {
        let request = format!("GET /quick HTTP/{version}\r\n{hosts}connection: close\r\n\r\n");
        let answer = rest(send(running.address, &request).await).await;
        assert_eq!(answer[9..12], status.to_string(), "{request}{answer}");
    }

    running.shutdown.request();
    running.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_has_one_length() {
    let running = start(Limits::default()).await;
    for (lengths, status) in [
        ("", 200),
        ("content-length: 3\r\n", 200),
        ("transfer-encoding: chunked\r\n", 200),
        ("transfer-encoding: Chunked\r\n", 200),
        ("content-length: 3\r\ntransfer-encoding: chunked\r\n", 200),
        ("transfer-encoding: chunked\r\ncontent-length: 3\r\n", 200),
        ("transfer-encoding: gzip, chunked\r\n", 400),
        (
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
            400,
        ),
        ("transfer-encoding: chunked, chunked\r\n", 400),
        ("transfer-encoding: xchunked\r\n", 400),
        ("content-length: 3\r\ncontent-length: 4\r\n", 400),
        ("content-length: 3, 3\r\n", 400),
        ("content-length: +3\r\n", 400),
        ("content-length: -3\r\n", 400),
    ] {
        let head = format!("GET /quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lengths}\r\n");
        let request = format!("{head}0\r\n\r\n");
        let answer = rest(send(running.address, &request).await).await;
        assert_eq!(answer[9..12], status.to_string(), "{request}{answer}");
    }

    running.shutdown.request();
    running.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_dropped() {
    let running = start(Limits {
        taking: Duration::from_millis(100),
        ..Limits::default()
    })
    .await;

    let request = "GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
    let stalled = send(running.address, request).await;
    running.released.notified().await;

    let taken = rest(stalled).await;
    assert!(taken.len() < LARGE_BYTES, "{}", taken.len());
    running.shutdown.request();
    running.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refusal_before_the_body_is_read_reaches_the_client() {
    let running = start(Limits::default()).await;
    let body = vec![b' '; 2 << 20];
    let head = format!(
        "POST /quick HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );

    let mut stream = TcpStream::connect(running.address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
    }

    stream
        .write_all(b"GET /quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();

    let answers = rest(stream).await;
    assert_eq!(answers.matches("HTTP/1.1 405").count(), 3, "{answers}");
    assert!(answers.ends_with("quick"), "{answers}");
    running.shutdown.request();
    running.server.await.unwrap().unwrap();
}
