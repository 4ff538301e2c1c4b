//! Reads frontiers of event time: the boundary before which nothing more can come.

use timely::dataflow::ProbeHandle;
use timely::progress::frontier::MutableAntichain;

use crate::pane::EventTimeMs;

/// The boundary after all event time: the frontier of a stream that has ended.
pub const END: EventTimeMs = EventTimeMs::MAX;

/// Returns the boundary that an input has passed.
pub fn boundary_of(frontier: &MutableAntichain<EventTimeMs>) -> EventTimeMs {
    frontier.frontier().first().copied().unwrap_or(END)
}

/// Returns the boundary that a probed stream has passed.
pub fn boundary_at(probe: &ProbeHandle<EventTimeMs>) -> EventTimeMs {
    probe.with_frontier(|frontier| frontier.first().copied().unwrap_or(END))
}
