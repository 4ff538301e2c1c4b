//! The first admin: the account named by the settings, appointed at start.
//!
//! The operator appoints the admin in the settings. If another person has signed up with the address before, that
//! account is taken over and gets the password of the settings. An account that is already an admin's is left
//! unchanged, so that its owner may choose another password.

use std::net::{IpAddr, Ipv4Addr};

use chassis::auth::Secret;
use events::Timestamp;

use crate::password::{HashError, Hasher, Waiter};
use crate::store::{Store, StoreError};
use crate::user::{Email, Invalid, NewPassword};

/// The waiter for the hash of the admin's password: this process itself.
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

    /// Ensures that the account exists and belongs to an admin.
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
