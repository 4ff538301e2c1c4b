//! An SMS gateway that keeps its requests, and answers as a test sets.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;

/// The gateway. Clones share it.
#[derive(Clone, Default)]
pub struct SmsGateway(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    answers: VecDeque<u16>,
    requests: Vec<(HeaderMap, Value)>,
}

impl SmsGateway {
    /// Returns a gateway that answers the first requests with these statuses, and accepts the rest.
    pub fn answering(answers: &[u16]) -> Self {
        let gateway = Self::default();
        gateway.0.lock().unwrap().answers.extend(answers);
        gateway
    }

    /// Serves on a port of its own, and returns the address for messages.
    pub async fn serve(&self) -> String {
        let router = Router::new()
            .route("/messages", post(take))
            .with_state(self.clone());

        format!("{}/messages", testbed::serve(router).await)
    }

    /// Returns the received requests.
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
