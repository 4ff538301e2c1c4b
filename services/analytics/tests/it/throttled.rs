//! A DynamoDB that throttles: counts wait, none is lost, and nothing runs hot.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use analytics::{Config, Parts};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use chassis::Shutdown;
use chassis::auth::Auth;
use events::ANALYTICS_RESULTS;
use record_log::RecordLog;
use tokio::net::TcpListener;

use crate::{Ending, count, log, publish_counts};

/// A stub in front of a DynamoDB that refuses writes as one does that throttles, a kind of refusal after the other.
#[derive(Clone, Default)]
struct Throttle {
    url: String,
    client: reqwest::Client,
    is_on: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    /// The number of refusals of each chunk, by its key.
    chunks: Arc<Mutex<HashMap<String, usize>>>,
}

const REFUSALS: [&str; 3] = [
    "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
    "com.amazon.coral.availability#ThrottlingException",
    "com.amazonaws.dynamodb.v20120810#RequestLimitExceeded",
];

impl Throttle {
    async fn pass(self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let target = head.headers["x-amz-target"].to_str().unwrap().to_owned();
        let is_write = target.ends_with("PutItem") || target.ends_with("UpdateItem");
        let body = to_bytes(body, usize::MAX).await.unwrap();
        if is_write && self.is_on.load(Ordering::SeqCst) {
            self.note(&serde_json::from_slice(&body).unwrap());
            let number = self.refused.fetch_add(1, Ordering::SeqCst);
            let kind = REFUSALS[number % REFUSALS.len()];
            let body = format!(r#"{{"__type":"{kind}","message":"slow down"}}"#);
            let refused = Response::builder().status(StatusCode::BAD_REQUEST);
            let refused = refused.header("content-type", "application/x-amz-json-1.0");
            return refused.body(body.into()).unwrap();
        }

        let mut headers = head.headers;
        headers.remove("host");
        let passed = self.client.post(&self.url).headers(headers).body(body);
        let answer = passed.send().await.unwrap();
        let status = answer.status();
        Response::builder()
            .status(status)
            .header("content-type", "application/x-amz-json-1.0")
            .body(answer.bytes().await.unwrap().into())
            .unwrap()
    }

    /// Counts the refusal of a request, if it writes a chunk.
    fn note(&self, request: &serde_json::Value) {
        let item = &request["Item"];
        if item["chunk"].is_object() {
            let key = format!("{} {}", item["user_bucket"], item["chunk"]);
            *self.chunks.lock().unwrap().entry(key).or_default() += 1;
        }
    }

    /// The most refusals that a chunk had.
    fn most_refused(&self) -> usize {
        let chunks = self.chunks.lock().unwrap();
        chunks.values().copied().max().unwrap_or(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttled_writes_wait_and_none_is_lost() {
    let throttle = Throttle {
        url: testbed::endpoint().await,
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
        ..Throttle::default()
    };
    let stub = throttle.clone();
    let routes = Router::new().fallback(move |request| stub.clone().pass(request));
    let url = testbed::serve(routes).await;
    let dynamodb = chassis::dynamodb::client(Some(&url)).await;

    let log = log();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Ending(Shutdown::new());
    let parts = Parts {
        dynamodb,
        log: Arc::new(log.clone()) as Arc<dyn RecordLog>,
        auth: Auth::open(),
    };
    let service = analytics::run(Config::default(), parts, listener, shutdown.0.clone());
    let service = tokio::spawn(service);
    let get = async |path: &str| {
        let url = format!("http://{address}{path}");
        let answer = throttle.client.get(url).send().await;
        answer.ok().filter(|answer| answer.status().is_success())
    };
    until("it is ready", async || get("/health/ready").await.is_some()).await;

    throttle.is_on.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let counts: Vec<_> = (1..=200).map(|user| count(user, 0, 1, 0)).collect();
    publish_counts(&log, &counts);
    // Chunks are written at the same time, so the pauses lie between the tries of one chunk.
    until("a chunk is refused again and again", async || {
        throttle.most_refused() >= 7
    })
    .await;
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(200),
        "{took:?}: it does not pause"
    );

    assert!(get("/health/ready").await.is_some(), "it waits, and serves");
    assert!(!testbed::is_consumed(&log, "analytics", ANALYTICS_RESULTS));
    throttle.is_on.store(false, Ordering::SeqCst);
    until("all is written", async || {
        testbed::is_consumed(&log, "analytics", ANALYTICS_RESULTS)
    })
    .await;

    let page = get("/analytics/recent?limit=100").await.unwrap();
    let page: serde_json::Value = page.json().await.unwrap();
    let next = page["next"].as_str().unwrap();
    let rest = get(&format!("/analytics/recent?limit=100&cursor={next}")).await;
    let rest: serde_json::Value = rest.unwrap().json().await.unwrap();
    let pages = [page, rest].map(|page| page["items"].as_array().unwrap().len());
    assert_eq!(pages, [100, 100]);

    shutdown.0.request();
    service.await.unwrap().unwrap();
}

/// Waits until `holds` does.
async fn until(event: &str, holds: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "not in time: {event}");
}
