//! Collects the cuts and parts of all workers, and plans the next manifest.
//!
//! Crossings and parts are recorded as they are made; the frontier gives the boundary up to which
//! they are complete. Further boundaries may pass while a manifest is being written; the next
//! manifest covers them all.
//!
//! What always holds: a manifest at boundary `b` has a cut that holds at `b` for every partition
//! that was ever cut. It names every part with panes before `b` that a row committed from now on
//! can depend on.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::manifest::{Manifest, PartInfo, PartitionCut};
use crate::checkpoint::merge;
use crate::cut::Crossing;
use crate::pane::EventTimeMs;

/// The records of the worker that writes manifests.
pub struct Ledger {
    /// The newest durable manifest; at first, the one adopted from the last attempt.
    newest: Manifest,
    /// How long after its start a pane can matter, allowed lateness included.
    memory_ms: u64,
    crossings: Vec<Crossing>,
    parts: Vec<PartInfo>,
    /// The finished merge that no durable manifest names yet, if there is one.
    merged: Option<Merged>,
    /// The number of finished merges.
    merges: u64,
    /// Parts that are not merged.
    left_alone: BTreeSet<String>,
}

/// The result of a merge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Merged {
    /// The names of the parts that were merged.
    pub parts: Vec<String>,
    /// The part that contains the panes of all of them.
    pub into: PartInfo,
}

/// A merge that is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MergePlan {
    /// The name of the part to make.
    pub name: String,
    /// The parts to make it of.
    pub parts: Vec<PartInfo>,
}

/// The decision about a boundary.
#[derive(Debug, Eq, PartialEq)]
pub enum ManifestPlan {
    /// Write this manifest.
    Write(Box<Manifest>),
    /// Write nothing: nothing has happened since the newest manifest and none of its parts can
    /// produce further rows, so it serves for this boundary too.
    Nothing,
}

impl Ledger {
    /// Creates a ledger that starts from `newest`.
    pub fn new(newest: Manifest, memory_ms: u64) -> Self {
        Self {
            newest,
            memory_ms,
            crossings: Vec::new(),
            parts: Vec::new(),
            merged: None,
            merges: 0,
            left_alone: BTreeSet::new(),
        }
    }

    /// Plans a merge of parts of the newest durable manifest, if it names too many. Plans none while
    /// the last merged part is not in a durable manifest.
    pub fn plan_merge(&self) -> Option<MergePlan> {
        if self.merged.is_some() {
            return None;
        }

        let Manifest {
            attempt,
            boundary,
            parts,
            ..
        } = &self.newest;
        let mut parts = parts.clone();
        parts.retain(|part| !self.left_alone.contains(&part.name));
        let parts = merge::choose(&parts, *boundary, self.memory_ms)?;
        let name = merge::name(*attempt, self.merges, &parts);
        Some(MergePlan { name, parts })
    }

    /// Records a merge whose part is durable. The next manifest names that part.
    pub fn record_merge(&mut self, merged: Merged) {
        self.merges += 1;
        self.merged = Some(merged);
    }

    /// Records parts that cannot be merged.
    pub fn leave_alone(&mut self, parts: Vec<String>) {
        self.left_alone.extend(parts);
    }

    /// Returns whether the newest durable manifest names the part.
    pub fn is_named(&self, part: &str) -> bool {
        self.newest.parts.iter().any(|named| named.name == part)
    }

    /// Returns all known parts, with a merged part in the place of those that it was made of.
    fn known_parts(&self) -> Vec<PartInfo> {
        let newest = self.newest.parts.iter();
        let mut parts: Vec<PartInfo> = newest.chain(&self.parts).cloned().collect();
        let Some(merged) = &self.merged else {
            return parts;
        };

        let count = parts.len();
        parts.retain(|part| !merged.parts.contains(&part.name));
        // If manifests have dropped all of them meanwhile, the merged part is not needed either.
        if parts.len() < count {
            parts.push(merged.into.clone());
        }
        parts
    }

    /// Records a worker's crossing.
    pub fn record_crossing(&mut self, crossing: Crossing) {
        self.crossings.push(crossing);
    }

    /// Records a part that is durable.
    pub fn record_part(&mut self, part: PartInfo) {
        self.parts.push(part);
    }

    /// Returns the boundary of the newest durable manifest.
    pub fn boundary(&self) -> EventTimeMs {
        self.newest.boundary
    }

    /// Returns the furthest boundary that any worker has crossed, at least that of the newest
    /// manifest.
    pub fn furthest(&self) -> EventTimeMs {
        self.crossings
            .iter()
            .map(|crossing| crossing.to)
            .max()
            .unwrap_or(0)
            .max(self.newest.boundary)
    }

