//! What a running job tells over HTTP: whether it is alive and ready, and its metrics.

use std::net::SocketAddr;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::attempt::JobError;
use crate::metrics::Metrics;

/// The pages of a job: `/health/live`, `/health/ready` and `/metrics`.
pub fn router(metrics: Metrics) -> Router {
    let ready = metrics.clone();
    let exposition = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Router::new()
        .route("/health/live", get(|| async { StatusCode::OK }))
        .route("/health/ready", get(move || async move { readiness(&ready) }))
        .route("/metrics", get(move || async move { (exposition, metrics.to_text()) }))
}

fn readiness(metrics: &Metrics) -> impl IntoResponse + use<> {
    match metrics.running_attempt() {
        Some(attempt) => (StatusCode::OK, format!("attempt {attempt} is running\n")),
        None => (StatusCode::SERVICE_UNAVAILABLE, "no attempt is running\n".to_owned()),
    }
}

/// Serves the pages from a thread of their own, for as long as the process lives.
///
/// # Errors
/// [`JobError::Settings`] when the address cannot be listened on.
pub fn serve(address: SocketAddr, metrics: Metrics) -> Result<(), JobError> {
    let refuse =
        |error: std::io::Error| JobError::Settings(format!("cannot serve the job's status on {address}: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refuse)?;
    let listener = runtime.block_on(TcpListener::bind(address)).map_err(refuse)?;
    let serve = move || {
        if let Err(error) = runtime.block_on(async { axum::serve(listener, router(metrics)).await }) {
            tracing::error!(%error, "the job's status is no longer served");
        }
    };
    std::thread::Builder::new().name("status".to_owned()).spawn(serve).map_err(refuse)?;
    Ok(())
}
