//! One description of the whole API, at `/openapi.json`, merged on request from the services'
//! descriptions.

mod merge;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use axum::routing::get;
use futures::future::join_all;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use tokio::time::timeout;

use crate::asset::Asset;
use crate::upstream::Upstream;
use merge::Part;

/// The path of each service's description.
const PATH: PathAndQuery = PathAndQuery::from_static("/openapi.json");
/// Time limit for a service; a slower one is left out.
const PATIENCE: Duration = Duration::from_secs(2);
const MOST_BYTES: usize = 1 << 20;

/// Returns the route of the description of these services.
pub(crate) fn router(upstreams: Vec<Arc<Upstream>>) -> Router {
    Router::new()
        .route(PATH.path(), get(describe))
        .with_state(upstreams)
}

async fn describe(State(upstreams): State<Vec<Arc<Upstream>>>, headers: HeaderMap) -> Response {
    let asked = upstreams.iter().map(|upstream| async {
        let document = timeout(PATIENCE, ask(upstream)).await.ok().flatten();
        document
            .map(|document| Part {
                service: upstream.name(),
                document,
            })
            .ok_or(upstream.name())
    });

    let mut parts = Vec::new();
    let mut missing = Vec::new();
    for answer in join_all(asked).await {
        match answer {
            Ok(part) => parts.push(part),
            Err(name) => missing.push(name),
        }
    }

    let document = merge::merge(parts, &missing).to_string();
    Asset::new("application/json", document.into()).answer(&headers)
}

/// Returns a service's description; none if it has none or cannot be reached. The document lists
/// the missing ones.
async fn ask(upstream: &Upstream) -> Option<Value> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = upstream.uri(PATH);
    let answer = upstream
        .send(request)
        .await
        .ok()
        .filter(|answer| answer.status().is_success())?;

    let body = Limited::new(answer.into_body(), MOST_BYTES)
        .collect()
        .await
        .ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}
