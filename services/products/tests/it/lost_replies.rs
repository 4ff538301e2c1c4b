//! DynamoDB executes a write, but the reply is lost. The client repeats the write, whose condition no longer holds.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::{add, service};

/// An embedded DynamoDB behind a proxy that loses the first reply to each of some operations.
#[derive(Clone)]
struct LossyDynamoDb {
    endpoint: String,
    http: reqwest::Client,
    loses: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl LossyDynamoDb {
    async fn start(loses: &[&'static str]) -> Self {
        Self {
            endpoint: testbed::endpoint().await,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            loses: Arc::new(Mutex::new(loses.iter().copied().collect())),
        }
    }

    /// Returns a client of the proxy.
    async fn client(&self) -> Client {
        let proxy = Router::new().fallback(forward).with_state(self.clone());

        let url = testbed::serve(proxy).await;
        chassis::dynamodb::client(Some(&url)).await
    }

    /// Returns true if the reply to this operation is to be lost: once for each operation.
    fn loses(&self, operation: &str) -> bool {
        self.loses.lock().unwrap().remove(operation)
    }

    fn has_lost_all(&self) -> bool {
        self.loses.lock().unwrap().is_empty()
    }
}

/// Forwards a request. Answers a lost reply with a server error, after which the client repeats the request.
async fn forward(
    State(dynamodb): State<LossyDynamoDb>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, Bytes) {
    let target = headers["x-amz-target"].to_str().unwrap();
    let operation = target.rsplit('.').next().unwrap().to_owned();
    let request = dynamodb.http.post(&dynamodb.endpoint).headers(headers);
    let reply = request.body(body).send().await.unwrap();

    let status = reply.status();
    let headers = reply.headers().clone();
    let body = reply.bytes().await.unwrap();
    if status.is_success() && dynamodb.loses(&operation) {
        return (
            StatusCode::INTERNAL_SERVER_ERROR,
            HeaderMap::new(),
            Bytes::new(),
        );
    }
    (status, headers, body)
}

#[tokio::test]
async fn a_write_whose_reply_is_lost_is_not_taken_for_another_clients() {
    let dynamodb = LossyDynamoDb::start(&["PutItem", "UpdateItem"]).await;
    let service = service(dynamodb.client().await).await;

    let lamp = json!({"name": "Lamp", "price_cents": 1999, "stock": 3});
    let product = add(&service, lamp).await;
    let path = format!("/products/{}", product["id"].as_str().unwrap());

    let renamed = service
        .send(
            "PATCH",
            &path,
            &[("if-match", "\"1\"")],
            Some(json!({"name": "Lantern"})),
        )
        .await;
    assert_eq!(renamed.status, 200, "{}", renamed.body);
    assert_eq!(renamed.header("etag"), "\"2\"");

    let shown = service.get(&path).await;
    assert_eq!(shown.body["name"], "Lantern");
    assert_eq!(shown.body["stock"], 3);
    assert!(dynamodb.has_lost_all(), "both replies were lost");
}

#[tokio::test]
async fn an_id_that_is_in_use_stays_in_use_when_a_reply_is_lost() {
    let dynamodb = LossyDynamoDb::start(&["GetItem"]).await;
    let service = service(dynamodb.client().await).await;
    let path = "/products/0198a0b2-0000-7000-8000-000000000001";

    let lamp = json!({"name": "Lamp", "price_cents": 1999});
    let first = service
        .send("PUT", path, &[("if-none-match", "*")], Some(lamp))
        .await;
    assert_eq!(first.status, 201, "{}", first.body);

    let pen = json!({"name": "Pen", "price_cents": 250});
    let second = service
        .send("PUT", path, &[("if-none-match", "*")], Some(pen))
        .await;
    assert_eq!(second.status, 412, "{}", second.body);
    assert_eq!(service.get(path).await.body["name"], "Lamp");
}