    /// Plans the manifest at `boundary`. Every worker must have crossed `boundary`, and every pane
    /// before it must be in a part. Results before `committed` will not be needed again.
    pub fn plan(&self, boundary: EventTimeMs, committed: EventTimeMs) -> ManifestPlan {
        let partitions = self.partitions_at(boundary);
        let fresh = self.parts.iter().any(|part| part.first < boundary);
        let closed_by = |part: &PartInfo| part.last + self.newest.fingerprint.settles_within_ms();

        let rows_may_come = self
            .newest
            .parts
            .iter()
            .any(|part| closed_by(part) > self.newest.boundary);

        if !fresh && !rows_may_come && same_positions(&partitions, &self.newest.partitions) {
            return ManifestPlan::Nothing;
        }

        let known = self.known_parts().into_iter();
        let known = known.filter(|part| part.first < boundary);
        let floor = boundary.min(committed);
        let memory = self.newest.memory.clone();
        let memory = memory.map(|memory| memory.dropping(floor, self.memory_ms));

        let mut parts: Vec<PartInfo> = known
            .filter(|part| part.last + self.memory_ms > floor)
            .collect();
        parts.sort_by(|one, other| (one.first, &one.name).cmp(&(other.first, &other.name)));

        ManifestPlan::Write(Box::new(Manifest {
            boundary,
            partitions,
            parts,
            committed: self.newest.committed.max(floor),
            memory,
            merges: self.merges,
            ..self.newest.clone()
        }))
    }

    /// Records that a planned manifest is durable.
    pub fn written(&mut self, manifest: Manifest) {
        let boundary = manifest.boundary;
        self.crossings.retain(|crossing| crossing.to > boundary);
        self.parts.retain(|part| part.first >= boundary);
        if manifest.merges == self.merges {
            self.merged = None;
        }
        self.newest = manifest;
    }

    fn partitions_at(&self, boundary: EventTimeMs) -> Vec<PartitionCut> {
        let mut partitions: BTreeMap<u32, PartitionCut> = self
            .newest
            .partitions
            .iter()
            .map(|cut| (cut.partition, cut.clone()))
            .collect();

        let mut crossings: Vec<&Crossing> = self
            .crossings
            .iter()
            .filter(|crossing| crossing.from < boundary)
            .collect();
        crossings.sort_by_key(|crossing| crossing.from);

        for cut in crossings.into_iter().flat_map(|crossing| &crossing.cuts) {
            let resume = cut.resume(boundary);
            let at = PartitionCut {
                partition: cut.partition,
                cut: cut.next_offset,
                resume,
                ids_from: cut.ids_from.filter(|offset| *offset < resume),
                newest: cut.newest,
                anchor: cut.anchor,
                ceilings: cut.ceilings.clone(),
                decoder: cut.decoder,
                pending: Some(cut.pending.clone()).filter(|pending| pending.from < cut.next_offset),
            };
            partitions.insert(cut.partition, at);
        }

        partitions.into_values().collect()
    }
}

