//! An SMS gateway that keeps its requests, and answers as the tests want.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;

/// The gateway. Clones are the same one.
#[derive(Clone, Default)]
pub struct SmsGateway(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    answers: VecDeque<u16>,
    requests: Vec<(HeaderMap, Value)>,
}

impl SmsGateway {
    /// A gateway that answers the first requests with these statuses and takes the rest.
    pub fn answering(answers: &[u16]) -> Self {
        let gateway = Self::default();
        gateway.0.lock().unwrap().answers.extend(answers);
        gateway
    }

    /// Serves on a port of its own; the address is where messages go.
    pub async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/messages", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/messages", post(take))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });

        url
    }

    /// The received requests.
    pub fn requests(&self) -> Vec<(HeaderMap, Value)> {
        self.0.lock().unwrap().requests.clone()
    }
}

async fn take(
    State(gateway): State<SmsGateway>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> StatusCode {
    let mut inner = gateway.0.lock().unwrap();
    inner.requests.push((headers, body));
    StatusCode::from_u16(inner.answers.pop_front().unwrap_or(202)).unwrap()
}
