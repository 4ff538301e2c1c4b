//! The times from which a checkpoint's panes are complete when the allowed lateness changes between starts.
//!
//! ```text
//!                  complete_from            boundary
//! event time ───────────┼──────────────────────┼──────▶
//!             forgotten │ kept, may be corrected
//! ```
//!
//! Parts are dropped when no arriving record can change their windows; the allowed lateness
//! determines how soon. A job that is restarted with a longer lateness would correct windows of
//! which it has dropped a part. A job that is restarted with a shorter one would drop parts that
//! uncommitted corrections from under the longer one still need. Hence a manifest contains
//!
//! - the time from which on panes are complete: a record whose windows begin before it is too late,
//!   even if more lateness is allowed now. As event time advances, all windows come to begin after it;
//! - the time from which on panes are kept. It is earlier if a change of the lateness has closed windows. Rows that
//!   are derived from panes before it may differ from those that were published;
//! - the lateness that was allowed since each start, for as long as there is a part from that time. Windows are kept
//!   for the longest of them.
//!
//! A manifest of a program that did not record this is treated as having dropped everything that it
//! may have dropped.

use serde::{Deserialize, Serialize};

use crate::checkpoint::part_info::PartInfo;
use crate::pane::{EventTimeMs, Windows};

/// The times from which a checkpoint's panes are complete and kept.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Memory {
    /// The parts contain everything of panes from this time on.
    pub complete_from: EventTimeMs,
    /// All panes from this time on are in the parts. None in manifests of programs that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept_from: Option<EventTimeMs>,
    /// The latenesses that were allowed, in order.
    eras: Vec<Era>,
}

/// A period with one allowed lateness.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Era {
    /// The boundary from which on records arrived in this period.
    from: EventTimeMs,
    lateness_ms: u64,
}

impl Memory {
    /// Infers the memory of a checkpoint at `boundary` with `parts` whose manifest
    /// has no memory.
    pub fn inferred(windows: &Windows, boundary: EventTimeMs, parts: &[PartInfo]) -> Self {
        let Some(first) = parts.iter().map(|part| part.first).min() else {
            let complete_from = (boundary + 1).saturating_sub(windows.size_ms());
            return Self {
                complete_from,
                kept_from: Some(complete_from),
                eras: Vec::new(),
            };
        };

        // Every dropped part ended before all parts that were kept, and could have been dropped
        // with a lateness of zero.
        let first_whole = parts.iter().map(|part| part.last).min().unwrap_or(boundary);
        let complete_from = first_whole.min((boundary + 1).saturating_sub(windows.reach_ms()));
        let era = Era {
            from: 0,
            lateness_ms: boundary.saturating_sub(first),
        };

        Self {
            complete_from,
            kept_from: Some(complete_from),
            eras: vec![era],
        }
    }

    /// Continues from `boundary` with the remaining `parts`, with `lateness_ms` allowed from there
    /// on.
    #[must_use]
    pub fn going_on(
        mut self,
        windows: &Windows,
        boundary: EventTimeMs,
        parts: &[PartInfo],
        lateness_ms: u64,
    ) -> Self {
        self.kept_from = Some(self.kept_from());
        if let Some(last) = self
            .eras
            .last()
            .filter(|last| last.lateness_ms != lateness_ms)
        {
            // Windows that could no longer be corrected at the boundary stay closed.
            let open_from = (boundary + 1).saturating_sub(windows.size_ms() + last.lateness_ms);
            self.complete_from = self.complete_from.max(open_from);
        }

        self.eras.retain(|era| era.from < boundary);
        if self
            .eras
            .last()
            .is_none_or(|last| last.lateness_ms != lateness_ms)
        {
            self.eras.push(Era {
                from: boundary,
                lateness_ms,
            });
        }

        let first = parts.iter().map(|part| part.first).min();
        let first = first.unwrap_or(boundary).min(boundary);
        while self.eras.get(1).is_some_and(|next| next.from <= first) {
            self.eras.remove(0);
        }

        self
    }

    /// Returns the lateness by which windows and parts are kept.
    pub fn lateness_ms(&self) -> u64 {
        self.eras
            .iter()
            .map(|era| era.lateness_ms)
            .max()
            .unwrap_or(0)
    }

    /// Returns the lateness that is allowed now.
    pub fn allowed_ms(&self) -> u64 {
        self.eras.last().map_or(0, |era| era.lateness_ms)
    }

    /// Returns the time from which on all panes are in the parts.
    pub fn kept_from(&self) -> EventTimeMs {
        self.kept_from.unwrap_or(self.complete_from)
    }

