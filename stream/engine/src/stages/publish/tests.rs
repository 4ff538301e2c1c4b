//! Tests of the records of a stage where lines of history begin.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::aggregate::Count;
use crate::checkpoint::lineage::Lineage;
use crate::pane::Windows;
use crate::stages::WindowRow;

/// Returns the rows of a job whose lines of history begin at these panes. They can change for 100 ms after their windows.
fn rows(lines: &[EventTimeMs]) -> StageRows<Count> {
    fn unused<'scope>(_: Changes<'scope, WindowRow<u64, Count>>) -> Changes<'scope, Content> {
        unreachable!("the rows of this test are not derived")
    }

    let mut lineage = Lineage::default();
    for from in lines {
        lineage = lineage.branched(1, *from, 1_000);
    }
    let rules = WindowRules {
        windows: Windows::tumbling(Duration::from_millis(10)).unwrap(),
        extent: None,
        is_row: None,
        lateness_ms: 100,
        kept_from: 0,
        lineage,
    };
    StageRows::new(&Stage::new("counts", 0, Arc::new(unused)), &rules)
}

/// Returns a change of the row of a key, in the window that starts at `start`.
fn change(key: &str, start: EventTimeMs, value: &str, copies: isize) -> (Appearance, isize) {
    let content = Content {
        key: key.into(),
        value: value.into(),
        headers: Vec::new(),
    };
    ((key.into(), (start, content)), copies)
}

/// Closes a pane, and returns its records as keys and values.
fn close(
    rows: &mut StageRows<Count>,
    pane: EventTimeMs,
    changes: &[(Appearance, isize)],
) -> Vec<String> {
    let records = rows.close(pane, changes.to_vec());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let records = records
        .iter()
        .map(|it| format!("{}={}", text(&it.output.key), text(&it.output.value)));
    records.collect()
}

#[test]
fn each_line_of_history_publishes_the_rows_that_it_finds() {
    let mut rows = rows(&[30, 50, 70]);
    let first = [change("a", 0, "1", 1), change("b", 0, "1", 1)];
    assert_eq!(close(&mut rows, 10, &first), ["a=1", "b=1"]);

    let corrected = [change("a", 0, "1", -1), change("a", 0, "2", 1)];
    assert_eq!(close(&mut rows, 20, &corrected), ["a=2"]);
    assert_eq!(close(&mut rows, 30, &[]), ["a=2", "b=1"]);

    // A row that appears with a line and one that vanishes before the next.
    close(&mut rows, 40, &[change("b", 0, "1", -1)]);
    let with_line = [change("c", 40, "1", 1)];
    assert_eq!(close(&mut rows, 50, &with_line), ["a=2", "c=1"]);
    assert_eq!(close(&mut rows, 60, &[]), [""; 0]);
    assert_eq!(close(&mut rows, 70, &[]), ["a=2", "c=1"]);

    assert_eq!(close(&mut rows, 80, &[change("d", 70, "1", 1)]), ["d=1"]);
    assert!(rows.current.is_empty(), "no line follows");
}

#[test]
fn a_row_that_can_no_longer_change_is_not_published_again() {
    let mut rows = rows(&[200]);
    let appear = [change("old", 90, "1", 1), change("young", 100, "1", 1)];
    assert_eq!(close(&mut rows, 110, &appear).len(), 2);
    assert_eq!(close(&mut rows, 200, &[]), ["young=1"]);
}

#[test]
fn a_row_of_which_panes_are_dropped_is_not_published_again() {
    let mut rows = rows(&[110]);
    rows.rules.kept_from = 60;
    let appear = [change("part", 50, "1", 1), change("whole", 60, "1", 1)];
    assert_eq!(close(&mut rows, 100, &appear).len(), 2);
    assert_eq!(close(&mut rows, 110, &[]), ["whole=1"]);
}
