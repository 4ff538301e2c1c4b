//! The first admin: the account that the settings name, appointed at start.
//!
//! The operator of the service's environment appoints the admin. Another person may have signed up
//! with the address before: the account is then taken over, with the password of the settings. Once
//! appointed it is left unchanged, so that its owner may choose another password.

use std::net::{IpAddr, Ipv4Addr};

use chassis::auth::Secret;
use events::Timestamp;

use crate::password::{HashError, Hasher, Waiter};
use crate::store::{Store, StoreError};
use crate::user::{Email, Invalid, NewPassword};

/// No request waits for this hash.
const OURSELVES: Waiter = Waiter {
    network: IpAddr::V4(Ipv4Addr::LOCALHOST),
    is_known: true,
};

/// The admin to appoint.
pub struct FirstAdmin {
    email: Email,
    password: NewPassword,
}

/// The reason why the admin was not appointed.
#[derive(Debug, thiserror::Error)]
pub enum AppointError {
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FirstAdmin {
    /// Returns the admin with this address and password.
    pub fn new(email: &Email, password: &Secret) -> Result<Self, Invalid> {
        let password = NewPassword::try_from(password.expose().to_owned())?;
        if password.is_guessable(&[email.as_str().to_owned()]) {
            return Err(Invalid::Guessable);
        }

        Ok(Self {
            email: email.clone(),
            password,
        })
    }

    /// Ensures that the account exists and is an admin's.
    pub async fn appoint(&self, store: &Store, hasher: &Hasher) -> Result<(), AppointError> {
        if store.is_appointed(&self.email).await? {
            return Ok(());
        }

        let turn = hasher.turn(OURSELVES).await?;
        let about = [self.email.as_str().to_owned()];
        let hash = hasher.hash(turn, self.password.clone(), &about).await?;
        store.appoint(&self.email, &hash, Timestamp::now()).await?;
        tracing::info!("appointed the first admin");

        Ok(())
    }
}
