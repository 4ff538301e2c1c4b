//! The first admin: the account that the settings name, appointed at start.
//!
//! Whoever sets the service's environment says who runs the shop. Somebody else may have signed up with the address before:
//! the account is taken over, with the password of the settings. Once appointed it is left alone, so that its owner may
//! choose another password.

use chassis::auth::Secret;
use events::Timestamp;

use crate::password::{HashError, Hasher};
use crate::store::{Store, StoreError};
use crate::user::{Email, Invalid, Password};

/// Who is to run the shop.
pub struct FirstAdmin {
    email: Email,
    password: Password,
}

/// Why nobody was appointed.
#[derive(Debug, thiserror::Error)]
pub enum AppointError {
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FirstAdmin {
    /// The admin with this address and password.
    pub fn new(email: &Email, password: &Secret) -> Result<Self, Invalid> {
        Ok(Self {
            email: email.clone(),
            password: Password::try_from(password.expose().to_owned())?,
        })
    }

    /// Sees to it that the account is there and an admin's.
    pub async fn appoint(&self, store: &Store, hasher: &Hasher) -> Result<(), AppointError> {
        if store.is_appointed(&self.email).await? {
            return Ok(());
        }
        let hash = hasher.hash(self.password.clone()).await?;
        store.appoint(&self.email, &hash, Timestamp::now()).await?;
        tracing::info!("appointed the first admin");
        Ok(())
    }
}
