//! The pages of a job's checkpoints: a list, and the manifest of one in words.
//!
//! They are read from the object store when they are requested. A few requests read at once, each for a limited time,
//! because a store that does not answer is waited for without limit.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use stream::{CheckpointStore, CheckpointsCommand, InspectError, ManifestId, Report, system_clock};
use tokio::sync::Semaphore;

use super::{FRESH, POLICY, page};

/// The number of requests that read the store at once.
const READS_AT_ONCE: usize = 2;
/// The time that a store has to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The checkpoints of a job, and the number of requests that may read them now.
#[derive(Clone)]
struct Checkpoints {
    store: CheckpointStore,
    reads: Arc<Semaphore>,
}

/// Routes the pages: `/checkpoints`, and `/checkpoints/{id}` with an id of the list, or `newest`.
pub fn pages(store: CheckpointStore) -> Router {
    let checkpoints = Checkpoints {
        store,
        reads: Arc::new(Semaphore::new(READS_AT_ONCE)),
    };
    let shown = checkpoints.clone();

    Router::new()
        .route(
            "/checkpoints",
            get(move || async move { checkpoints.list().await }),
        )
        .route(
            "/checkpoints/{id}",
            get(move |Path(id): Path<String>| async move { shown.show(&id).await }),
        )
}

impl Checkpoints {
    async fn list(&self) -> Response {
        let command = CheckpointsCommand::List { json: true };
        let list = match self.answer(&command).await {
            Ok(report) => report.text,
            Err(response) => return response,
        };
        match page::checkpoints(self.store.job(), &list) {
            Ok(document) => html(document),
            Err(error) => failure(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the list of checkpoints cannot be shown: {error}"),
            ),
        }
    }

    async fn show(&self, id: &str) -> Response {
        let checkpoint: Option<ManifestId> = match (id, id.parse()) {
            ("newest", _) => None,
            (_, Ok(id)) => Some(id),
            (_, Err(error)) => return failure(StatusCode::NOT_FOUND, error.to_string()),
        };

        let json = false;
        let command = CheckpointsCommand::Show { checkpoint, json };
        match self.answer(&command).await {
            Ok(report) => html(page::manifest(self.store.job(), &report.text)),
            Err(response) => response,
        }
    }

    /// Runs a command, or returns the reason why it has no answer.
    async fn answer(&self, command: &CheckpointsCommand) -> Result<Report, Response> {
        let read = async {
            let _permit = self.reads.acquire().await;
            command.answer(&self.store, system_clock()()).await
        };

        match tokio::time::timeout(ANSWER_LIMIT, read).await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) => Err(failure(status_of(&error), error.to_string())),
            Err(_) => Err(failure(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "the object store has not answered within {} s",
                    ANSWER_LIMIT.as_secs()
                ),
            )),
        }
    }
}

fn status_of(error: &InspectError) -> StatusCode {
    match error {
        InspectError::Empty(_) | InspectError::Unknown(_) => StatusCode::NOT_FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn html(document: String) -> Response {
    ([POLICY, FRESH], Html(document)).into_response()
}

fn failure(status: StatusCode, sentence: String) -> Response {
    (status, [FRESH], sentence + "\n").into_response()
}