    /// Records that parts are dropped which end by `floor` less `memory_ms`, the time for which a
    /// pane can matter.
    #[must_use]
    pub fn dropping(mut self, floor: EventTimeMs, memory_ms: u64) -> Self {
        let kept_from = (floor + 1).saturating_sub(memory_ms);
        self.complete_from = self.complete_from.max(kept_from);
        self.kept_from = Some(self.kept_from().max(kept_from));
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn windows() -> Windows {
        Windows::tumbling(Duration::from_millis(10)).unwrap()
    }

    fn part(first: u64, last: u64) -> PartInfo {
        PartInfo {
            name: "a".to_owned(),
            first,
            last,
            entries: 1,
            size_bytes: 1,
        }
    }

    #[test]
    fn a_longer_lateness_does_not_restore_dropped_panes() {
        let memory = Memory::default().going_on(&windows(), 0, &[], 20);
        assert_eq!((memory.complete_from, memory.lateness_ms()), (0, 20));
        let memory = memory.dropping(100, 30);
        assert_eq!(memory.complete_from, 71);

        let parts = [part(70, 80)];
        let longer = memory.clone().going_on(&windows(), 100, &parts, 1000);
        assert_eq!((longer.complete_from, longer.lateness_ms()), (71, 1000));

        let same = memory.clone().going_on(&windows(), 100, &parts, 20);
        assert_eq!(same, memory);
    }

    #[test]
    fn a_longer_lateness_does_not_reopen_windows() {
        let ms = Duration::from_millis;
        let windows = Windows::sliding(ms(30), ms(10)).unwrap();
        let memory = Memory::default().going_on(&windows, 0, &[], 0);
        let memory = memory.dropping(100, windows.reach_ms());
        assert_eq!(memory.complete_from, 51);

        let longer = memory.going_on(&windows, 100, &[part(60, 90)], 1000);
        assert_eq!(
            longer.complete_from, 71,
            "the ids of earlier panes are dropped"
        );
        assert_eq!(longer.kept_from(), 51, "their content is not");
        assert_eq!(longer.dropping(2_000, 1_050).kept_from(), 951);
    }

    #[test]
    fn a_memory_without_kept_from_keeps_panes_from_complete_from() {
        let json = r#"{"complete_from":71,"eras":[{"from":0,"lateness_ms":20}]}"#;
        let memory: Memory = serde_json::from_str(json).unwrap();
        assert_eq!(memory.kept_from(), 71);

        let longer = memory.going_on(&windows(), 100, &[part(70, 80)], 1_000);
        assert_eq!((longer.complete_from, longer.kept_from()), (71, 71));
    }

    #[test]
    fn a_longer_lateness_applies_while_a_part_of_its_period_exists() {
        let memory = Memory::default().going_on(&windows(), 0, &[], 50);
        let shorter = memory.going_on(&windows(), 100, &[part(40, 90)], 0);
        assert_eq!((shorter.lateness_ms(), shorter.allowed_ms()), (50, 0));

        let later = shorter
            .clone()
            .going_on(&windows(), 200, &[part(90, 190)], 0);
        assert_eq!(later.lateness_ms(), 50);

        let later = shorter.going_on(&windows(), 200, &[part(100, 190)], 0);
        assert_eq!(later.lateness_ms(), 0);
    }

    #[test]
    fn a_lateness_without_parts_of_its_period_is_dropped() {
        let memory = Memory::default().going_on(&windows(), 0, &[], 50);
        let twice = memory
            .clone()
            .going_on(&windows(), 100, &[part(40, 90)], 1000)
            .going_on(&windows(), 100, &[part(40, 90)], 50);
        assert_eq!(twice.lateness_ms(), 50);
    }

    #[test]
    fn a_manifest_without_a_memory_counts_as_having_dropped_panes() {
        let parts = [part(30, 60), part(70, 90)];
        let memory = Memory::inferred(&windows(), 100, &parts);
        assert_eq!((memory.complete_from, memory.lateness_ms()), (60, 70));

        let memory = Memory::inferred(&windows(), 100, &[part(95, 99)]);
        assert_eq!(memory.complete_from, 91);
        let memory = Memory::inferred(&windows(), 100, &[]);
        assert_eq!((memory.complete_from, memory.lateness_ms()), (91, 0));
        assert_eq!(memory.kept_from(), 91);

        let new = Memory::inferred(&windows(), 0, &[]);
        assert_eq!((new.complete_from, new.kept_from()), (0, 0));
        assert_eq!(new.eras, []);
    }
}
