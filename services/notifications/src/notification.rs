//! A notification: the message about one event to one user, with its delivery state. Pure.
//!
//! ```text
//!             ┌───────────── failed: retried later ────────────┐
//!             ▼                                                │
//! event ─▶ pending ──▶ sending (owner, lease) ──┬─▶ sent       │
//!             ▲                                 ├─▶ skipped ───┤ no recipient
//!             │                                 ├─▶ dead ──────┤ rejected, or too many attempts
//!             └────────── retry requested ──────┴──────────────┘
//! ```
//!
//! A sender holds a lease until `next_try_at`. After that, another sender may take over.

use std::time::Duration;

use chassis::Backoff;
use events::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::OrderEvent;

/// The wait after the first failed attempt; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// Longest error text that is stored, in characters.
const MAX_ERROR_CHARS: usize = 300;

/// A notification as it is stored and served.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Notification {
    /// The id of the event: one event, one notification.
    pub id: Uuid,
    /// The user to notify.
    pub user_id: u64,
    /// The order that it is about.
    pub order_id: u64,
    /// The channel by which it was sent, or is to be sent.
    pub channel: Channel,
    /// The delivery state.
    pub status: Status,
    /// The message in one line.
    pub subject: String,
    /// The whole message.
    pub body: String,
    /// The time of the event.
    pub created_at: Timestamp,
    /// The time of delivery.
    pub sent_at: Option<Timestamp>,
    /// Number of attempts.
    #[serde(default)]
    pub attempts: u32,
    /// While pending, the time of the next attempt; while sending, the end of the lease.
    pub next_try_at: Option<Timestamp>,
    /// The error of the last attempt.
    pub last_error: Option<String>,
}

/// A way to deliver a message.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// The mailbox at `GET /notifications` only.
    Simulated,
    /// By e-mail.
    Email,
    /// By text message.
    Sms,
}

/// The delivery state of a notification.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The notification waits to be sent.
    Pending,
    /// A sender holds a lease on it.
    Sending,
    /// It was delivered.
    Sent,
    /// The user no longer exists or has no address.
    Skipped,
    /// Delivery was given up; the record is among the dead letters.
    Dead,
}

/// The reason why an attempt failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// A later attempt may succeed.
    NotNow(String),
    /// The message will never be accepted.
    Never(String),
    /// There is no recipient, or no address for any channel.
    NoRecipient(&'static str),
}

/// The outcome of an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The message was delivered.
    Sent(Channel),
    /// Another attempt follows.
    Again {
        /// The time of the next attempt.
        at: Timestamp,
        /// The error of this attempt.
        error: String,
    },
    /// There is no recipient.
    Skipped(&'static str),
    /// Delivery is given up.
    Dead(String),
}

impl Notification {
    /// Creates the notification of an event. On the simulated channel it is sent at once; on any
    /// other it waits for a sender.
    pub fn of(event: &OrderEvent, channel: Channel, now: Timestamp) -> Self {
        let message = event.message();
        let is_told = channel == Channel::Simulated;
        Self {
            id: event.id(),
            user_id: event.user_id(),
            order_id: event.order_id(),
            channel,
            status: if is_told {
                Status::Sent
            } else {
                Status::Pending
            },
            subject: message.subject,
            body: message.text,
            created_at: event.at(),
            sent_at: is_told.then_some(now),
            attempts: 0,
            next_try_at: (!is_told).then_some(now),
            last_error: None,
        }
    }
}

impl Status {
    /// Returns its name on the wire and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Skipped => "skipped",
            Self::Dead => "dead",
        }
    }

    /// Returns `true` while it is still to be sent.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Sending)
    }
}

impl Channel {
    /// Returns its name on the wire and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Email => "email",
            Self::Sms => "sms",
        }
    }
}

impl Outcome {
    /// Returns the outcome of attempt number `attempts` out of at most `most`. `random` may be any
    /// number; it spreads the retries.
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

    /// Returns the status that follows from the outcome.
    pub fn status(&self) -> Status {
        match self {
            Self::Sent(_) => Status::Sent,
            Self::Again { .. } => Status::Pending,
            Self::Skipped(_) => Status::Skipped,
            Self::Dead(_) => Status::Dead,
        }
    }
}

/// Returns the time of the next attempt after `attempts` failed ones.
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
    fn a_temporary_failure_is_tried_again_up_to_a_limit() {
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
