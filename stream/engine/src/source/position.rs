//! The progress of reading a partition.

use std::sync::Arc;

use record_log::Offset;

use crate::pane::EventTimeMs;
use crate::watermark::Claim;

/// The reading position of a partition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Position {
    /// The partition.
    pub partition: u32,
    /// The offset to read next.
    pub next_offset: Offset,
    /// The time of the partition's newest event.
    pub newest_event_ms: Option<EventTimeMs>,
    /// The time at which the partition last returned a record or a later confirmed end, or the worker last chose not to
    /// read it.
    pub heard_at_ms: Option<u64>,
    /// The time as of which the log last confirmed the partition's end.
    pub end_as_of_ms: Option<u64>,
    /// The reason why the log returns neither records nor a later end, if it has named one.
    pub obstacle: Option<Arc<str>>,
    /// The partition's claim about event time.
    pub claim: Claim,
    /// True if the event time of all workers is that of this partition.
    pub holds_back: bool,
}
