//! Replays dead letters: sends a request to a running notifications service.
//!
//! The process runs beside the service, on the same machine or in the same pod, and authenticates
//! with the secret that services share. No admin has to log in.

use std::io::Write;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use chassis::auth::Auth;
use chassis::{Peer, in_one_line};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::config::ReplaySettings;

/// Time limit of one request. The service processes up to a hundred messages before it answers.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Largest number of messages that the service sends again in one request. A smaller number in its
/// answer means that no more are left.
const AT_ONCE: u64 = 100;

/// The reason why some of the requested messages are not sent again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// No service answers at the URL.
    #[error("no notifications service answers at {url} (--url): {reason}")]
    Away {
        /// The address that was called.
        url: String,
        /// The error that occurred.
        reason: String,
    },
    /// The service rejected the credentials.
    #[error(
        "the service authenticates its callers: give its --service-secret (TIDEMARK_SERVICE_SECRET), the one that it was started with"
    )]
    Unknown,
    /// The service refused the request.
    #[error("the service refused: {detail} ({status})")]
    Refused {
        /// The status code of its answer.
        status: StatusCode,
        /// The detail in its answer.
        detail: String,
    },
    /// Standard output could not be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

#[derive(Deserialize)]
struct Retried {
    retried: u64,
}

#[derive(Deserialize)]
struct Refusal {
    detail: String,
}

/// Sends again all dead letters, or the messages that the settings name, and prints their number.
///
/// # Errors
/// [`ReplayError`], worded for the person who ran the command.
pub async fn run(settings: ReplaySettings) -> Result<(), ReplayError> {
    let service = Service::new(&settings)?;
    let replayed = if settings.events.is_empty() {
        service.replay_all().await?
    } else {
        service.replay(&settings).await?
    };

    let word = if replayed == 1 {
        "message is"
    } else {
        "messages are"
    };

    Ok(writeln!(
        std::io::stdout(),
        "{replayed} {word} on the way again"
    )?)
}

struct Service {
    peer: Peer,
    url: String,
}

impl Service {
    fn new(settings: &ReplaySettings) -> Result<Self, ReplayError> {
        let auth = settings
            .service_secret
            .as_ref()
            .map_or_else(Auth::open, Auth::of_caller);

        let url = settings.url.clone();
        let peer = Peer::new(&url, auth, CALL_LIMIT);
        let peer = peer.map_err(|error| ReplayError::Away {
            url: url.clone(),
            reason: in_one_line(&error),
        })?;
        Ok(Self { peer, url })
    }

    async fn replay_all(&self) -> Result<u64, ReplayError> {
        let mut replayed = 0;
        loop {
            let Retried { retried } = self.post("/notifications/retry").await?;
            replayed += retried;
            if retried < AT_ONCE {
                return Ok(replayed);
            }
        }
    }

    async fn replay(&self, settings: &ReplaySettings) -> Result<u64, ReplayError> {
        for event in &settings.events {
            self.post::<IgnoredAny>(&format!("/notifications/{event}/retry"))
                .await?;
        }
        Ok(settings.events.len() as u64)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ReplayError> {
        let away = |reason: String| ReplayError::Away {
            url: self.url.clone(),
            reason,
        };

        let answer = self.peer.send(self.peer.request(Method::POST, path)).await;
        let answer = answer.map_err(|error| away(in_one_line(&error.without_url())))?;
        match answer.status() {
            StatusCode::OK => answer
                .json()
                .await
                .map_err(|error| away(in_one_line(&error.without_url()))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ReplayError::Unknown),
            status => {
                let refusal: Option<Refusal> = answer.json().await.ok();
                let detail = refusal
                    .map_or_else(|| "it gave no reason".to_owned(), |refusal| refusal.detail);
                Err(ReplayError::Refused { status, detail })
            }
        }
    }
}
