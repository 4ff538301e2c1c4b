//! The client's identity and its proof: the messages of SASL, without the requests that contain them.
//!
//! Invariants: no secret is shown by `Debug` or in an error.

mod google;
mod issuer;
#[cfg(feature = "msk-iam")]
mod msk;
mod scram;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use self::google::Google;
pub(super) use self::issuer::Secret;
use self::issuer::{IssueError, Issuer};
use self::scram::{First, Hash, Proven, ScramError};
use crate::clock::system_now_ms;

/// The most challenges in an exchange. SCRAM has two.
pub(super) const MOST_MESSAGES: usize = 3;
/// Random bytes in a nonce.
const NONCE_BYTES: usize = 24;

/// A mechanism of SASL that this client has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OauthBearer,
}

/// The places that `sasl.oauthbearer.token.source` names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TokenSource {
    /// `google`: the metadata server of Google.
    Google,
    /// `msk-iam`: credentials of AWS.
    #[cfg(feature = "msk-iam")]
    MskIam,
}

/// The identity that is proven to each broker.
#[derive(Clone, Debug)]
pub(super) enum Login {
    /// A user name and its password, by PLAIN or SCRAM.
    Password {
        mechanism: Mechanism,
        user: String,
        password: Secret,
    },
    /// A bearer token from a file, read anew for each login. The program that writes the file keeps it fresh.
    Token { file: PathBuf },
    /// A bearer token from an issuer, a new one for each login.
    Issued(TokenSource, Arc<dyn Issuer>),
}

/// An exchange with one broker, after its first message.
pub(super) struct Exchange<'a> {
    login: &'a Login,
    state: State,
}

enum State {
    /// Only the broker's verdict is missing.
    Waiting,
    ScramFirst(First),
    ScramProven(Box<Proven>),
    /// The broker sent the reason why it refuses the token, and expects an acknowledgement.
    TokenRefused(String),
}

/// The reason why a login cannot be completed. It continues a sentence about the broker.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error("does not prove that it has the credentials of {user:?}: {source}")]
    Scram { user: String, source: ScramError },
    #[error("answered the login with bytes that are not text")]
    NoText,
    #[error("requests more messages than {0} has")]
    Endless(Mechanism),
    #[error(
        "cannot be given a token: the file {} of sasl.oauthbearer.token.file cannot be read: {source}",
        file.display()
    )]
    TokenFile {
        file: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot be given a token: the file {} of sasl.oauthbearer.token.file is empty, or holds more than a token", file.display())]
    NoToken { file: PathBuf },
    #[error("cannot be given a token of {0}")]
    Issuer(#[from] IssueError),
    #[error("cannot be logged in to: this machine has no random numbers")]
    NoRandomNumbers,
}

impl Mechanism {
    pub const ALL: [Self; 4] = [
        Self::Plain,
        Self::ScramSha256,
        Self::ScramSha512,
        Self::OauthBearer,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl LoginError {
    /// Returns `true` if a later login may succeed.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Issuer(error) if error.is_passing)
    }
}

impl TokenSource {
    /// The sources of this build.
    pub const ALL: &[Self] = &[
        Self::Google,
        #[cfg(feature = "msk-iam")]
        Self::MskIam,
    ];

    /// The source's name in the settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Google => "google",
            #[cfg(feature = "msk-iam")]
            Self::MskIam => "msk-iam",
        }
    }

    /// Returns the login with this source's tokens. Only AWS has regions.
    pub fn login(self, region: Option<&String>) -> Login {
        let issuer: Arc<dyn Issuer> = match (self, region) {
            (Self::Google, _) => Arc::new(Google::of_environment()),
            #[cfg(feature = "msk-iam")]
            (Self::MskIam, region) => Arc::new(msk::Msk::new(region.cloned())),
        };
        Login::Issued(self, issuer)
    }

    pub fn has_regions(self) -> bool {
        self != Self::Google
    }
}

impl Login {
    pub fn mechanism(&self) -> Mechanism {
        match self {
            Self::Password { mechanism, .. } => *mechanism,
            Self::Token { .. } | Self::Issued(..) => Mechanism::OauthBearer,
        }
    }

    /// Returns the user that logs in; none for a token, which contains its user.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Password { user, .. } => Some(user),
            Self::Token { .. } | Self::Issued(..) => None,
        }
    }

    /// Returns the source of the tokens; none if the user has a password, or the token is in a file.
    pub fn token_source(&self) -> Option<&'static str> {
        match self {
            Self::Password { .. } | Self::Token { .. } => None,
            Self::Issued(source, _) => Some(source.name()),
        }
    }

    /// Returns the user that logs in, and the settings to correct when the broker refuses.
    pub fn remedy(&self) -> String {
        match self {
            Self::Password { user, .. } => {
                format!("user {user:?}: correct sasl.username or sasl.password")
            }
            Self::Token { file } => format!(
                "the token in {}: write a fresh one that the broker's validator accepts",
                file.display()
            ),
            Self::Issued(_, issuer) => issuer.remedy(),
        }
    }

    /// Begins an exchange, and returns it with its first message.
    pub fn begin(&self) -> Result<(Exchange<'_>, Vec<u8>), LoginError> {
        let (state, message) = match self {
            Self::Password {
                mechanism,
                user,
                password,
            } => match mechanism {
                Mechanism::ScramSha256 => scram(Hash::Sha256, user)?,
                Mechanism::ScramSha512 => scram(Hash::Sha512, user)?,
                // RFC 4616: the authorization identity is empty.
                _ => (State::Waiting, format!("\0{user}\0{}", password.0)),
            },
            // RFC 7628.
            Self::Token { file } => (State::Waiting, bearer(&token(file)?)),
            Self::Issued(_, issuer) => {
                let token = issuer.token(system_now_ms())?;
                (State::Waiting, bearer(&token))
            }
        };

        Ok((Exchange { login: self, state }, message.into_bytes()))
    }
}

