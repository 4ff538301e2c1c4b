//! The settings of authentication: whether it is enforced, and how tokens are verified.

use clap::{Args, ValueEnum};

use super::{Auth, HttpKeys, JwksUrl, Secret};

/// Smallest secret: as long as the output of the hash function that it is the key of (SHA-256).
const SECRET_BYTES: usize = 32;

/// The settings of authentication.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct AuthSettings {
    /// Whether callers must authenticate.
    #[arg(
        long,
        env = "TIDEMARK_AUTH",
        default_value = "open",
        value_name = "MODE"
    )]
    pub auth: AuthMode,
    /// Listen on addresses that other machines can reach although authentication is off: everybody
    /// who can connect may do everything.
    #[arg(long, env = "TIDEMARK_ALLOW_OPEN")]
    pub allow_open: bool,
    /// URL at which the users service publishes the keys that verify access tokens.
    #[arg(
        long,
        env = "TIDEMARK_JWKS_URL",
        default_value = "http://127.0.0.1:5001/.well-known/jwks.json",
        value_name = "URL"
    )]
    pub jwks_url: JwksUrl,
    /// Secret of at least 32 bytes with which services authenticate to each other; it is the same for
    /// all of them.
    #[arg(
        long,
        env = "TIDEMARK_SERVICE_SECRET",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub service_secret: Option<Secret>,
}

/// The mode of authentication.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum AuthMode {
    /// Authentication is off: for a developer's own machine.
    Open,
    /// Every caller must authenticate, except on public routes.
    Enforced,
}

/// An error in the authentication settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthSettingsError {
    /// A service has no secret with which to authenticate to other services.
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
}
