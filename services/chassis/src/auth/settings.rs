//! The settings of authentication: whether it is enforced, and how tokens are verified.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use axum::http::Uri;
use axum::http::uri::{PathAndQuery, Scheme};
use clap::{Args, ValueEnum};

use super::{Auth, HttpKeys};

/// Path at which the users service publishes its keys.
pub(crate) const JWKS_PATH: &str = "/.well-known/jwks.json";
const EPOCHS_PATH: &str = "/.well-known/token-epochs.json";
/// The length of the digest that the secret keys.
const SECRET_BYTES: usize = 32;

/// Whether callers are asked who they are.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct AuthSettings {
    /// Whether callers have to show who they are.
    #[arg(
        long,
        env = "TIDEMARK_AUTH",
        default_value = "open",
        value_name = "MODE"
    )]
    pub auth: AuthMode,
    /// Listen beyond this machine although nobody is asked who they are: everybody who can connect
    /// may do everything.
    #[arg(long, env = "TIDEMARK_ALLOW_OPEN")]
    pub allow_open: bool,
    /// Where the users service publishes the keys that verify access tokens.
    #[arg(
        long,
        env = "TIDEMARK_JWKS_URL",
        default_value = "http://127.0.0.1:5001/.well-known/jwks.json",
        value_name = "URL"
    )]
    pub jwks_url: JwksUrl,
    /// Secret of at least 32 bytes by which services know each other, the same for all of them.
    #[arg(
        long,
        env = "TIDEMARK_SERVICE_SECRET",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub service_secret: Option<Secret>,
}

/// Whether callers are asked who they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum AuthMode {
    /// Authentication is off: for a developer's own machine.
    Open,
    /// Every caller must authenticate, except on public routes.
    Enforced,
}

/// A text that never appears in logs or errors.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

/// The address of published keys. It is plain HTTP, because it is within the platform's own
/// network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JwksUrl(Uri);

/// The error for a text that is not the address of published keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an address like http://users:5001/.well-known/jwks.json")]
pub struct InvalidJwksUrl;

/// An error in the authentication settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthSettingsError {
    /// A service has no secret to authenticate itself to other services with.
    #[error(
        "with --auth enforced a service needs the --service-secret (TIDEMARK_SERVICE_SECRET) that all of them share"
    )]
    NoSecret,
    /// The secret is too short and could be guessed.
    #[error(
        "the --service-secret (TIDEMARK_SERVICE_SECRET) must have at least {SECRET_BYTES} bytes"
    )]
    ShortSecret,
}

impl AuthSettings {
    /// Returns the verifier of callers that these settings describe.
    ///
    /// # Errors
    /// [`AuthSettingsError::ShortSecret`].
    pub fn to_auth(&self) -> Result<Auth, AuthSettingsError> {
        if self.auth == AuthMode::Open {
            return Ok(Auth::open());
        }

        if self
            .service_secret
            .as_ref()
            .is_some_and(|secret| secret.expose().len() < SECRET_BYTES)
        {
            return Err(AuthSettingsError::ShortSecret);
        }

        Ok(Auth::enforced(
            HttpKeys::at(&self.jwks_url),
            self.service_secret.as_ref(),
        ))
    }
}

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns a random secret of 244 bits.
    pub fn random() -> Self {
        let random = || uuid::Uuid::new_v4().simple();
        Self(format!("{}{}", random(), random()))
    }
}

/// Accepts any text: if the parser rejected one, its error would print the secret.
impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

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
        Uri::from_parts(parts).expect("a valid address with another path is one")
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

    fn settings(auth: AuthMode, secret: Option<&str>) -> AuthSettings {
        AuthSettings {
            auth,
            allow_open: false,
            jwks_url: JwksUrl::of_users_at("http://users:5001/").unwrap(),
            service_secret: secret.map(|text| text.parse().unwrap()),
        }
    }

    #[test]
    fn a_secret_that_could_be_guessed_is_refused_and_none_is_shown() {
        let short = settings(AuthMode::Enforced, Some("hunter2"));
        assert_eq!(short.to_auth().err(), Some(AuthSettingsError::ShortSecret));
        assert!(!format!("{short:?}").contains("hunter2"));

        assert!(
            settings(AuthMode::Enforced, Some(Secret::random().expose()))
                .to_auth()
                .is_ok()
        );
        assert!(settings(AuthMode::Enforced, None).to_auth().is_ok());
    }

    #[test]
    fn keys_are_at_an_http_address() {
        assert_eq!(
            settings(AuthMode::Open, None).jwks_url.uri(),
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
