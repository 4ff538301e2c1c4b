//! Mail about accounts: fetched from the users service, and sent at once.
//!
//! ```text
//! users: account_mail ◀─ take ─ this service ─▶ mail server
//!                     ◀─ settled ─┘        └──▶ GET /notifications/account-mail (without one)
//! ```
//!
//! The links in this mail contain tokens. Unlike a message about an order, such a mail is therefore in no topic, no
//! table and no log of this service, but only in memory until it is sent. The users service hands over a mail again
//! until it is settled, with another token each time. A mail may therefore be sent twice, but none is lost.
//!
//! Without a mail server, the replica that fetched the mails shows the newest ones to admins.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::{Backoff, Peer, Shutdown};
use events::Timestamp;
use futures::{StreamExt, TryStreamExt};
use prometheus::IntCounter;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use uuid::Uuid;

use crate::clock::Clock;
use crate::courier::{Courier, Letter};
use crate::notification::Refusal;
use crate::template::{self, Message};

/// Interval at which mail is fetched.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Time limit of a delivery. It is shorter than the time after which the users service hands a mail
/// over again.
const DELIVERY_LIMIT: Duration = Duration::from_secs(10);
/// The number of consecutive failures from which each one is logged. It is more than one because the
/// users service may start after this one.
const NOTABLE_FAILURES: u32 = 8;
/// Largest number of mails that are sent at the same time.
const AT_ONCE: usize = 4;
/// Largest number of undelivered mails that are shown.
const MOST_SHOWN: usize = 100;

/// Sends mail about accounts.
pub struct AccountMail {
    /// The users service.
    pub users: Peer,
    /// The courier; none without a mail server.
    pub courier: Option<Arc<dyn Courier>>,
    /// The mails that were not sent because there is no courier.
    pub undelivered: Undelivered,
    /// The clock.
    pub clock: Clock,
    /// Counts the mails that were sent.
    pub sent: IntCounter,
    /// Counts the deliveries that failed.
    pub failed: IntCounter,
}

/// The newest mails that were not sent because there is no courier. Clones share them.
#[derive(Clone, Default)]
pub struct Undelivered(Arc<Mutex<VecDeque<UndeliveredMail>>>);

/// A mail that was not delivered. Its text appears in no log.
#[derive(Clone, Serialize)]
pub struct UndeliveredMail {
    id: Uuid,
    to: String,
    subject: String,
    text: String,
    link: Option<String>,
    taken_at: Timestamp,
}

/// The reason why mail was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum AccountMailError {
    /// The users service did not answer, or its answer could not be read.
    #[error("the users service is unavailable: {0}")]
    Away(#[source] reqwest::Error),
    /// The users service answered with an error status.
    #[error("the users service answered {0}")]
    Refused(StatusCode),
}

/// The mail that the users service hands over.
#[derive(Deserialize)]
struct Taken {
    items: Vec<Mail>,
}

#[derive(Deserialize)]
struct Mail {
    id: Uuid,
    to: String,
    kind: String,
    link: Option<String>,
}

impl AccountMail {
    /// Fetches and sends mail until a shutdown is requested.
    pub async fn run(&self, shutdown: &Shutdown) {
        let mut backoff = Backoff::default();
        let mut failures = 0_u32;
        while !shutdown.is_requested() {
            let wait = match self.send_due().await {
                Ok(()) => {
                    backoff.reset();
                    failures = 0;
                    LOOK_AGAIN
                }
                Err(error) => {
                    let wait = backoff.next_wait(Uuid::new_v4().as_u64_pair().1);
                    failures += 1;
                    if failures >= NOTABLE_FAILURES {
                        tracing::warn!(%error, failures, wait_ms = wait.as_millis(), "cannot fetch the mail about accounts now");
                    }
                    wait
                }
            };

            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.requested() => {}
            }
        }
    }

    /// Fetches and sends the mail that is due.
    ///
    /// # Errors
    /// [`AccountMailError`].
    pub async fn send_due(&self) -> Result<(), AccountMailError> {
        let request = self.users.request(Method::POST, "/account-mail/take");
        let reply = self.users.send(request).await.map_err(away)?;
        if !reply.status().is_success() {
            return Err(AccountMailError::Refused(reply.status()));
        }

        let taken: Taken = reply.json().await.map_err(away)?;
        futures::stream::iter(taken.items)
            .map(|mail| self.send(mail))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn send(&self, mail: Mail) -> Result<(), AccountMailError> {
        let id = mail.id;
        let kind = mail.kind.clone();
        let Some(message) = template::account_mail(&mail.kind, mail.link.as_deref()) else {
            tracing::warn!(%id, kind, "there is no text for this kind of mail");
            return self.settle(id).await;
        };

        let delivered = timeout(DELIVERY_LIMIT, self.deliver(mail, &message)).await;
        match delivered.unwrap_or_else(|_| Err(Refusal::NotNow("no answer".to_owned()))) {
            Ok(()) => self.sent.inc(),
            // The users service hands it over again.
            Err(Refusal::NotNow(reason)) => {
                self.failed.inc();
                tracing::warn!(%id, kind, reason, "a mail about an account is not delivered now and will be tried again");
                return Ok(());
            }
            Err(refusal) => {
                self.failed.inc();
                tracing::warn!(%id, kind, ?refusal, "a mail about an account cannot be delivered");
            }
        }

        self.settle(id).await
    }

    async fn deliver(&self, mail: Mail, message: &Message) -> Result<(), Refusal> {
        let Some(courier) = &self.courier else {
            self.undelivered.push(UndeliveredMail {
                id: mail.id,
                to: mail.to,
                subject: message.subject.clone(),
                text: message.text.clone(),
                link: mail.link,
                taken_at: self.clock.now(),
            });
            return Ok(());
        };

        let letter = Letter {
            id: mail.id,
            to: &mail.to,
            message,
        };
        courier.carry(letter).await
    }

    async fn settle(&self, id: Uuid) -> Result<(), AccountMailError> {
        let path = format!("/account-mail/{id}/settled");
        let request = self.users.request(Method::POST, &path);
        let reply = self.users.send(request).await.map_err(away)?;

        // A mail that was deleted meanwhile needs no settling.
        if reply.status().is_success() || reply.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        Err(AccountMailError::Refused(reply.status()))
    }
}

impl Undelivered {
    /// Returns the mails, newest first.
    pub fn newest_first(&self) -> Vec<UndeliveredMail> {
        let mails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mails.iter().rev().cloned().collect()
    }

    fn push(&self, mail: UndeliveredMail) {
        let mut mails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if mails.len() >= MOST_SHOWN {
            mails.pop_front();
        }
        mails.push_back(mail);
    }
}

fn away(error: reqwest::Error) -> AccountMailError {
    AccountMailError::Away(error.without_url())
}