impl Exchange<'_> {
    /// Reads the broker's answer. Returns the next message; none when the login is complete.
    pub fn step(&mut self, answer: &[u8]) -> Result<Option<Vec<u8>>, LoginError> {
        let state = std::mem::replace(&mut self.state, State::Waiting);
        match (self.login, state) {
            (Login::Password { user, password, .. }, State::ScramFirst(first)) => {
                let proven = first.prove(&password.0, text(answer)?);
                let (proven, message) = proven.map_err(|source| unproven(user, source))?;
                self.state = State::ScramProven(Box::new(proven));
                Ok(Some(message.into_bytes()))
            }
            (Login::Password { user, .. }, State::ScramProven(proven)) => {
                let verified = proven.verify(text(answer)?);
                verified.map_err(|source| unproven(user, source))?;
                Ok(None)
            }
            // A broker that refuses a token sends the reason before it fails the login.
            (Login::Token { .. } | Login::Issued(..), State::Waiting) if !answer.is_empty() => {
                self.state = State::TokenRefused(text(answer)?.to_owned());
                Ok(Some(vec![1]))
            }
            (login, State::TokenRefused(_)) => Err(LoginError::Endless(login.mechanism())),
            _ => Ok(None),
        }
    }

    /// Returns the broker's complaint about the token, if it sent one.
    pub fn complaint(&self) -> Option<&str> {
        match &self.state {
            State::TokenRefused(complaint) => Some(complaint),
            _ => None,
        }
    }
}

fn scram(hash: Hash, user: &str) -> Result<(State, String), LoginError> {
    let mut random = [0; NONCE_BYTES];
    rand::fill(&mut random).map_err(|_| LoginError::NoRandomNumbers)?;
    let (first, message) = First::new(hash, user, BASE64.encode(random));
    Ok((State::ScramFirst(first), message))
}

fn bearer(token: &Secret) -> String {
    format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", token.0)
}

fn token(file: &PathBuf) -> Result<Secret, LoginError> {
    let read = std::fs::read_to_string(file).map_err(|source| LoginError::TokenFile {
        file: file.clone(),
        source,
    })?;

    let token = read.trim();
    if token.is_empty() || token.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(LoginError::NoToken { file: file.clone() });
    }

    Ok(Secret(token.to_owned()))
}

fn text(answer: &[u8]) -> Result<&str, LoginError> {
    std::str::from_utf8(answer).map_err(|_| LoginError::NoText)
}

fn unproven(user: &str, source: ScramError) -> LoginError {
    LoginError::Scram {
        user: user.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::{Login, LoginError, Mechanism, Secret};

    fn login(mechanism: Mechanism) -> Login {
        Login::Password {
            mechanism,
            user: "alice".to_owned(),
            password: Secret("open sesame".to_owned()),
        }
    }

    #[test]
    fn plain_sends_all_in_one_message() {
        let login = login(Mechanism::Plain);
        let (mut exchange, message) = login.begin().unwrap();
        assert_eq!(message, b"\0alice\0open sesame");
        assert_eq!(exchange.step(b"").unwrap(), None);
    }

    #[test]
    fn a_password_is_never_shown_and_never_sent_by_scram() {
        for mechanism in Mechanism::ALL {
            let login = login(mechanism);
            let shown = format!("{login:?} {login:#?} {}", login.remedy());
            assert!(!shown.contains("sesame"), "{shown}");
        }

        for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha512] {
            let login = login(mechanism);
            let (mut exchange, first) = login.begin().unwrap();
            let first = String::from_utf8(first).unwrap();
            let nonce = first.rsplit_once("r=").unwrap().1;

            let challenge = format!("r={nonce}more,s=c2FsdA==,i=4096");
            let proof = exchange.step(challenge.as_bytes()).unwrap().unwrap();
            let proof = String::from_utf8(proof).unwrap();
            assert!(!format!("{first}{proof}").contains("sesame"));

            let refused = exchange.step(b"v=AAAA").unwrap_err();
            assert!(matches!(refused, LoginError::Scram { .. }));
            assert!(!refused.to_string().contains("sesame"));
        }
    }

    #[test]
    fn no_two_exchanges_share_a_nonce() {
        let login = login(Mechanism::ScramSha512);
        let first = |login: &Login| login.begin().unwrap().1;
        assert_ne!(first(&login), first(&login));
    }

    #[test]
    fn a_token_is_read_again_for_each_login() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("token");
        let login = Login::Token { file: file.clone() };
        assert!(matches!(login.begin(), Err(LoginError::TokenFile { .. })));

        for token in ["first.token", "second.token"] {
            std::fs::write(&file, format!("{token}\n")).unwrap();
            let (mut exchange, message) = login.begin().unwrap();
            let expected = format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}");
            assert_eq!(String::from_utf8(message).unwrap(), expected);
            assert_eq!(exchange.step(b"").unwrap(), None);
        }

        for wrong in ["", "\n", "two tokens", "a\u{1}b"] {
            std::fs::write(&file, wrong).unwrap();
            assert!(matches!(login.begin(), Err(LoginError::NoToken { .. })));
        }
    }

    #[test]
    fn a_refused_token_is_acknowledged_once() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "token").unwrap();

        let login = Login::Token { file };
        let (mut exchange, _) = login.begin().unwrap();
        let complaint = b"{\"status\":\"invalid_token\"}";
        assert_eq!(exchange.step(complaint).unwrap(), Some(vec![1]));
        assert!(exchange.complaint().unwrap().contains("invalid_token"));
        assert!(matches!(
            exchange.step(complaint),
            Err(LoginError::Endless(_))
        ));
    }
}
