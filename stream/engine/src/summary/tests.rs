//! Tests of contributions: the changes of a worker's contributions, and the totals of several
//! workers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::aggregate::Count;
use crate::checkpoint::lineage::Lineage;
use crate::pane::Windows;

type Part = Contribution<u64, Count>;

fn view() -> Summary<u64, Count> {
    Summary {
        top: 0,
        rank: Arc::new(|one, other| one.cmp(&other)),
        destination: ViewDestination::Totals(Destination {
            topic: "totals".to_owned(),
            encode: Arc::new(|_, _| {}),
        }),
    }
}

/// Returns a contribution of this many keys with one event each, corrected at these panes.
fn part(keys: u64, corrections: &[EventTimeMs]) -> Part {
    let totals = (keys > 0).then(|| Totals {
        window_start: 0,
        keys,
        aggregate: Count(keys),
        top: Vec::new(),
        corrections: BTreeSet::new(),
        first_emissions: 0,
        first_revision: 0,
    });
    Contribution {
        totals,
        corrections: corrections.iter().copied().collect(),
    }
}

#[test]
fn a_contribution_replaces_the_former_one_with_totals_or_without() {
    let rules = WindowRules {
        windows: Windows::tumbling(Duration::from_millis(10)).unwrap(),
        extent: None,
        is_row: None,
        lateness_ms: 1_000,
        kept_from: 0,
        lineage: Lineage::default(),
    };
    let mut contributions = Contributions::new(rules, [view(), view()].into());

    let mut of_place: BTreeMap<ViewWindow, BTreeMap<Part, isize>> = BTreeMap::new();
    let series = [
        part(1, &[]),
        part(0, &[20]),
        part(0, &[20, 30]),
        part(2, &[20, 30, 40]),
    ];
    for (arrival, contribution) in (1..).map(|pane| 10 * pane).zip(series) {
        // The second view has the same window, and contributions of its own.
        for place in [(0, 0), (1, 0)]
            .into_iter()
            .take(1 + usize::from(arrival < 30))
        {
            for ((place, part), time, copies) in
                contributions.replace(arrival, place, contribution.clone())
            {
                if time == arrival {
                    *of_place.entry(place).or_default().entry(part).or_default() += copies;
                }
            }
            let present = of_place.get_mut(&place).unwrap();
            present.retain(|_, copies| *copies != 0);
            assert_eq!(
                *present,
                BTreeMap::from([(contribution.clone(), 1)]),
                "{arrival}"
            );
        }
    }
    assert_eq!(of_place[&(1, 0)], BTreeMap::from([(part(0, &[20]), 1)]));
}

#[test]
fn corrections_of_all_parts_count_in_any_order() {
    let parts = [part(0, &[20]), part(2, &[30]), part(0, &[40]), part(1, &[])];
    for first in 0..parts.len() {
        let in_order = parts.iter().cycle().skip(first).take(parts.len());
        let merged = view().merge(in_order).unwrap();
        assert_eq!((merged.keys, merged.aggregate), (3, Count(3)), "{first}");
        assert_eq!(merged.corrections, BTreeSet::from([20, 30, 40]), "{first}");
        assert_eq!(merged.revision(), 3, "{first}");
    }

    let without_rows = [part(0, &[20]), part(0, &[30])];
    assert!(view().merge(without_rows.iter()).is_none());
}
