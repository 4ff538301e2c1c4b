//! The HTTP pages of a running job: a status page for people, the same as JSON, liveness and
//! readiness, and metrics.

mod checkpoints;
mod history;
mod page;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use axum::http::{HeaderName, StatusCode, header};
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use stream::{CheckpointStore, Metrics, Status, system_clock};
use tokio::net::TcpListener;

use self::history::SharedHistory;
use crate::error::CommandError;

/// The content security policy: the page loads nothing and runs nothing.
const POLICY: (HeaderName, &str) = (
    header::CONTENT_SECURITY_POLICY,
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
);

const FRESH: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

/// The state of a job that its pages show.
///
/// ```
/// use stream::{CheckpointStore, Metrics};
/// use stream_cli::{StatusPages, status_pages};
///
/// let store = CheckpointStore::open("memory:///", "visits")?;
/// // A run has both: `run.metrics`, `run.store`.
/// let router = status_pages(StatusPages { metrics: Metrics::new("visits"), store });
/// # let _: axum::Router = router;
/// # Ok::<(), stream::StoreError>(())
/// ```
#[derive(Clone)]
pub struct StatusPages {
    /// The job's metrics.
    pub metrics: Metrics,
    /// The store of its checkpoints.
    pub store: CheckpointStore,
}

/// Routes the pages of a job: `/`, `/status`, `/health/live`, `/health/ready`, `/metrics`, `/checkpoints` and
/// `/checkpoints/{id}`.
pub fn status_pages(pages: StatusPages) -> Router {
    let StatusPages { metrics, store } = pages;
    let history = SharedHistory::of(metrics.clone());
    let page = metrics.clone();
    let status = metrics.clone();
    let ready = metrics.clone();
    let exposition = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];

    Router::new()
        .route(
            "/",
            get(move || async move {
                let status = now(&page);
                let html = history.read(|history| page::render(&status, history));
                ([POLICY, FRESH], Html(html))
            }),
        )
        .route(
            "/status",
            get(move || async move { ([FRESH], Json(now(&status))) }),
        )
        .route("/health/live", get(|| async { StatusCode::OK }))
        .route(
            "/health/ready",
            get(move || async move { readiness(&now(&ready)) }),
        )
        .route(
            "/metrics",
            get(move || async move { (exposition, metrics.to_text()) }),
        )
        .merge(checkpoints::pages(store))
}

fn now(metrics: &Metrics) -> Status {
    metrics.status(system_clock()())
}

/// Returns success if an attempt is running and all partitions answer, and otherwise the reason why the job is not
/// ready. Without an attempt, the last trouble is the likely reason.
fn readiness(status: &Status) -> (StatusCode, String) {
    let attempt = status.attempt.filter(|_| status.is_running);
    let not_ready = |sentence: String| (StatusCode::SERVICE_UNAVAILABLE, sentence + "\n");

    match (attempt, &status.unanswered) {
        (Some(attempt), None) => (StatusCode::OK, format!("attempt {attempt} is running\n")),
        (Some(_), Some(sentence)) => not_ready(sentence.clone()),
        (None, _) => not_ready(match status.troubles.first() {
            None => "no attempt is running".to_owned(),
            Some(last) => format!("no attempt is running; the last trouble: {}", last.message),
        }),
    }
}

/// The address of a job's status page, or no page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StatusAddress {
    /// No page is served.
    Off,
    /// The page is served there.
    At(SocketAddr),
}

/// The text is neither an address nor `off`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an IP address with a port is expected, as in 127.0.0.1:5006, or off")]
pub struct InvalidStatusAddress;

impl FromStr for StatusAddress {
    type Err = InvalidStatusAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| InvalidStatusAddress)
    }
}

/// The default port of process 0. That of process `n` is `n` above it.
pub const PORT: u16 = 5006;

/// Returns the address of the status page of process 0 by these flags, unless there is none.
pub fn asked(named: Option<StatusAddress>) -> Option<SocketAddr> {
    match named {
        Some(StatusAddress::Off) => None,
        Some(StatusAddress::At(address)) => Some(address),
        None => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT)),
    }
}

