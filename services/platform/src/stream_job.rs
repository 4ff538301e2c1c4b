//! The stream job as a part of this process: the dataflow on threads of its own, with its status
//! page beside it.

use std::sync::Arc;

use axum::Router;
use chassis::{Listeners, Shutdown};
use order_analytics::OrderAnalytics;
use record_log::RecordLog;
use stream::{AnyRun, JobError, Stop};
use stream_cli::{StatusPages, status_pages};
use tokio::net::TcpListener;

/// The stores of the job.
pub struct Parts {
    /// The log that orders are read from and counts are written to.
    pub log: Arc<dyn RecordLog>,
}

/// The reason why the job ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamJobError {
    /// The job failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The status page could not be served.
    #[error("its status cannot be served: {0}")]
    Status(#[from] std::io::Error),
    /// The job's thread panicked.
    #[error("its thread failed: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// Prepares the job and runs it.
///
/// # Errors
/// [`StreamJobError`].
pub async fn run(
    config: OrderAnalytics,
    parts: Parts,
    listeners: impl Into<Listeners>,
    shutdown: Shutdown,
) -> Result<(), StreamJobError> {
    let run = config.on(parts.log)?;
    run_prepared(run, listeners, shutdown).await
}

/// Runs the job until a shutdown is requested or, if so configured, until it has read to the end.
///
/// # Errors
/// [`StreamJobError`].
pub async fn run_prepared(
    run: AnyRun,
    listeners: impl Into<Listeners>,
    shutdown: Shutdown,
) -> Result<(), StreamJobError> {
    let listener = listeners.into().public;
    let pages = status_pages(StatusPages {
        metrics: run.metrics.clone(),
        store: run.store.clone(),
    });
    let stop = Stop::default();
    let asked = stop.clone();
    let ended = Shutdown::new();

    let watch = async {
        tokio::select! {
            () = shutdown.requested() => asked.request(),
            () = ended.requested() => {}
        }
    };

    let job = async {
        let outcome = tokio::task::spawn_blocking(move || run.run(&stop)).await;
        ended.request();
        outcome
    };
    let (outcome, served, ()) = tokio::join!(job, serve(listener, pages, ended.clone()), watch);
    outcome??;

    Ok(served?)
}

async fn serve(listener: TcpListener, pages: Router, ended: Shutdown) -> std::io::Result<()> {
    axum::serve(listener, pages)
        .with_graceful_shutdown(async move { ended.requested().await })
        .await
}
