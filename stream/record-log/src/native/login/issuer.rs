//! Issuers of bearer tokens: the interface between a login and its issuer.

use std::error::Error;
use std::fmt;

/// A text that is not shown.
#[derive(Clone, Eq, PartialEq)]
pub(in crate::native) struct Secret(pub String);

/// A place that issues bearer tokens.
pub(in crate::native) trait Issuer: fmt::Debug + Send + Sync {
    /// Returns a token as of `now_ms`.
    fn token(&self, now_ms: u64) -> Result<Secret, IssueError>;

    /// Returns the identity of the tokens, and the correction to make when a broker refuses it.
    fn remedy(&self) -> String;
}

/// The reason why an issuer gives no token.
#[derive(Debug, thiserror::Error)]
#[error("{issuer}: {source}")]
pub(in crate::native) struct IssueError {
    pub issuer: &'static str,
    pub source: Box<dyn Error + Send + Sync>,
    /// `true` if a later try may succeed.
    pub is_passing: bool,
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(not shown)")
    }
}