/// Serves the pages at the address that the flags name. By default, it is a port of this machine alone. If that is
/// taken, it is a free one: a job does not fail because of a page that no flag requests.
///
/// # Errors
/// [`CommandError::Status`] if the address that the flags name cannot be listened on.
pub fn open(
    named: Option<StatusAddress>,
    process: u16,
    pages: StatusPages,
) -> Result<(), CommandError> {
    let here = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let usual = here(PORT.saturating_add(process));

    match named {
        Some(StatusAddress::Off) => Ok(()),
        Some(StatusAddress::At(address)) => serve(address, pages),
        None => match serve(usual, pages.clone()) {
            Err(CommandError::Status { source, .. }) if source.kind() == ErrorKind::AddrInUse => {
                tracing::info!(taken = %usual, "the status page takes a free port; --status-address names another");
                serve(here(0), pages)
            }
            served => served,
        },
    }
}

/// Serves the pages from a separate thread for as long as the process lives.
///
/// # Errors
/// [`CommandError::Status`] if the address cannot be listened on.
fn serve(address: SocketAddr, pages: StatusPages) -> Result<(), CommandError> {
    let refuse = |source| CommandError::Status { address, source };

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(refuse)?;

    let listener = runtime
        .block_on(TcpListener::bind(address))
        .map_err(refuse)?;
    let bound = listener.local_addr().map_err(refuse)?;
    tracing::info!(url = %format_args!("http://{bound}"), "serves the status page");

    let serve = move || {
        if let Err(error) =
            runtime.block_on(async { axum::serve(listener, status_pages(pages)).await })
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use stream::Trouble;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn a_job_without_an_attempt_is_not_ready_and_names_its_last_trouble() {
        let mut status = Status::of("counts");
        let expected = |sentence: &str| (StatusCode::SERVICE_UNAVAILABLE, sentence.to_owned());
        assert_eq!(readiness(&status), expected("no attempt is running\n"));

        let trouble = |message: &str| Trouble {
            at_ms: 0,
            message: message.to_owned(),
        };

        status
            .troubles
            .push(trouble("topic \"orders\" may not be read"));
        status.troubles.push(trouble("the broker is away"));
        let sentence =
            "no attempt is running; the last trouble: topic \"orders\" may not be read\n";
        assert_eq!(readiness(&status), expected(sentence));
    }

    #[test]
    fn a_running_attempt_is_ready_unless_a_partition_does_not_answer() {
        let mut status = Status {
            attempt: Some(3),
            is_running: true,
            ..Status::of("counts")
        };
        let running = "attempt 3 is running\n".to_owned();
        assert_eq!(readiness(&status), (StatusCode::OK, running));

        status.unanswered = Some("partition 0 does not answer".to_owned());
        let silent = "partition 0 does not answer\n".to_owned();
        let not_ready = (StatusCode::SERVICE_UNAVAILABLE, silent);
        assert_eq!(readiness(&status), not_ready);

        status.is_running = false;
        assert!(readiness(&status).1.starts_with("no attempt is running"));
    }

    fn pages() -> StatusPages {
        StatusPages {
            metrics: Metrics::new("words"),
            store: CheckpointStore::open("memory:///", "words").unwrap(),
        }
    }

    #[tokio::test]
    async fn a_checkpoint_that_does_not_exist_is_not_found() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served =
            tokio::spawn(async move { axum::serve(listener, status_pages(pages())).await });
        for path in ["", "/newest", "/7-60000", "/..%2f..", "/%3Cb%3E"] {
            let request = format!("GET /checkpoints{path} HTTP/1.0\r\n\r\n");
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.0 404"), "{path}: {answer}");
            assert!(!answer.contains("<b>"), "{path}: {answer}");
        }
        served.abort();
    }

    #[test]
    fn a_taken_port_is_an_error_unless_it_is_the_default() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();

        let named = StatusAddress::At(address);
        let error = open(Some(named), 0, pages()).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains(&address.to_string()) && said.contains("--status-address"),
            "{said}"
        );

        assert!(open(Some(StatusAddress::Off), 0, pages()).is_ok());
        // The default port of this process number is the taken one.
        let process = address.port() - PORT;
        assert!(open(None, process, pages()).is_ok());
    }
}
