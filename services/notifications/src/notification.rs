//! A notification: what one event tells one user, and how far that has come. Pure.
//!
//! ```text
//!             ┌───────────── not now: again later ─────────────┐
//!             ▼                                                │
//! event ─▶ pending ──▶ sending (owner, lease) ──┬─▶ sent       │
//!             ▲                                 ├─▶ skipped ───┤ nobody to tell
//!             │                                 ├─▶ dead ──────┤ refused for good, or too often
//!             └────────── a retry is asked ─────┴──────────────┘
//! ```
//!
//! Who sends holds a lease until `next_try_at`; if it dies, another takes over when that has passed.

use std::time::Duration;

use chassis::Backoff;
use events::{OrderCreated, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::template;

/// The wait after the first failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// How much of an error is kept.
const MAX_ERROR_CHARS: usize = 300;

/// A notification as it is stored and shown.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Notification {
    /// The id of the event: one event, one notification.
    pub id: Uuid,
    /// Who is told.
    pub user_id: u64,
    /// The order it is about.
    pub order_id: u64,
    /// How it is told, or is meant to be.
    pub channel: Channel,
    /// What became of it.
    pub status: Status,
    /// In a line.
    pub subject: String,
    /// At length.
    pub body: String,
    /// When the event happened.
    pub created_at: Timestamp,
    /// When it was told.
    pub sent_at: Option<Timestamp>,
    /// How often it was tried.
    #[serde(default)]
    pub attempts: u32,
    /// While pending, when it is tried next; while sending, when somebody else may take over.
    pub next_try_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// A way to tell somebody something.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Into the mailbox at `GET /notifications`, and nowhere else.
    Simulated,
    /// By e-mail.
    Email,
    /// By text message.
    Sms,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It waits to be sent.
    Pending,
    /// Somebody is sending it.
    Sending,
    /// It was told.
    Sent,
    /// There is nobody to tell.
    Skipped,
    /// It was given up and is among the dead letters.
    Dead,
}

/// Why an attempt came to nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// It may work later.
    NotNow(String),
    /// This message will never be taken.
    Never(String),
    /// There is nobody to tell, or no way to.
    NoRecipient(&'static str),
}

/// What comes of an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It was told.
    Sent(Channel),
    /// It is tried again.
    Again {
        /// When.
        at: Timestamp,
        /// Why it has to be.
        error: String,
    },
    /// There is nobody to tell.
    Skipped(&'static str),
    /// It is given up.
    Dead(String),
}

impl Notification {
    /// Tells of an order: at once by the simulated channel, by any other when somebody sends it.
    pub fn of(order: &OrderCreated, channel: Channel, now: Timestamp) -> Self {
        let message = template::order_created(order);
        let is_told = channel == Channel::Simulated;
        Self {
            id: order.event_id,
            user_id: order.user_id,
            order_id: order.order_id,
            channel,
            status: if is_told {
                Status::Sent
            } else {
                Status::Pending
            },
            subject: message.subject,
            body: message.text,
            created_at: order.created_at,
            sent_at: is_told.then_some(now),
            attempts: 0,
            next_try_at: (!is_told).then_some(now),
            last_error: None,
        }
    }
}

impl Status {
    /// Its name, as on the wire and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Skipped => "skipped",
            Self::Dead => "dead",
        }
    }

    /// Whether it is still to be sent.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Sending)
    }
}

impl Channel {
    /// Its name, as on the wire and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Email => "email",
            Self::Sms => "sms",
        }
    }
}

impl Outcome {
    /// What comes of an attempt that was the `attempts`th of at most `most`. `random` is any number.
    pub fn of(
        attempt: Result<Channel, Refusal>,
        attempts: u32,
        most: u32,
        now: Timestamp,
        random: u64,
    ) -> Self {
        match attempt {
            Ok(channel) => Self::Sent(channel),
            Err(Refusal::NoRecipient(reason)) => Self::Skipped(reason),
            Err(Refusal::Never(reason)) => Self::Dead(cut(reason)),
            Err(Refusal::NotNow(error)) if attempts >= most => {
                Self::Dead(cut(format!("given up after {attempts} attempts: {error}")))
            }
            Err(Refusal::NotNow(error)) => Self::Again {
                at: again_at(attempts, now, random),
                error: cut(error),
            },
        }
    }

    /// The status it leads to.
    pub fn status(&self) -> Status {
        match self {
            Self::Sent(_) => Status::Sent,
            Self::Again { .. } => Status::Pending,
            Self::Skipped(_) => Status::Skipped,
            Self::Dead(_) => Status::Dead,
        }
    }
}

/// When to try again after so many attempts.
pub fn again_at(attempts: u32, now: Timestamp, random: u64) -> Timestamp {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    for _ in 1..attempts.min(32) {
        backoff.next_wait(0);
    }
    let wait_ms = u64::try_from(backoff.next_wait(random).as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_ms(now.as_ms().saturating_add(wait_ms)).unwrap_or(now)
}

fn cut(error: String) -> String {
    match error.char_indices().nth(MAX_ERROR_CHARS) {
        Some((end, _)) => error[..end].to_owned(),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 12;

    fn now() -> Timestamp {
        Timestamp::from_ms(1_795_341_600_000).unwrap()
    }

    fn after(attempts: u32, refusal: Refusal) -> Outcome {
        Outcome::of(Err(refusal), attempts, MOST, now(), 0)
    }

    fn waits_ms(random: u64) -> Vec<u64> {
        (1..MOST)
            .map(|attempts| again_at(attempts, now(), random).as_ms() - now().as_ms())
            .collect()
    }

    #[test]
    fn waits_double_up_to_an_hour_and_spread() {
        let least = waits_ms(0);
        assert_eq!(least[..4], [2_500, 5_000, 10_000, 20_000]);
        assert_eq!(least.last(), Some(&1_800_000));

        let most = waits_ms(u64::MAX - 1);
        assert!(
            least
                .iter()
                .zip(&most)
                .all(|(least, most)| least <= most && *most < 2 * least)
        );
    }

    #[test]
    fn all_attempts_together_take_hours_not_days() {
        let hours = waits_ms(0).iter().sum::<u64>() / 3_600_000;
        assert!((1..24).contains(&hours), "{hours}");
    }

    #[test]
    fn what_may_work_later_is_tried_again_until_it_was_tried_too_often() {
        let busy = || Refusal::NotNow("busy".to_owned());
        assert!(matches!(after(MOST - 1, busy()), Outcome::Again { error, .. } if error == "busy"));
        assert_eq!(
            after(MOST, busy()),
            Outcome::Dead("given up after 12 attempts: busy".to_owned())
        );
    }

    #[test]
    fn what_is_refused_for_good_is_given_up_at_once() {
        assert_eq!(
            after(1, Refusal::Never("no such box".to_owned())),
            Outcome::Dead("no such box".to_owned())
        );
        assert_eq!(
            after(1, Refusal::NoRecipient("gone")),
            Outcome::Skipped("gone")
        );
    }

    #[test]
    fn of_a_long_error_the_beginning_is_kept() {
        let Outcome::Dead(reason) = after(1, Refusal::Never("ä".repeat(1_000))) else {
            panic!("it goes on")
        };
        assert_eq!(reason.chars().count(), MAX_ERROR_CHARS);
    }
}
