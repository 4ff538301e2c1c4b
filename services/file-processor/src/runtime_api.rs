//! Lambda's Runtime API, for one process of the function.
//!
//! ```text
//! GET  /2018-06-01/runtime/invocation/next            waits for an event
//! POST /2018-06-01/runtime/invocation/{id}/response   the function's answer
//! POST /2018-06-01/runtime/invocation/{id}/error      or its error
//! ```
//!
//! See <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// The ARN of the function outside AWS.
const FUNCTION_ARN: &str = "arn:aws:lambda:local:000000000000:function:file-processor";

/// The response of the function to an event, or its error document.
pub type Outcome = Result<Value, Value>;

/// A Runtime API on a port of the loopback interface, for one process of the function. It ends when
/// this value is dropped.
pub struct RuntimeApi {
    address: SocketAddr,
    invocations: mpsc::UnboundedSender<Invocation>,
    shared: Arc<Shared>,
    _server: AbortOnDropHandle<()>,
}

/// The state of the request handlers.
struct Shared {
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    under_way: Mutex<Option<(String, oneshot::Sender<Outcome>)>>,
    first_asked: OnceLock<Instant>,
}

/// An event that waits for the function.
struct Invocation {
    id: String,
    deadline_ms: u128,
    event: Value,
    outcome: oneshot::Sender<Outcome>,
}

impl RuntimeApi {
    /// Starts to listen.
    ///
    /// # Errors
    /// When no port is available.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (invocations, waiting) = mpsc::unbounded_channel();

        let shared = Shared {
            waiting: waiting.into(),
            under_way: Mutex::default(),
            first_asked: OnceLock::new(),
        };
        let shared = Arc::new(shared);
        let routes = routes(Arc::clone(&shared));

        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "the Runtime API ended");
            }
        });

        Ok(Self {
            address,
            invocations,
            shared,
            _server: AbortOnDropHandle::new(server),
        })
    }

    /// Returns the address, which is the function's `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the time at which the function first requested an event, which ends its cold start.
    pub fn first_asked(&self) -> Option<Instant> {
        self.shared.first_asked.get().copied()
    }

    /// Passes an event to the function with `time` as its deadline, and waits for the outcome.
    /// Waits without limit if the process does not answer, because the caller watches the process.
    pub async fn invoke(&self, event: Value, time: Duration) -> Outcome {
        let (outcome, answered) = oneshot::channel();
        let deadline = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            + time;

        let id = Uuid::new_v4().to_string();
        let invocation = Invocation {
            id,
            deadline_ms: deadline.as_millis(),
            event,
            outcome,
        };

        if self.invocations.send(invocation).is_err() {
            return Err(error_document(
                "Runtime.Ended",
                "the function no longer requests events",
            ));
        }

        answered.await.unwrap_or_else(|_| {
            Err(error_document(
                "Runtime.NoAnswer",
                "it requested the next event first",
            ))
        })
    }
}

fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route(
            "/2018-06-01/runtime/invocation/{id}/response",
            post(response),
        )
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .with_state(shared)
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    shared.first_asked.get_or_init(Instant::now);
    let Some(invocation) = shared.waiting.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };

    let Invocation {
        id,
        deadline_ms,
        event,
        outcome,
    } = invocation;

    let headers = [
        ("lambda-runtime-aws-request-id", id.clone()),
        ("lambda-runtime-deadline-ms", deadline_ms.to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            FUNCTION_ARN.to_owned(),
        ),
    ];

    *shared
        .under_way
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some((id, outcome));

    (headers, Json(event)).into_response()
}

async fn response(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    said(&shared, &id, &body, Ok)
}

async fn error(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> Response {
    said(&shared, &id, &body, Err)
}

/// Passes on the outcome of the event in progress. Rejects an outcome with the id of any other
/// event.
fn said(shared: &Shared, id: &str, body: &Bytes, of: fn(Value) -> Outcome) -> Response {
    let Ok(body) = serde_json::from_slice(body) else {
        return refused("InvalidRequestContent", "the body is not JSON");
    };

    let mut under_way = shared
        .under_way
        .lock()
        .unwrap_or_else(PoisonError::into_inner);

    let Some((_, outcome)) = under_way.take_if(|(of, _)| of == id) else {
        return refused("InvalidRequestID", "no such event is under way");
    };

    drop(under_way);
    if outcome.send(of(body)).is_err() {
        tracing::debug!(id, "no caller waits for the function's answer");
    }

    (StatusCode::ACCEPTED, Json(json!({"status": "OK"}))).into_response()
}

fn refused(kind: &str, why: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(error_document(kind, why))).into_response()
}

fn error_document(kind: &str, why: &str) -> Value {
    json!({"errorType": kind, "errorMessage": why})
}
