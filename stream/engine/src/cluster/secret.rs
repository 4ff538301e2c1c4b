//! Mutual authentication of a job's processes: each side proves that it has the job's secret, and
//! neither sends it.
//!
//! ```text
//! caller   ── hello: caller, answerer, a number never used before ─────────▶   answerer
//!          ◀────────────── challenge: such a number as well ──────────────
//!          ── proof: HMAC of all this, as the caller ─────────────────────▶  or it is refused
//!          ◀────────────── welcome: HMAC of all this, as the answerer ────
//! ```
//!
//! Invariants: a proof is valid for one line, for one side, between these two processes.
//! Nothing is read from a line that was not welcomed. Proofs are HMAC-SHA-256 (RFC 2104) and are
//! compared in constant time.
//!
//! Left to others: later messages are neither encrypted nor signed. An attacker who can change
//! the network's traffic can change these messages.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

/// The least length of a secret. A shorter one could be guessed by an eavesdropper who has recorded a
/// proof.
const LEAST_BYTES: usize = 32;
/// The prefix of everything that is proved: a proof of another protocol, or of another version, is
/// not valid.
const PROTOCOL: &[u8] = b"tidemark cluster 1";

/// A text that only the processes of a job have. It is never shown.
///
/// ```
/// use stream::{Members, Membership, Secret, SecretError};
///
/// let secret = Secret::from("0123456789abcdef0123456789abcdef");
/// assert_eq!(format!("{secret:?}"), "a secret");
///
/// let membership = Membership {
///     processes: 2,
///     hosts: vec!["127.0.0.1:0".to_owned(), "127.0.0.1:1".to_owned()],
///     cluster_secret: Some(secret),
///     ..Membership::default()
/// };
/// let members: Option<Members> = membership.join()?;
/// assert_eq!(members.map(|members| members.processes()), Some(2));
///
/// let missing = Secret::read("/nowhere/secret".as_ref());
/// assert!(matches!(missing, Err(SecretError::File(_))));
/// # Ok::<(), stream::ClusterError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

/// The way in which a process authenticates the others.
pub struct Trust {
    key: hmac::Key,
    reach: Reach,
}

/// The addresses from which others may call, and which may be called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reach {
    ThisMachine,
    Anywhere,
}

/// A number that is used once.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Nonce([u8; 32]);

/// A proof that a side has the secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Proof(Vec<u8>);

/// An end of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The process that calls.
    Caller,
    /// The process that answers.
    Answerer,
}

/// The data of a line that both sides have once each has sent its number.
#[derive(Clone, Copy, Debug)]
pub struct Meeting {
    /// The process that calls.
    pub caller: u16,
    /// The process that is called.
    pub answerer: u16,
    /// The caller's number.
    pub called_with: Nonce,
    /// The answerer's number.
    pub answered_with: Nonce,
}

/// The secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It is so short that it could be guessed.
    #[error("the secret must have at least {LEAST_BYTES} bytes")]
    TooShort,
    /// Its file cannot be read.
    #[error("cannot read the secret's file: {0}")]
    File(#[from] std::io::Error),
}

impl Secret {
    /// Reads the secret from a file; a line break at its end is not part of it.
    ///
    /// # Errors
    /// [`SecretError::File`].
    pub fn read(file: &Path) -> Result<Self, SecretError> {
        Ok(std::fs::read_to_string(file)?
            .trim_end_matches(['\r', '\n'])
            .into())
    }
}

impl From<&str> for Secret {
    /// Accepts any text. One that is too short is rejected where it is used, because a flag parser
    /// would print it.
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a secret")
    }
}

