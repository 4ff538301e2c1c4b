//! Recipients: an event names a user, and the users service returns the user's address.
//!
//! Messages go only to users with a confirmed e-mail address. Answers with one are cached for a
//! minute, so a user who has just changed the address may get one more message at the old one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::Peer;
use chassis::auth::Auth;
use events::Timestamp;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

const CALL_LIMIT: Duration = Duration::from_secs(3);
const BELIEVED_MS: u64 = 60_000;
/// Largest number of cached users. When it is exceeded, the whole cache is cleared.
const REMEMBERED: usize = 10_000;

/// The addresses of a user.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Recipient {
    /// The e-mail address that the user has confirmed.
    #[serde(rename = "verified_email")]
    pub email: Option<String>,
    /// The phone number for text messages.
    pub phone: Option<String>,
}

/// A client of the users service. Clones share its connections and its cache.
#[derive(Clone)]
pub struct Users {
    peer: Peer,
    known: Arc<Mutex<HashMap<u64, (Timestamp, Recipient)>>>,
}

/// The reason why a user's addresses could not be read.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The service did not answer, or its answer could not be read.
    #[error("the users service is unavailable: {0}")]
    Away(#[source] reqwest::Error),
    /// The service answered with an error status.
    #[error("the users service answered {0}")]
    Refused(StatusCode),
}

impl Users {
    /// Creates a client of the service at this base address, which authenticates itself as a
    /// service with `auth`.
    ///
    /// # Errors
    /// When the system cannot provide an HTTP client.
    pub fn new(base_url: &str, auth: Auth) -> Result<Self, reqwest::Error> {
        Ok(Self {
            peer: Peer::new(base_url, auth, CALL_LIMIT)?,
            known: Arc::default(),
        })
    }

    /// Returns the addresses of the user, or `None` if the user does not exist any more.
    ///
    /// # Errors
    /// [`UsersError`].
    pub async fn find(
        &self,
        user_id: u64,
        now: Timestamp,
    ) -> Result<Option<Recipient>, UsersError> {
        if let Some(recipient) = self.remembered(user_id, now) {
            return Ok(Some(recipient));
        }

        let away = |error: reqwest::Error| UsersError::Away(error.without_url());
        let request = self.peer.request(Method::GET, &format!("/users/{user_id}"));
        let reply = self.peer.send(request).await.map_err(away)?;

        match reply.status() {
            StatusCode::OK => {
                let recipient: Recipient = reply.json().await.map_err(away)?;
                if recipient.email.is_some() {
                    self.remember(user_id, &recipient, now);
                }
                Ok(Some(recipient))
            }
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(UsersError::Refused(status)),
        }
    }

    fn remembered(&self, user_id: u64, now: Timestamp) -> Option<Recipient> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, recipient) = known.get(&user_id)?;
        (now.as_ms().saturating_sub(since.as_ms()) < BELIEVED_MS).then(|| recipient.clone())
    }

    fn remember(&self, user_id: u64, recipient: &Recipient, now: Timestamp) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(user_id, (now, recipient.clone()));
    }
}
