//! The stream job as a part of this process: the dataflow on threads of its own, its status beside it.

use std::sync::Arc;

use axum::Router;
use chassis::{Listeners, Shutdown};
use order_analytics::OrderAnalytics;
use record_log::RecordLog;
use stream::{JobError, Stop, status};
use tokio::net::TcpListener;

/// What the job works with.
pub struct Parts {
    /// Where orders come from and counts go.
    pub log: Arc<dyn RecordLog>,
}

/// Why the job ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamJobError {
    /// The job itself.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Its status could not be served.
    #[error("its status cannot be served: {0}")]
    Status(#[from] std::io::Error),
    /// It panicked.
    #[error("it died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// Runs the job until a shutdown is requested or it has read to the end, where it was told to.
///
/// # Errors
/// [`StreamJobError`].
pub async fn run(
    config: OrderAnalytics,
    parts: Parts,
    listeners: impl Into<Listeners>,
    shutdown: Shutdown,
) -> Result<(), StreamJobError> {
    let listener = listeners.into().public;
    let run = config.on(parts.log)?;
    let pages = status::router(run.metrics.clone());
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
