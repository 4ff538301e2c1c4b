//! How the upstreams are, by their own account.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{Request, StatusCode};
use chassis::Health;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::upstream::Upstream;

/// The upstream's own word on whether it can work.
const READY: PathAndQuery = PathAndQuery::from_static("/health/ready");
/// An upstream that takes longer to say so is not well.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Why an upstream counts as down.
#[derive(Debug, thiserror::Error)]
enum Ill {
    #[error("no connection")]
    Unreachable,
    #[error("no answer in time")]
    Silent,
    #[error("it says {0}")]
    Unready(StatusCode),
}

/// Adds a check of the upstream. It passes by the breaker and the limits: it is how people learn what those see.
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
