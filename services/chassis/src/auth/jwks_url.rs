//! The address of the keys that the users service publishes.

use std::str::FromStr;

use axum::http::Uri;
use axum::http::uri::{PathAndQuery, Scheme};

/// Path at which the users service publishes its keys.
const JWKS_PATH: &str = "/.well-known/jwks.json";
const EPOCHS_PATH: &str = "/.well-known/token-epochs.json";

/// The address of published keys. It is plain HTTP, because it is within the platform's own
/// network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JwksUrl(Uri);

/// The error for a text that is not the address of published keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an address like http://users:5001/.well-known/jwks.json")]
pub struct InvalidJwksUrl;

impl JwksUrl {
    /// Returns the address at which the users service at this base address publishes its keys.
    ///
    /// # Errors
    /// [`InvalidJwksUrl`] when `base` is not a base address.
    pub fn of_users_at(base: &str) -> Result<Self, InvalidJwksUrl> {
        format!("{}{JWKS_PATH}", base.trim_end_matches('/')).parse()
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    /// Returns the address at which the same service publishes the epochs of accounts.
    pub(super) fn epochs_uri(&self) -> Uri {
        let mut parts = self.0.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static(EPOCHS_PATH));
        Uri::from_parts(parts).expect("a valid address stays valid with another path")
    }
}

impl FromStr for JwksUrl {
    type Err = InvalidJwksUrl;

    fn from_str(text: &str) -> Result<Self, InvalidJwksUrl> {
        let uri: Uri = text.parse().map_err(|_| InvalidJwksUrl)?;
        if uri.scheme() == Some(&Scheme::HTTP) && uri.authority().is_some() {
            Ok(Self(uri))
        } else {
            Err(InvalidJwksUrl)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_at_an_http_address() {
        assert_eq!(
            JwksUrl::of_users_at("http://users:5001/").unwrap().uri(),
            "http://users:5001/.well-known/jwks.json"
        );

        for wrong in [
            "",
            "users:5001",
            "https://users/.well-known/jwks.json",
            "file:///keys",
        ] {
            assert_eq!(wrong.parse::<JwksUrl>(), Err(InvalidJwksUrl), "{wrong}");
        }
    }
}
