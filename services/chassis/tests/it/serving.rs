//! Connections over loopback: their limits, and the end of a server.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use chassis::{Health, Limits, Metrics, ServeError, Server, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    /// Notified when a request has reached `/slow`.
    reached: Arc<Notify>,
    /// Lets the requests at `/slow` go.
    release: Arc<Notify>,
    server: JoinHandle<Result<(), ServeError>>,
}

async fn start(limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reached, release, shutdown) = (
        Arc::new(Notify::new()),
        Arc::new(Notify::new()),
        Shutdown::new(),
    );
    let slow = {
        let (reached, release) = (Arc::clone(&reached), Arc::clone(&release));
        async move || {
            reached.notify_one();
            release.notified().await;
            "done"
        }
    };
    let router = Router::new()
        .route("/slow", get(slow))
        .route("/quick", get(async || "quick"));
    let server = Server {
        service: "test".into(),
        router,
        health: Health::new(),
        metrics: Metrics::new("test"),
        limits,
    };
    let server = tokio::spawn(server.run(listener, shutdown.clone()));
    Running {
        address,
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

/// What comes until the server closes the connection.
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
async fn a_request_under_way_is_finished_after_the_shutdown_and_idle_connections_are_closed() {
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

#[tokio::test]
async fn connections_over_the_cap_wait_for_their_turn() {
    let running = start(Limits {
        connections: 1,
        ..Limits::default()
    })
    .await;
    let first = send(
        running.address,
        "GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    running.reached.notified().await;
    let second = send(
        running.address,
        "GET /quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    running.release.notify_one();
    assert!(rest(first).await.ends_with("done"));
    assert!(rest(second).await.ends_with("quick"));
    running.shutdown.request();
    running.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_is_refused_before_its_body_is_read_gets_the_answer_and_may_go_on() {
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
