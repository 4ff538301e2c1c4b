//! Who is asked who they are: nobody, on one's own machine; everybody, where others can connect.

use std::net::IpAddr;

use chassis::auth::{Auth, AuthMode, AuthSettings, AuthSettingsError, JwksUrl, Secret};

use crate::addresses::Part;
use crate::config::ProcessSettings;

/// Why nothing is served by these settings.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Everybody around could do everything.
    #[error(
        "nobody is asked who they are (--auth open), so {0}, where others can connect, is not listened on; \
         use --auth enforced, or --allow-open if everybody there may do everything"
    )]
    Exposed(IpAddr),
    /// The settings do not make sense.
    #[error(transparent)]
    Settings(#[from] AuthSettingsError),
}

/// How the services of one process know callers and each other: by the keys of the users service at `users_url`, and by a
/// secret that nobody else needs.
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

/// How a part that runs alone knows callers. The stream job serves its status and nothing else, and asks nobody.
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

/// Whether others can connect although nobody is asked who they are, and nobody said that this is meant.
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
