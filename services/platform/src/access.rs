//! The access decision: with `--auth open` callers do not authenticate, which is allowed on
//! loopback addresses only, unless `--allow-open` is set; with `--auth enforced` they must
//! authenticate.

use std::net::IpAddr;

use chassis::auth::{Auth, AuthMode, AuthSettings, AuthSettingsError, JwksUrl, Secret};

use crate::addresses::Part;
use crate::config::ProcessSettings;

/// The reason why these settings are rejected.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The address is public, and callers do not authenticate.
    #[error(
        "the address {0} is public, authentication is off (--auth open) and --allow-open is not set; \
         use --auth enforced, or --allow-open if everyone who can connect may do everything"
    )]
    Exposed(IpAddr),
    /// The settings are incomplete or contradictory.
    #[error(transparent)]
    Settings(#[from] AuthSettingsError),
}

/// Returns the settings with which the services of one process authenticate callers and each other. Callers are
/// verified with the keys of the users service at `users_url`. The services share a secret, which is random if none is
/// given.
pub fn of_all(settings: &ProcessSettings, users_url: &str) -> AuthSettings {
    let jwks_url = JwksUrl::of_users_at(users_url).expect("a listener's URL is a base address");
    let service_secret = Some(
        settings
            .access
            .service_secret
            .clone()
            .unwrap_or_else(Secret::random),
    );

    AuthSettings {
        jwks_url,
        service_secret,
        ..settings.access.clone()
    }
}

/// Returns the authentication of a part that runs alone. The stream job serves only its status,
/// without authentication.
///
/// # Errors
/// [`AccessError`].
pub fn of_one(settings: &ProcessSettings, part: Part) -> Result<Auth, AccessError> {
    if part == Part::StreamJob {
        return Ok(Auth::open());
    }

    refuse_exposed(settings)?;
    let is_asked_by_services = part != Part::Gateway && settings.access.auth == AuthMode::Enforced;
    if is_asked_by_services && settings.access.service_secret.is_none() {
        return Err(AuthSettingsError::NoSecret.into());
    }

    Ok(settings.access.to_auth()?)
}

/// Rejects a public address when authentication is off and `--allow-open` is not set.
///
/// # Errors
/// [`AccessError::Exposed`].
pub fn refuse_exposed(settings: &ProcessSettings) -> Result<(), AccessError> {
    let host = settings.addresses.host;
    let is_exposed = settings.access.auth == AuthMode::Open && !host.to_canonical().is_loopback();
    if is_exposed && !settings.access.allow_open {
        Err(AccessError::Exposed(host))
    } else {
        Ok(())
    }
}
