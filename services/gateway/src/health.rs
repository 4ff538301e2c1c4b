//! Health checks of the upstreams.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{Request, StatusCode};
use chassis::Health;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::upstream::Upstream;

/// The path of the upstream's own readiness.
const READY: PathAndQuery = PathAndQuery::from_static("/health/ready");
/// Time limit for the answer; a slower upstream counts as down.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The reason why an upstream counts as down.
#[derive(Debug, thiserror::Error)]
enum Ill {
    #[error("no connection")]
    Unreachable,
    #[error("no answer in time")]
    Silent,
    #[error("it answered {0}")]
    Unready(StatusCode),
}

/// Adds a check of the upstream. It bypasses the circuit breaker and the limits, so that it reports
/// the upstream's own state.
pub(crate) fn watch(health: &Health, upstream: Arc<Upstream>) {
    health.register(upstream.name(), move || {
        let upstream = Arc::clone(&upstream);
        async move {
            timeout(PATIENCE, ask(&upstream))
                .await
                .unwrap_or(Err(Ill::Silent))
        }
    });
}

async fn ask(upstream: &Upstream) -> Result<(), Ill> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = upstream.uri(READY);
    let answer = upstream.send(request).await.map_err(|_| Ill::Unreachable)?;
    let status = answer.status();

    answer
        .into_body()
        .collect()
        .await
        .map_err(|_| Ill::Unreachable)?;

    if status.is_success() {
        Ok(())
    } else {
        Err(Ill::Unready(status))
    }
}
