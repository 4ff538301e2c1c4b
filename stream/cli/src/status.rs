//! The HTTP pages of a running job: a status page for people, the same as JSON, liveness and
//! readiness, and metrics.

mod page;

use std::net::SocketAddr;

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};
use stream::{Metrics, Status, system_clock};
use tokio::net::TcpListener;

use crate::error::CommandError;

/// The content security policy: the page loads nothing and runs nothing.
const POLICY: (HeaderName, &str) = (
    header::CONTENT_SECURITY_POLICY,
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
);

const FRESH: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

/// Routes the pages of a job: `/`, `/status`, `/health/live`, `/health/ready` and `/metrics`.
pub fn status_pages(metrics: Metrics) -> Router {
    let page = metrics.clone();
    let status = metrics.clone();
    let ready = metrics.clone();
    let exposition = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];

    Router::new()
        .route(
            "/",
            get(move || async move { ([POLICY, FRESH], Html(page::render(&now(&page)))) }),
        )
        .route(
            "/status",
            get(move || async move { ([FRESH], Json(now(&status))) }),
        )
        .route("/health/live", get(|| async { StatusCode::OK }))
        .route(
            "/health/ready",
            get(move || async move { readiness(&ready) }),
        )
        .route(
            "/metrics",
            get(move || async move { (exposition, metrics.to_text()) }),
        )
}

fn now(metrics: &Metrics) -> Status {
    metrics.status(system_clock()())
}

/// Answers whether the job is ready: an attempt is running and all partitions answer.
fn readiness(metrics: &Metrics) -> impl IntoResponse + use<> {
    let Some(attempt) = metrics.running_attempt() else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "no attempt is running\n".to_owned(),
        );
    };

    match now(metrics).unanswered {
        None => (StatusCode::OK, format!("attempt {attempt} is running\n")),
        Some(sentence) => (StatusCode::SERVICE_UNAVAILABLE, sentence + "\n"),
    }
}

/// Serves the pages from a separate thread for as long as the process lives.
///
/// # Errors
/// [`CommandError::Status`] if the address cannot be listened on.
pub fn serve(address: SocketAddr, metrics: Metrics) -> Result<(), CommandError> {
    let refuse = |source| CommandError::Status { address, source };

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(refuse)?;

    let listener = runtime
        .block_on(TcpListener::bind(address))
        .map_err(refuse)?;

    let serve = move || {
        if let Err(error) =
            runtime.block_on(async { axum::serve(listener, status_pages(metrics)).await })
        {
            tracing::error!(%error, "the job's status is no longer served");
        }
    };

    std::thread::Builder::new()
        .name("status".to_owned())
        .spawn(serve)
        .map_err(refuse)?;

    Ok(())
}
