//! Events that are on time, whose ids are compared together.
//!
//! Each id and each key lies at a random place of a large table. If ids were compared one record at a time, with all
//! the work of decoding in between, the processor would wait for each place. In a run the places of all ids are read
//! before the first is compared, and those of all keys before the first is merged, so the processor waits for many
//! places at once.
//!
//! Invariants: events are decided about in the order in which they were read, and before any record that
//! is not on time, so the decisions are those of one record after the other.

use std::vec::Drain;

use record_log::Offset;

use crate::aggregate::{Aggregate, Key};
use crate::cut::{Intake, Verdict};
use crate::pane::EventTimeMs;
use crate::seen::EventId;

/// The number of events that are decided about together: they stay in the processor's nearest cache.
const MOST: usize = 64;

/// Events of one partition, in the order of their offsets.
pub struct OnTimeRun<K, A> {
    events: Vec<Event>,
    /// The keys and aggregates of all events, in order.
    values: Vec<(K, A)>,
}

/// An event and the decision about it.
struct Event {
    offset: Offset,
    pane: EventTimeMs,
    id: EventId,
    /// The number of its keys and aggregates.
    values: usize,
    verdict: Verdict,
}

impl<K, A> Default for OnTimeRun<K, A> {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            values: Vec::new(),
        }
    }
}

impl<K: Key, A: Aggregate> OnTimeRun<K, A> {
    /// Returns whether the events must be decided about before another one is added.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.events.len() >= MOST
    }

    /// Adds an event of this pane.
    #[inline]
    pub fn push(&mut self, offset: Offset, pane: EventTimeMs, id: EventId) {
        self.events.push(Event {
            offset,
            pane,
            id,
            values: 0,
            verdict: Verdict::SeenBefore,
        });
    }

    /// Adds a key and its aggregate to the last event.
    #[inline]
    pub fn add(&mut self, key: K, aggregate: A) {
        if let Some(event) = self.events.last_mut() {
            event.values += 1;
            self.values.push((key, aggregate));
        }
    }

    /// Decides about the events of `partition`. Calls `each` for each run of events with the same decision, with their
    /// number and their keys and aggregates.
    #[inline]
    pub fn settle(
        &mut self,
        partition: u32,
        intake: &mut Intake,
        mut each: impl FnMut(Verdict, usize, Drain<'_, (K, A)>),
    ) {
        if let Some(last) = self.events.last() {
            let ids = self.events.iter().map(|event| event.id);
            intake.approach(partition, last.pane, ids);
        }
        for event in &mut self.events {
            event.verdict = intake.admit_on_time(partition, event.offset, event.pane, event.id);
        }

        for run in self
            .events
            .chunk_by(|one, next| one.verdict == next.verdict)
        {
            let values: usize = run.iter().map(|event| event.values).sum();
            each(run[0].verdict, run.len(), self.values.drain(..values));
        }
        self.events.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::aggregate::Count;
    use crate::cut::{Reading, Rules, Start};
    use crate::pane::Windows;
    use crate::sink::progress::SideProgress;
    use crate::sink::sides::Pending;
    use crate::watermark::Pace;

    fn intake(start: Start, id_bytes: u64) -> Intake {
        let rules = Rules {
            windows: Windows::tumbling(Duration::from_millis(10)).unwrap(),
            allowed_lateness_ms: 40,
            max_future_skew_ms: 1_000,
            pace: Pace {
                disorder_ms: 5,
                max_clock_skew_ms: 0,
                idle_after_ms: 1_000,
            },
        };
        Intake::new(rules, 100, [(0, start)]).holding_ids_within(id_bytes)
    }

    /// Returns a restart within the first records, after which some of them are published as late.
    fn start(rng: &mut StdRng) -> Start {
        let mut published = SideProgress {
            published: rng.random_range(0..200),
            ..SideProgress::default()
        };
        published.horizons.raise(0, 10 * rng.random_range(0..30));
        Start {
            cut: rng.random_range(0..100),
            needed_from: rng.random_range(0..50),
            published,
            ..Start::default()
        }
    }

    /// An event has as many keys as the remainder of its offset by three.
    fn values(offset: Offset) -> impl Iterator<Item = (u64, Count)> {
        (0..offset % 3).map(move |number| (10 * offset + number, Count(1)))
    }

    fn settle(events: &mut OnTimeRun<u64, Count>, intake: &mut Intake, found: &mut Decisions) {
        events.settle(0, intake, |verdict, events, values| {
            note(found, verdict, events, values.map(|(key, _)| key));
        });
    }

    /// Decisions of one kind that follow each other, their number, and the keys of their events.
    type Decisions = Vec<(Verdict, usize, Vec<u64>)>;

    fn note(
        decisions: &mut Decisions,
        verdict: Verdict,
        events: usize,
        keys: impl Iterator<Item = u64>,
    ) {
        match decisions.last_mut().filter(|last| last.0 == verdict) {
            Some((_, earlier, known)) => {
                *earlier += events;
                known.extend(keys);
            }
            None => decisions.push((verdict, events, keys.collect())),
        }
    }

    #[test]
    fn decisions_are_those_of_one_event_after_the_other() {
        let mut copies = 0;
        for seed in 0..300 {
            let mut rng = StdRng::seed_from_u64(seed);
            let start = start(&mut rng);
            let id_bytes = [300, 1 << 20][rng.random_range(0..2)];
            let mut one = intake(start.clone(), id_bytes);
            let mut together = intake(start, id_bytes);

            let mut events = OnTimeRun::default();
            let mut expected = Vec::new();
            let mut found = Vec::new();
            for offset in 0..400 {
                let event_ms = 80 + offset / 2 + rng.random_range(0..60);
                let id = rng.random_range(0..300);
                let reading = Reading {
                    partition: 0,
                    offset,
                    appended_ms: Some(1_000),
                    now_ms: 1_000,
                };

                one.read(&reading);
                let verdict = one.admit_once(&reading, event_ms, Some(id));
                let keys = || values(offset).map(|(key, _)| key);
                copies += u32::from(verdict == Verdict::Copy);
                note(&mut expected, verdict, 1, keys());

                together.read(&reading);
                if let Some(pane) = together.on_time(&reading, event_ms) {
                    if events.is_full() {
                        settle(&mut events, &mut together, &mut found);
                    }
                    events.push(offset, pane, id);
                    values(offset).for_each(|(key, count)| events.add(key, count));
                } else {
                    settle(&mut events, &mut together, &mut found);
                    let verdict = together.admit_once(&reading, event_ms, Some(id));
                    note(&mut found, verdict, 1, keys());
                }

                if rng.random_range(0..30) == 0 {
                    settle(&mut events, &mut together, &mut found);
                    let time = event_ms - rng.random_range(0..20);
                    let pending = |_, _| Pending::default();
                    assert_eq!(one.advance(time, pending), together.advance(time, pending));
                }
            }

            settle(&mut events, &mut together, &mut found);
            assert_eq!(found, expected, "seed {seed}");
        }
        assert!(copies > 1_000, "{copies}");
    }
}
