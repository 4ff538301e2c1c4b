//! The account of a token: found by verifying it once, then cached for a while.
//!
//! Verifying a signature costs more than everything else that the gateway does for a request. The
//! cached account only selects the rate limit's counter: the services verify the token itself for
//! each request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use chassis::auth::{Auth, Caller};

/// The time for which a cached account is used.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// Largest number of cached accounts, of some hundred bytes each.
const MOST: usize = 10_000;

/// The accounts of recently used tokens. Invalid tokens are not cached, because anybody can invent
/// them.
pub(super) struct Accounts {
    auth: Auth,
    known: Mutex<HashMap<Box<[u8]>, Known>>,
}

#[derive(Clone, Copy)]
struct Known {
    account: i64,
    since: Instant,
}

impl Accounts {
    pub(super) fn new(auth: Auth) -> Self {
        Self {
            auth,
            known: Mutex::default(),
        }
    }

    /// Returns the account of the token in these headers; none if there is no valid token.
    pub(super) async fn of(&self, headers: &HeaderMap) -> Option<i64> {
        let shown = headers.get(header::AUTHORIZATION)?.as_bytes();
        let now = Instant::now();
        if let Some(account) = self.remembered(shown, now) {
            return Some(account);
        }

        let Ok(Caller::User { id, .. }) = self.auth.caller(headers).await else {
            return None;
        };

        self.remember(
            shown,
            Known {
                account: id,
                since: now,
            },
        );

        Some(id)
    }

    fn remembered(&self, shown: &[u8], now: Instant) -> Option<i64> {
        let known = *self.known().get(shown)?;
        (now.saturating_duration_since(known.since) < KEPT_FOR).then_some(known.account)
    }

    fn remember(&self, shown: &[u8], known: Known) {
        let mut all = self.known();
        if all.len() >= MOST {
            all.retain(|_, other| known.since.saturating_duration_since(other.since) < KEPT_FOR);
        }

        if all.len() < MOST {
            all.insert(shown.into(), known);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_remembered_for_a_while_under_its_own_token() {
        let accounts = Accounts::new(Auth::open());
        let now = Instant::now();
        accounts.remember(
            b"Bearer one",
            Known {
                account: 1,
                since: now,
            },
        );

        assert_eq!(accounts.remembered(b"Bearer one", now), Some(1));
        assert_eq!(accounts.remembered(b"Bearer two", now), None);
        assert_eq!(accounts.remembered(b"Bearer one", now + KEPT_FOR), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_makes_room_when_it_is_old() {
        let accounts = Accounts::new(Auth::open());
        let now = Instant::now();
        let remember = |number: usize, since| {
            accounts.remember(number.to_string().as_bytes(), Known { account: 1, since });
            accounts.known().len()
        };
        assert_eq!((0..=MOST).fold(0, |_, number| remember(number, now)), MOST);
        assert_eq!(remember(MOST, now + KEPT_FOR), 1);
    }
}
