//! The times at which events travel.

use super::*;

#[test]
fn each_event_travels_at_the_start_of_a_pane() {
    let windows = Windows::tumbling(Duration::from_millis(60)).unwrap();
    let windows = windows.in_panes_of(Duration::from_millis(20)).unwrap();
    let rules = rules(windows, 120);
    let mut intake = Intake::new(rules, 0, [(0, Start::default())]);

    for offset in 0..300_u64 {
        let event_ms = (offset * 7).saturating_sub(offset % 5 * 11);
        let reading = at(offset, event_ms);
        intake.read(&reading);
        let verdict = intake.admit(&reading, event_ms);

        let Verdict::Counted { arrival, pane } = verdict else {
            panic!("{event_ms}: {verdict:?}");
        };
        assert_eq!((arrival % 20, pane % 20), (0, 0), "{event_ms}");
        assert!((pane..pane + 20).contains(&event_ms) && arrival >= pane);

        if offset % 10 == 9 {
            intake.advance(event_ms / 20 * 20, none_pending);
        }
    }
}
