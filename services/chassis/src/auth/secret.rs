//! A secret text, such as the one that services share.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A text that never appears in logs or errors.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

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
