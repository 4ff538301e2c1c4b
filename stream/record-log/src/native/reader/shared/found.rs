//! The failures found at a partition's position instead of records: some are transient, others permanent.

use std::sync::Arc;

use crate::Refusal;
use crate::native::wire::WireError;

/// The failure that was found instead of records.
#[derive(Clone, Debug)]
pub(in crate::native::reader) enum Found {
    /// The position is not in the log. Permanent.
    Lost,
    /// The topic was deleted and created again. Permanent.
    Recreated,
    /// There is no such topic now.
    NoTopic,
    /// A transient failure; the request is repeated.
    Failing(Arc<str>),
    /// The brokers refuse the request. Permanent.
    Refused(Refusal),
}

impl From<&WireError> for Found {
    fn from(error: &WireError) -> Self {
        match error.refusal() {
            Some(refusal) => Self::Refused(refusal),
            None if error.is_passing() => Self::Failing(error.to_string().into()),
            None => Self::Refused(Refusal::new(error.to_string())),
        }
    }
}

impl Found {
    pub fn stays(&self) -> bool {
        matches!(self, Self::Lost | Self::Recreated | Self::Refused(_))
    }
}
