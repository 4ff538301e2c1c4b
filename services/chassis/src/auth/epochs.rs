//! The epochs of accounts, as the users service publishes them: access tokens of an earlier epoch
//! are revoked.
//!
//! The users service publishes the accounts whose epoch has changed within the life of an access
//! token; older tokens have expired. If these are too many, it publishes the latest, and since when the list is complete: a
//! token from before that time is accepted only if its account is listed, since it may be revoked by a change that is
//! not. Its client gets a new one with the refresh token. The result of a read is used for [`FRESH_FOR`]; then one
//! request reads again, and the others use the known epochs. While the users service is
//! unavailable, the known epochs stay in use: a revoked token is then accepted until it expires at
//! the latest.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Age at which the known epochs are read again.
const FRESH_FOR: Duration = Duration::from_secs(20);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(2);
/// Time limit for a read.
const PATIENCE: Duration = Duration::from_secs(2);

/// Accounts whose epoch has changed recently, and their epochs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct TokenEpochs {
    /// By the account's id.
    pub epochs: HashMap<i64, u64>,
    /// The time since which every change is listed, in seconds since 1970. 0 if all are.
    #[serde(default)]
    pub complete_since: u64,
}

/// The signing of a token: its account and time.
#[derive(Clone, Copy, Debug)]
pub struct Signing {
    /// The id of the account.
    pub user_id: i64,
    /// The time, in seconds since 1970.
    pub at: u64,
}

/// The known epochs.
#[derive(Default)]
pub(super) struct Epochs {
    known: Mutex<Known>,
    /// Held by the task that reads the source.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    published: TokenEpochs,
    is_heard: bool,
    ask_from: Option<Instant>,
}

impl Epochs {
    /// Returns the first epoch whose tokens are valid, of tokens that were signed like this. `ask` reads the published
    /// epochs.
    pub(super) async fn of<F, E>(&self, signing: Signing, ask: impl FnOnce() -> F) -> u64
    where
        F: Future<Output = Result<TokenEpochs, E>>,
        E: Error + Send + Sync + 'static,
    {
        let now = Instant::now();
        if self.known(|known| known.is_due(now)) {
            let turn = if self.known(|known| known.is_heard) {
                self.turn.try_lock().ok()
            } else {
                Some(self.turn.lock().await)
            };
            if turn.is_some() && self.known(|known| known.is_due(now)) {
                self.renew(ask()).await;
            }
        }

        self.known(|known| known.published.first_valid(signing))
    }

    async fn renew<E>(&self, asked: impl Future<Output = Result<TokenEpochs, E>>)
    where
        E: Error + Send + Sync + 'static,
    {
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        let answer: Result<_, Box<dyn Error + Send + Sync>> = match answer {
            Ok(answer) => answer.map_err(Into::into),
            Err(late) => Err(late.into()),
        };

        let now = Instant::now();
        match answer {
            Ok(published) => self.known(|known| {
                known.published = published;
                known.is_heard = true;
                known.ask_from = Some(now + FRESH_FOR);
            }),
            Err(error) => {
                tracing::warn!(error, "the list of revoked access tokens cannot be read");
                self.known(|known| known.ask_from = Some(now + PAUSE_AFTER_FAILURE));
            }
        }
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl TokenEpochs {
    fn first_valid(&self, signing: Signing) -> u64 {
        match self.epochs.get(&signing.user_id) {
            Some(epoch) => *epoch,
            None if signing.at < self.complete_since => u64::MAX,
            None => 0,
        }
    }
}

impl Known {
    fn is_due(&self, now: Instant) -> bool {
        self.ask_from.is_none_or(|from| now >= from)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;

    use super::*;

    fn published(epochs: &[(i64, u64)]) -> Result<TokenEpochs, io::Error> {
        Ok(TokenEpochs {
            epochs: epochs.iter().copied().collect(),
            complete_since: 0,
        })
    }

    fn by(user_id: i64) -> Signing {
        Signing { user_id, at: 100 }
    }

    #[tokio::test]
    async fn epochs_are_read_once_for_many_tokens() {
        let epochs = Epochs::default();
        let asked = Cell::new(0);
        for (user_id, epoch) in [(7, 3), (8, 0), (7, 3)] {
            let ask = async || {
                asked.set(asked.get() + 1);
                published(&[(7, 3)])
            };
            assert_eq!(epochs.of(by(user_id), ask).await, epoch);
        }

        assert_eq!(asked.get(), 1);
    }

    #[tokio::test]
    async fn epochs_stay_while_the_source_is_unavailable() {
        let epochs = Epochs::default();
        assert_eq!(epochs.of(by(7), async || published(&[(7, 3)])).await, 3);
        epochs.known(|known| known.ask_from = None);

        let away = async || Err(io::Error::other("away"));
        assert_eq!(epochs.of(by(7), away).await, 3);
        epochs.known(|known| known.ask_from = None);

        assert_eq!(epochs.of(by(7), async || published(&[(7, 4)])).await, 4);
    }

    #[tokio::test]
    async fn a_token_from_before_the_list_begins_is_valid_only_if_listed() {
        let epochs = Epochs::default();
        let ask = async || {
            let published = published(&[(7, 3)]);
            published.map(|listed| TokenEpochs {
                complete_since: 100,
                ..listed
            })
        };
        for (user_id, at, first_valid) in [
            (7, 99, 3),
            (7, 100, 3),
            (8, 0, u64::MAX),
            (8, 99, u64::MAX),
            (8, 100, 0),
            (8, 101, 0),
        ] {
            let found = epochs.of(Signing { user_id, at }, ask).await;
            assert_eq!(found, first_valid, "{user_id} at {at}");
        }
    }
}
