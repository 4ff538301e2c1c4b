//! The identity of a manifest, which is its object's name.

use std::fmt;
use std::str::FromStr;

use crate::pane::EventTimeMs;

/// A manifest's identity, which is its object's name. Later manifests are greater.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ManifestId {
    /// The attempt that wrote the manifest.
    pub attempt: u64,
    /// The manifest's boundary.
    pub boundary: EventTimeMs,
}

/// The text does not name a manifest.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an attempt and a boundary are expected, as in 12-1795341600000")]
pub struct InvalidManifestId;

impl ManifestId {
    /// Returns the identity in the name of a manifest's object, if it is one.
    pub(super) fn of_file(name: &str) -> Option<Self> {
        name.strip_suffix(".json")?.parse().ok()
    }
}

impl fmt::Display for ManifestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.attempt, self.boundary)
    }
}

impl FromStr for ManifestId {
    type Err = InvalidManifestId;

    fn from_str(text: &str) -> Result<Self, InvalidManifestId> {
        let (attempt, boundary) = text.split_once('-').ok_or(InvalidManifestId)?;
        let number = |digits: &str| digits.parse().map_err(|_| InvalidManifestId);
        Ok(Self {
            attempt: number(attempt)?,
            boundary: number(boundary)?,
        })
    }
}
