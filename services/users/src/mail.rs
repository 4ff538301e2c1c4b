//! Mail about accounts, and the tokens in its links. Pure logic, without input or output.
//!
//! ```text
//! request ─▶ account_mail ──▶ POST /account-mail/take ──▶ notifications ──▶ mail server
//!            (kind, address)   (by notifications: the
//!                               token is made here)
//! ```
//!
//! A request only stores the kind of mail and the address, in the same transaction as its other changes. It never reads
//! whether the address has an account, so its answer and its duration cannot reveal that. The content of the mail is
//! decided when the notifications service takes it.
//!
//! The token is generated at that moment, and leaves this service once, in the answer to the notifications service.
//! Only its hash is stored, so no table, log or topic contains a token. If a mail is taken again because its delivery
//! failed, it gets another token; each is valid for one use.
//!
//! One address gets at most one mail of a kind in [`SLOT`], and a token is valid for longer than that. A stranger who
//! requests mail for another person's address can therefore neither fill the inbox nor leave the owner without a valid
//! link.

use std::time::Duration;

use events::Timestamp;
use serde::Serialize;

/// The time in which one address gets at most one mail with a link, for each kind.
pub const SLOT: Duration = Duration::from_secs(15 * 60);
/// Lifetime of a token.
pub const TOKEN_LIFE: Duration = Duration::from_secs(3_600);
/// The time after which a mail is deleted, whether it was sent or not.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Maximum number of times that a mail is handed to the notifications service.
pub const MOST_ATTEMPTS: i64 = 8;

/// The first wait before a mail that was not settled is handed over again. It doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(60);

/// A kind of mail, as it is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MailKind {
    /// Asks the owner of a stated address to confirm it.
    VerifyAddress,
    /// Contains a link to set another password.
    ResetPassword,
    /// Informs the verified address that the account has stated another one.
    AddressChanging,
    /// Informs the verified address that the password was changed.
    PasswordChanged,
}

/// The content of a mail, decided when it is taken.
#[derive(Clone, Eq, PartialEq)]
pub enum Content {
    VerifyAddress {
        token: String,
    },
    /// The stated address is the verified address of another account.
    AddressInUse,
    ResetPassword {
        token: String,
    },
    AddressChanging,
    PasswordChanged,
}

/// A mail that was taken.
pub struct TakenMail {
    pub id: String,
    pub to: String,
    pub content: Content,
}

/// A mail in the form in which the notifications service gets it.
#[derive(Serialize)]
pub struct OutgoingMail {
    id: String,
    to: String,
    kind: &'static str,
    /// The page that the mail leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

impl MailKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::VerifyAddress => "verify_address",
            Self::ResetPassword => "reset_password",
            Self::AddressChanging => "address_changing",
            Self::PasswordChanged => "password_changed",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [
            Self::VerifyAddress,
            Self::ResetPassword,
            Self::AddressChanging,
            Self::PasswordChanged,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
    }

    /// Returns the slot of a mail of this kind at this time; an address gets one mail in each slot. Returns none for
    /// warnings, because a warning about a thief must reach the owner even soon after an earlier one.
    pub fn slot(self, now: Timestamp) -> Option<u64> {
        let is_requested_by_anybody = matches!(self, Self::VerifyAddress | Self::ResetPassword);
        is_requested_by_anybody.then(|| now.as_ms() / millis(SLOT))
    }
}

impl TakenMail {
    /// Returns the mail with links to the shop at this address.
    pub fn outgoing(self, shop_url: &str) -> OutgoingMail {
        let shop = shop_url.trim_end_matches('/');

        // Browsers do not send a fragment to servers, so neither logs nor `Referer` headers contain the token.
        let (kind, link) = match self.content {
            Content::VerifyAddress { token } => {
                ("verify_address", Some(format!("{shop}/verify#{token}")))
            }
            Content::AddressInUse => ("address_in_use", Some(format!("{shop}/forgot"))),
            Content::ResetPassword { token } => {
                ("reset_password", Some(format!("{shop}/reset#{token}")))
            }
            Content::AddressChanging => ("address_changing", None),
            Content::PasswordChanged => ("password_changed", Some(format!("{shop}/forgot"))),
        };

        OutgoingMail {
            id: self.id,
            to: self.to,
            kind,
            link,
        }
    }
}

/// Returns the time at which a mail is due again unless it is settled; none after the last attempt. It was handed over
/// `attempts` times before this time.
pub fn due_again_ms(attempts: i64, now: Timestamp) -> Option<u64> {
    let doublings = u32::try_from(attempts).ok()?;
    let wait = millis(FIRST_WAIT) << doublings.min(16);
    (attempts + 1 < MOST_ATTEMPTS).then(|| now.as_ms() + wait)
}

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_outlives_the_slot_of_its_mail() {
        assert!(TOKEN_LIFE >= 2 * SLOT);
    }

    #[test]
    fn links_begin_with_the_shop_and_have_the_token_in_a_fragment() {
        let taken = |content| TakenMail {
            id: "1".to_owned(),
            to: "a@test.com".to_owned(),
            content,
        };

        let link = |content| taken(content).outgoing("https://shop.example/").link;
        let token = || "t0ken".to_owned();
        assert_eq!(
            link(Content::VerifyAddress { token: token() }).unwrap(),
            "https://shop.example/verify#t0ken"
        );
        assert_eq!(
            link(Content::ResetPassword { token: token() }).unwrap(),
            "https://shop.example/reset#t0ken"
        );
        assert_eq!(link(Content::AddressChanging), None);
    }

    #[test]
    fn deliveries_are_tried_again_and_given_up() {
        let now = Timestamp::from_ms(1_000).unwrap();
        assert_eq!(due_again_ms(0, now), Some(61_000));
        assert_eq!(due_again_ms(1, now), Some(121_000));
        assert_eq!(due_again_ms(MOST_ATTEMPTS - 1, now), None);
    }

    #[test]
    fn warnings_are_never_held_back() {
        let now = Timestamp::from_ms(1).unwrap();
        assert!(MailKind::AddressChanging.slot(now).is_none());
        assert!(MailKind::PasswordChanged.slot(now).is_none());
        assert!(MailKind::ResetPassword.slot(now).is_some());
    }
}
