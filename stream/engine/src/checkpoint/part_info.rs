//! A part, as manifests list it.

use serde::{Deserialize, Serialize};

use crate::pane::EventTimeMs;

/// A part as listed in the manifest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PartInfo {
    /// Its name in the job's `parts` folder.
    pub name: String,
    /// The part's first pane.
    pub first: EventTimeMs,
    /// The part's last pane that counts. Later panes in the object are counted by other parts.
    pub last: EventTimeMs,
    /// The number of entries.
    pub entries: u64,
    /// The size of the object.
    pub size_bytes: u64,
}

impl PartInfo {
    /// Limits the part to the panes that arrived before `boundary`.
    ///
    /// A part may be durable before the manifest of its last panes is. An attempt that resumes at a
    /// boundary in between reads the records of those panes again, and writes them to its own
    /// parts.
    #[must_use]
    pub fn before(self, boundary: EventTimeMs) -> Self {
        Self {
            last: self.last.min(boundary.saturating_sub(1)),
            ..self
        }
    }
}
