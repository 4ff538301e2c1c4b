//! The rejection of a record.

use std::fmt::Display;

/// The reason why a record is rejected. The record goes to the dead-letter topic with this reason,
/// and the job continues.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejected(pub String);

impl Rejected {
    /// Rejects a record for a reason that a person can read.
    pub fn because(reason: impl Display) -> Self {
        Self(reason.to_string())
    }
}
