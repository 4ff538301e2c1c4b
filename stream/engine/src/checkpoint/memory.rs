//! How far back a checkpoint remembers, when the allowed lateness changes between starts.
//!
//! ```text
//!                  complete_from            boundary
//! event time ───────────┼──────────────────────┼──────▶
//!             forgotten │ kept, may be corrected
//! ```
//!
//! Parts are dropped when nothing that arrives can change their windows: how soon, the allowed lateness decides. So a job
//! that is started again with a longer one would correct windows of which it has forgotten a part, and one that is started
//! with a shorter one would forget what corrections need that came under the longer one and are not committed. Hence a
//! manifest says
//! - from which time on panes are whole: a record whose windows begin before it is too late, whatever lateness is allowed
//!   now. As event time goes on, all windows come to begin after it;
//! - which lateness was allowed since when, for as long as a part is from that time: windows are kept by the longest.
//!
//! A manifest of a program that did not note this is taken to have forgotten all that it may have.

use serde::{Deserialize, Serialize};

use crate::checkpoint::manifest::PartInfo;
use crate::pane::{EventTimeMs, Windows};

/// How far back a checkpoint remembers.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Memory {
    /// The parts hold everything of panes from it on.
    pub complete_from: EventTimeMs,
    /// What lateness was allowed, in order.
    eras: Vec<Era>,
}

/// Since when a lateness is allowed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Era {
    /// The boundary from which on records arrived under it.
    from: EventTimeMs,
    lateness_ms: u64,
}

impl Memory {
    /// What can be said of a checkpoint at `boundary` that holds `parts` and does not say it.
    pub fn inferred(windows: &Windows, boundary: EventTimeMs, parts: &[PartInfo]) -> Self {
        let Some(first) = parts.iter().map(|part| part.first).min() else {
            let complete_from = (boundary + 1).saturating_sub(windows.size_ms());
            return Self {
                complete_from,
                eras: Vec::new(),
            };
        };

        // Whatever was dropped ended before all that was kept, and could have been dropped with no lateness at all.
        let first_whole = parts.iter().map(|part| part.last).min().unwrap_or(boundary);
        let complete_from = first_whole.min((boundary + 1).saturating_sub(windows.reach_ms()));
        let era = Era {
            from: 0,
            lateness_ms: boundary.saturating_sub(first),
        };

        Self {
            complete_from,
            eras: vec![era],
        }
    }

    /// The same when the job goes on from `boundary` with what is left in `parts`, and allows `lateness_ms` from there on.
    #[must_use]
    pub fn going_on(
        mut self,
        windows: &Windows,
        boundary: EventTimeMs,
        parts: &[PartInfo],
        lateness_ms: u64,
    ) -> Self {
        if let Some(last) = self
            .eras
            .last()
            .filter(|last| last.lateness_ms != lateness_ms)
        {
            // What could not be corrected any more at the boundary is not taken up again.
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

    /// By which lateness windows are kept, and parts.
    pub fn lateness_ms(&self) -> u64 {
        self.eras
            .iter()
            .map(|era| era.lateness_ms)
            .max()
            .unwrap_or(0)
    }

    /// The lateness that is allowed.
    pub fn allowed_ms(&self) -> u64 {
        self.eras.last().map_or(0, |era| era.lateness_ms)
    }

    /// The same when parts are dropped that end by `floor` less the time for which a pane can matter.
    #[must_use]
    pub fn dropping(mut self, floor: EventTimeMs, memory_ms: u64) -> Self {
        self.complete_from = self
            .complete_from
            .max((floor + 1).saturating_sub(memory_ms));
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
    fn a_longer_lateness_does_not_reach_back_behind_what_was_forgotten() {
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
    fn a_longer_lateness_takes_up_no_window_that_could_not_be_corrected_any_more() {
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
    }

    #[test]
    fn a_shorter_lateness_keeps_windows_by_the_longer_while_a_part_is_of_its_time() {
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
    fn a_lateness_under_which_nothing_durable_arrived_leaves_nothing_behind() {
        let memory = Memory::default().going_on(&windows(), 0, &[], 50);
        let twice = memory
            .clone()
            .going_on(&windows(), 100, &[part(40, 90)], 1000)
            .going_on(&windows(), 100, &[part(40, 90)], 50);
        assert_eq!(twice.lateness_ms(), 50);
    }

    #[test]
    fn a_manifest_that_says_nothing_is_taken_to_have_forgotten_what_it_may_have() {
        let parts = [part(30, 60), part(70, 90)];
        let memory = Memory::inferred(&windows(), 100, &parts);
        assert_eq!((memory.complete_from, memory.lateness_ms()), (60, 70));

        let memory = Memory::inferred(&windows(), 100, &[part(95, 99)]);
        assert_eq!(memory.complete_from, 91);
        let memory = Memory::inferred(&windows(), 100, &[]);
        assert_eq!((memory.complete_from, memory.lateness_ms()), (91, 0));
        assert_eq!(Memory::inferred(&windows(), 0, &[]), Memory::default());
    }
}
