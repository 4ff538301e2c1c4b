//! Answers that arrive piece by piece.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

use crate::{Gateway, SHORT, config, upstream};

/// Starts an upstream that answers once, with this content type and the bytes that the test sends.
async fn scripted(content_type: &'static str) -> (String, Sender<&'static str>) {
    type Script = std::sync::Arc<Mutex<Option<Receiver<&'static str>>>>;
    async fn play(State((content_type, script)): State<(&'static str, Script)>) -> Response {
        let lines = script.lock().await.take().unwrap();
        let lines =
            futures::stream::unfold(lines, async |mut lines| Some((lines.recv().await?, lines)));
        let body = Body::from_stream(lines.map(|line| Ok::<_, Infallible>(Bytes::from(line))));
        ([(CONTENT_TYPE, content_type)], body).into_response()
    }

    let (sender, receiver) = channel(1);
    let script: Script = std::sync::Arc::new(Mutex::new(Some(receiver)));
    let router = Router::new()
        .route("/analytics/stream", get(play))
        .with_state((content_type, script));
    (upstream(router).await, sender)
}

async fn before_analytics(address: &str) -> Gateway {
    let analytics_url = address.parse().unwrap();
    Gateway::start(gateway::Config {
        analytics_url,
        idle_timeout: SHORT,
        ..config()
    })
    .await
}

#[tokio::test]
async fn each_event_is_forwarded_at_once_even_after_a_long_silence() {
    let (address, events) = scripted("text/event-stream").await;
    let gateway = before_analytics(&address).await;
    let mut answer = gateway.get("/api/analytics/stream").await;
    events.send("data: 1\n\n").await.unwrap();

    assert_eq!(answer.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    sleep(SHORT * 2).await;
    events.send("data: 2\n\n").await.unwrap();

    assert_eq!(answer.chunk().await.unwrap().unwrap(), "data: 2\n\n");
    drop(events);
    assert_eq!(answer.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_stream_at_the_upstream() {
    let (address, events) = scripted("text/event-stream").await;
    let gateway = before_analytics(&address).await;
    let mut answer = gateway.get("/api/analytics/stream").await;
    events.send("data: 1\n\n").await.unwrap();
    answer.chunk().await.unwrap();
    drop(answer);
    timeout(Duration::from_secs(10), events.closed())
        .await
        .expect("the upstream sees that the client has gone");
}

#[tokio::test]
async fn a_shutdown_ends_open_streams_at_once() {
    let (address, events) = scripted("text/event-stream").await;
    let gateway = before_analytics(&address).await;
    let mut answer = gateway.get("/api/analytics/stream").await;
    events.send("data: 1\n\n").await.unwrap();
    answer.chunk().await.unwrap();
    gateway.shutdown.request();

    assert_eq!(answer.chunk().await.unwrap(), None);
    timeout(Duration::from_secs(3), gateway.served)
        .await
        .expect("the shutdown does not wait for the stream")
        .unwrap();
}

#[tokio::test]
async fn an_answer_that_falls_silent_is_cut_off() {
    let (address, pieces) = scripted("application/json").await;
    let gateway = before_analytics(&address).await;
    let mut answer = gateway.get("/api/analytics/stream").await;
    pieces.send("[1,").await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "[1,");
    assert!(answer.chunk().await.is_err());
}

#[tokio::test]
async fn an_answer_that_goes_on_slowly_is_not_cut_off() {
    let (address, pieces) = scripted("application/json").await;
    let gateway = before_analytics(&address).await;
    let mut answer = gateway.get("/api/analytics/stream").await;

    for _ in 0..4 {
        pieces.send("[1]").await.unwrap();
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "[1]");
        sleep(SHORT / 2).await;
    }
}