impl Trust {
    /// Trusts every process that has the secret, wherever it runs.
    ///
    /// # Errors
    /// [`SecretError::TooShort`].
    pub fn by(Secret(secret): &Secret) -> Result<Self, SecretError> {
        if secret.len() < LEAST_BYTES {
            return Err(SecretError::TooShort);
        }
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            reach: Reach::Anywhere,
        })
    }

    /// Trusts every process on this machine.
    pub fn this_machine() -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &[]),
            reach: Reach::ThisMachine,
        }
    }

    /// Trusts every caller.
    pub fn anybody() -> Self {
        Self {
            reach: Reach::Anywhere,
            ..Self::this_machine()
        }
    }

    /// Returns whether processes at that address may call, and be called.
    pub fn reaches(&self, address: IpAddr) -> bool {
        self.reach == Reach::Anywhere || address.to_canonical().is_loopback()
    }

    /// Computes a side's proof.
    pub fn prove(&self, side: End, meeting: &Meeting) -> Proof {
        Proof(
            hmac::sign(&self.key, &meeting.said_by(side))
                .as_ref()
                .to_vec(),
        )
    }

    /// Returns whether the proof shows that the side has the secret.
    pub fn is_proved(&self, proof: &Proof, side: End, meeting: &Meeting) -> bool {
        hmac::verify(&self.key, &meeting.said_by(side), &proof.0).is_ok()
    }
}

impl Nonce {
    /// Draws a number that was never used before.
    ///
    /// # Panics
    /// If the system has no random numbers.
    pub fn drawn() -> Self {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system has random numbers");
        Self(bytes)
    }
}

impl Meeting {
    fn said_by(&self, side: End) -> Vec<u8> {
        let side: &[u8] = match side {
            End::Caller => b" calls ",
            End::Answerer => b" answers ",
        };

        let caller = self.caller.to_be_bytes();
        let answerer = self.answerer.to_be_bytes();
        [
            PROTOCOL,
            side,
            &caller,
            &answerer,
            &self.called_with.0,
            &self.answered_with.0,
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(secret: &str) -> Trust {
        Trust::by(&secret.repeat(LEAST_BYTES).as_str().into()).unwrap()
    }

    #[test]
    fn a_proof_is_valid_for_one_secret_one_meeting_and_one_side() {
        let meeting = Meeting {
            caller: 1,
            answerer: 0,
            called_with: Nonce::drawn(),
            answered_with: Nonce::drawn(),
        };
        let proof = trust("a").prove(End::Caller, &meeting);
        assert!(trust("a").is_proved(&proof, End::Caller, &meeting));
        assert!(!trust("b").is_proved(&proof, End::Caller, &meeting));
        assert!(!Trust::anybody().is_proved(&proof, End::Caller, &meeting));

        assert!(
            !trust("a").is_proved(&proof, End::Answerer, &meeting),
            "it cannot be sent back"
        );

        let others = [
            Meeting {
                caller: 2,
                ..meeting
            },
            Meeting {
                answerer: 2,
                ..meeting
            },
            Meeting {
                called_with: Nonce::drawn(),
                ..meeting
            },
            Meeting {
                answered_with: Nonce::drawn(),
                ..meeting
            },
        ];

        assert!(
            others
                .iter()
                .all(|other| !trust("a").is_proved(&proof, End::Caller, other))
        );
        assert!(!trust("a").is_proved(&Proof(proof.0[..31].to_vec()), End::Caller, &meeting));
    }

    #[test]
    fn a_secret_is_long_and_shown_to_nobody() {
        assert!(matches!(
            Trust::by(&"too short".into()),
            Err(SecretError::TooShort)
        ));

        let secret = Secret::from("0123456789abcdef0123456789abcdef");
        assert_eq!(format!("{secret:?}"), "a secret");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789abcdef0123456789abcdef\n").unwrap();

        assert_eq!(Secret::read(file.path()).unwrap(), secret);
    }

    #[test]
    fn without_a_secret_only_this_machine_is_within_reach() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(Trust::this_machine().reaches(address("127.0.0.1")));
        assert!(Trust::this_machine().reaches(address("::1")));
        assert!(Trust::this_machine().reaches(address("::ffff:127.0.0.1")));
        assert!(!Trust::this_machine().reaches(address("10.0.0.1")));
        assert!(trust("a").reaches(address("10.0.0.1")));
    }
}
