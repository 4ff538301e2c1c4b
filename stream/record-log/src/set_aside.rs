//! Records that a reader has moved past because the log's bytes cannot be read.

use std::ops::Range;

use crate::{LogError, Offset};

/// The result of [`Reader::set_aside`](crate::Reader::set_aside).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SetAside {
    /// The offsets that were passed over; the reader continues at their end. Records that were deleted, and markers of
    /// transactions, may be among them.
    pub offsets: Range<Offset>,
    /// The reason why they cannot be read.
    pub reason: String,
}

/// Returns the error of a reader that cannot move past records.
pub(crate) fn not_supported(partition: u32) -> LogError {
    LogError::Settings(
        format!("partition {partition} has no records that this client can set aside").into(),
    )
}
