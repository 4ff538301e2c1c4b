//! Asks a notifications service that runs to send again what it gave up.
//!
//! A process beside it, on the same machine or in the same pod, shows the secret that services share: no admin has to log in
//! for it.

use std::io::Write;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use chassis::auth::Auth;
use chassis::{Peer, in_one_line};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::config::ReplaySettings;

/// The service looks at a hundred messages before it answers.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// How many messages the service sends again at once: with fewer, there are no more.
const AT_ONCE: u64 = 100;

/// Why not everything is on its way again that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Nobody answers.
    #[error("no notifications service answers at {url} (--url): {reason}")]
    Away {
        /// Where it was looked for.
        url: String,
        /// What was heard instead.
        reason: String,
    },
    /// It wants to know who asks.
    #[error(
        "the service asks who calls: give its --service-secret (TIDEMARK_SERVICE_SECRET), the one that it was started with"
    )]
    Unknown,
    /// It does not do so.
    #[error("the service refused: {detail} ({status})")]
    Refused {
        /// Its answer.
        status: StatusCode,
        /// What it said of it.
        detail: String,
    },
    /// The outcome cannot be told.
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

/// Has everything sent again that was given up, or what the settings name, and says how many messages that are.
///
/// # Errors
/// [`ReplayError`], in words for the person who asked.
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
                let detail = refusal.map_or_else(
                    || "it does not say why".to_owned(),
                    |refusal| refusal.detail,
                );
                Err(ReplayError::Refused { status, detail })
            }
        }
    }
}
