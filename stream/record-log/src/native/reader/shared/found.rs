//! The findings at a partition's position in the place of records: some pass, others stay.

use std::sync::Arc;

use crate::Refusal;
use crate::native::wire::WireError;

/// The failure that was found instead of records.
#[derive(Clone, Debug)]
pub(in crate::native::reader) enum Found {
    /// The position is not in the log. This stays.
    Lost,
    /// The topic was deleted and created again. This stays.
    Recreated,
    /// There is no such topic now.
    NoTopic,
    /// It is tried again.
    Failing(Arc<str>),
    /// The brokers refuse, and will again. This stays.
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