/// Returns whether both have the same offsets, so that no record was read in between. Clocks may
/// have advanced.
fn same_positions(one: &[PartitionCut], other: &[PartitionCut]) -> bool {
    let positions = |cuts: &[PartitionCut]| -> Vec<_> {
        cuts.iter()
            .map(|cut| (cut.partition, cut.cut, cut.resume))
            .filter(|(_, cut, _)| *cut > 0)
            .collect()
    };
    positions(one) == positions(other)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::checkpoint::lineage::Lineage;
    use crate::checkpoint::manifest::{Fingerprint, VERSION};
    use crate::cut::Cut;
    use crate::pane::Windows;
    use crate::sink::sides::Pending;

    fn ledger() -> Ledger {
        ledger_of(Windows::tumbling(Duration::from_millis(10)).unwrap())
    }

    fn ledger_of(windows: Windows) -> Ledger {
        let first = Manifest {
            version: VERSION,
            job: "counts".to_owned(),
            attempt: 1,
            boundary: 0,
            fingerprint: Fingerprint::new("orders", &windows),
            lineage: Lineage::default(),
            publishers_kept: 0,
            slots_kept: 0,
            committed: 0,
            memory: None,
            merges: 0,
            partitions: vec![],
            parts: vec![],
        };
        Ledger::new(first, 50)
    }

    fn crossing(
        partition: u32,
        from: u64,
        to: u64,
        next_offset: u64,
        open: &[(u64, u64)],
    ) -> Crossing {
        Crossing {
            from,
            to,
            cuts: vec![Cut {
                partition,
                next_offset,
                newest: None,
                anchor: None,
                open: open.to_vec(),
                ceilings: Vec::new(),
                ids_from: None,
                decoder: 0,
                pending: Pending::none_below(next_offset),
            }],
        }
    }

    fn part(name: &str, first: u64, last: u64) -> PartInfo {
        PartInfo {
            name: name.to_owned(),
            first,
            last,
            entries: 1,
            size_bytes: 1,
        }
    }

    fn written(plan: ManifestPlan) -> Manifest {
        match plan {
            ManifestPlan::Write(manifest) => *manifest,
            ManifestPlan::Nothing => panic!("nothing to write"),
        }
    }

    #[test]
    fn a_cut_holds_for_every_boundary_of_its_crossing() {
        let mut ledger = ledger();
        ledger.record_crossing(crossing(0, 0, 30, 9, &[(10, 4), (20, 6), (30, 8)]));
        ledger.record_crossing(crossing(1, 0, 10, 5, &[(10, 5)]));
        ledger.record_crossing(crossing(1, 10, 20, 7, &[]));
        ledger.record_part(part("a", 0, 20));

        let manifest = written(ledger.plan(20, 0));
        let cuts: Vec<_> = manifest
            .partitions
            .iter()
            .map(|cut| (cut.partition, cut.cut, cut.resume))
            .collect();
        assert_eq!(cuts, [(0, 9, 6), (1, 7, 7)]);
        ledger.written(manifest);
        ledger.record_crossing(crossing(1, 20, 30, 8, &[]));

        let next = written(ledger.plan(30, 20));
        assert_eq!(
            next.partitions
                .iter()
                .map(|cut| (cut.cut, cut.resume))
                .collect::<Vec<_>>(),
            [(9, 8), (8, 8)]
        );
    }

    #[test]
    fn parts_are_named_for_as_long_as_an_uncommitted_row_can_depend_on_them() {
        let mut ledger = ledger();
        ledger.record_crossing(crossing(0, 0, 10, 1, &[]));
        ledger.record_part(part("a", 0, 0));
        ledger.written(written(ledger.plan(10, 0)));

        for boundary in (20..200).step_by(10) {
            ledger.record_crossing(crossing(0, boundary - 10, boundary, boundary, &[]));
            let held_back = written(ledger.plan(boundary, 0));
            assert_eq!(held_back.parts.len(), 1, "the sink has committed nothing");

            let manifest = written(ledger.plan(boundary, boundary));
            assert_eq!(
                manifest.parts.len(),
                usize::from(boundary < 50),
                "boundary {boundary}"
            );
            ledger.written(held_back);
        }
    }

    #[test]
    fn the_next_manifest_names_the_merged_part_in_place_of_its_parts() {
        let mut ledger = ledger();
        ledger.record_crossing(crossing(0, 0, 5, 1, &[]));
        for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
            ledger.record_part(part(name, 0, 4));
        }

        assert_eq!(ledger.plan_merge(), None, "no manifest names the parts");
        ledger.written(written(ledger.plan(5, 0)));
        ledger.leave_alone(vec!["x".to_owned()]);
        let plan = ledger.plan_merge().unwrap();
        assert_eq!(
            plan.name,
            "0000000001-m000000-000000000000000-000000000000004"
        );

        // The merge finishes while a manifest is being written that was planned before it.
        ledger.record_crossing(crossing(0, 5, 20, 2, &[]));
        let planned_before = written(ledger.plan(20, 5));
        ledger.record_merge(Merged {
            parts: plan.parts.into_iter().map(|part| part.name).collect(),
            into: part("m", 0, 4),
        });
        ledger.written(planned_before);
        assert_eq!(ledger.plan_merge(), None, "the merge is not durable");

        ledger.record_crossing(crossing(0, 20, 30, 3, &[]));
        let next = written(ledger.plan(30, 5));
        let names: Vec<_> = next.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!((names, next.merges), (vec!["m"], 1));
        ledger.written(next);
        assert_eq!(ledger.plan_merge(), None, "there are few again");
    }

    #[test]
    fn parts_that_cannot_be_merged_are_left_alone() {
        let mut ledger = ledger();
        ledger.record_crossing(crossing(0, 0, 5, 1, &[]));
        for number in 0..12 {
            ledger.record_part(part(&format!("{number:02}"), 0, 4));
        }
        ledger.written(written(ledger.plan(5, 0)));
        ledger.leave_alone(vec!["03".to_owned(), "07".to_owned()]);

        let plan = ledger.plan_merge().unwrap();
        let names: Vec<_> = plan.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(
            names,
            ["00", "01", "02", "04", "05", "06", "08", "09", "10", "11"]
        );
    }

    #[test]
    fn a_day_of_sessions_is_named_by_few_parts() {
        const MINUTE_MS: u64 = 60_000;
        const WORKERS: u64 = 4;
        let mut ledger = ledger();
        ledger.memory_ms = 25 * 60 * MINUTE_MS;

        for minute in 0..3 * 24 * 60 {
            let pane = minute * MINUTE_MS;
            let boundary = pane + MINUTE_MS;
            for worker in 0..WORKERS {
                let name = format!("0000000001-{worker:04}-{pane:015}-{pane:015}");
                ledger.record_part(PartInfo {
                    size_bytes: 40_000 + worker,
                    ..part(&name, pane, pane)
                });
            }

            let manifest = written(ledger.plan(boundary, pane));
            let size_bytes = manifest.to_bytes().len();
            assert!(manifest.parts.len() < 64, "{} parts", manifest.parts.len());
            assert!(size_bytes < 12_000, "{size_bytes} bytes");
            ledger.written(manifest);

            if let Some(MergePlan { name, parts }) = ledger.plan_merge() {
                let into = PartInfo {
                    name,
                    first: parts.iter().map(|part| part.first).min().unwrap(),
                    last: parts.iter().map(|part| part.last).max().unwrap(),
                    entries: parts.iter().map(|part| part.entries).sum(),
                    size_bytes: parts.iter().map(|part| part.size_bytes).sum(),
                };
                let parts = parts.into_iter().map(|part| part.name).collect();
                ledger.record_merge(Merged { parts, into });
            }
        }

        let entries: u64 = ledger.newest.parts.iter().map(|part| part.entries).sum();
        let kept = WORKERS * 25 * 60;
        assert!(
            (kept..kept + kept / 4).contains(&entries),
            "{entries} entries are named of {kept} that matter"
        );
    }

    #[test]
    fn a_part_merged_of_parts_that_were_dropped_meanwhile_is_not_named() {
        let mut ledger = ledger();
        ledger.record_crossing(crossing(0, 0, 10, 1, &[]));
        ledger.record_part(part("a", 0, 0));
        ledger.written(written(ledger.plan(10, 10)));
        ledger.record_crossing(crossing(0, 10, 200, 2, &[]));
        ledger.record_part(part("b", 190, 190));
        ledger.written(written(ledger.plan(200, 200)));

        ledger.record_merge(Merged {
            parts: vec!["a".to_owned()],
            into: part("m", 0, 0),
        });
        ledger.record_crossing(crossing(0, 200, 210, 3, &[]));
        let next = written(ledger.plan(210, 200));
        assert_eq!(next.parts, [part("b", 190, 190)]);
    }

    #[test]
    fn an_idle_job_writes_nothing() {
        let ms = Duration::from_millis;
        let mut ledger = ledger_of(
            Windows::tumbling(ms(30))
                .unwrap()
                .in_panes_of(ms(10))
                .unwrap(),
        );
        ledger.record_crossing(crossing(0, 0, 10, 0, &[]));

        assert_eq!(ledger.plan(10, 10), ManifestPlan::Nothing);
        ledger.record_crossing(crossing(0, 10, 20, 1, &[]));
        ledger.record_part(part("a", 10, 10));
        ledger.written(written(ledger.plan(20, 20)));
        ledger.record_crossing(crossing(0, 20, 30, 1, &[]));

        assert!(
            matches!(ledger.plan(30, 30), ManifestPlan::Write(_)),
            "a window of the part may still close"
        );

        ledger.record_crossing(crossing(0, 30, 90, 1, &[]));
        ledger.written(written(ledger.plan(90, 90)));
        ledger.record_crossing(crossing(0, 90, 100, 1, &[]));

        assert_eq!(ledger.plan(100, 100), ManifestPlan::Nothing);
    }

    #[test]
    fn a_part_that_reaches_beyond_the_boundary_is_named_before_and_after() {
        let mut ledger = ledger();
        ledger.record_crossing(crossing(0, 0, 30, 9, &[]));
        ledger.record_part(part("a", 0, 20));

        let manifest = written(ledger.plan(10, 0));
        assert_eq!(manifest.parts.len(), 1);
        ledger.written(manifest);

        assert_eq!(written(ledger.plan(30, 0)).parts.len(), 1);
    }
}
