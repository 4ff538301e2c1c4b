//! Tests of the keys of a worker, against a plain program over the sorted events.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

const PANE_MS: u64 = 10;

/// Emits a key's number of events, `wait_ms` after the last one; and every third event at once.
struct Quiet {
    wait_ms: u64,
}

type Out = (u64, u64, u64);

impl ProcessFunction for Quiet {
    type Key = u64;
    type Event = u64;
    type State = (u64, u64);
    type Out = Out;

    fn on_event(&self, value: u64, context: &mut ProcessContext<'_, u64, (u64, u64), Out>) {
        let (count, until) = context.state().unwrap_or((0, 0));
        context.delete_timer(until);
        let until = context.time_ms() + self.wait_ms;
        context.set_timer(until);
        *context.state() = Some((count + 1, until));
        if (count + 1).is_multiple_of(3) {
            context.emit((*context.key(), context.time_ms(), value));
        }
    }

    fn on_timer(&self, context: &mut ProcessContext<'_, u64, (u64, u64), Out>) {
        if let Some((count, _)) = context.state().take() {
            context.emit((*context.key(), context.time_ms(), 1_000_000 + count));
        }
    }
}

type Pane = ClosedPane<u64, Processed<u64, (u64, u64)>>;
type Arriving = Entry<u64, Processed<u64, (u64, u64)>>;

fn plan(wait_ms: u64, refresh_ms: u64) -> Arc<FunctionPlan<Quiet>> {
    Arc::new(FunctionPlan {
        function: Arc::new(Quiet { wait_ms }),
        encode: Arc::new(|(key, time, value), output| {
            output.value.extend(format!("{key} {time} {value}").bytes());
        }),
        pane_ms: PANE_MS,
        refresh_ms,
    })
}

/// An event: key, time, and place in the log.
type Logged = (u64, u64, u64);

/// Returns what the function emits by `end` for all of the events, each key by itself.
fn expected(events: &[Logged], wait_ms: u64, end: u64) -> Vec<String> {
    let mut keys: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for (key, time, offset) in events {
        keys.entry(*key).or_default().push((*time, *offset));
    }

    let mut lines = Vec::new();
    for (key, mut events) in keys {
        events.sort_unstable();
        let mut count = 0;
        for (place, (time, offset)) in events.iter().enumerate() {
            count += 1;
            if count % 3 == 0 {
                lines.push(format!("{key} {time} {offset}"));
            }
            let next = events.get(place + 1).map_or(end, |(next, _)| *next);
            if time + wait_ms < next {
                lines.push(format!("{key} {} {}", time + wait_ms, 1_000_000 + count));
                count = 0;
            }
        }
    }
    lines.sort();
    lines
}

fn lines(panes: &[Pane]) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in panes.iter().flat_map(|pane| &pane.entries) {
        let emitted = entry.aggregate.emitted_or_none();
        let each = |_, output: &Output| {
            lines.push(String::from_utf8(output.value.clone()).unwrap());
            Ok::<(), ()>(())
        };
        emitted.for_each(&mut Output::default(), each).unwrap();
    }
    lines.sort();
    lines
}

/// Closes all panes from `from` to `until`, those that are due and those that have events.
fn close(keys: &mut KeyStates<Quiet>, events: &[Logged], from: u64, until: u64) -> Vec<Pane> {
    let mut arriving: BTreeMap<u64, Vec<Arriving>> = BTreeMap::new();
    for (key, time, offset) in events {
        let pane = time - time % PANE_MS;
        if (from..until).contains(&pane) {
            let entries = arriving.entry(pane).or_default();
            let aggregate = Processed::event(*time, (0, *offset), *offset);
            entries.push(Entry {
                pane,
                key: *key,
                aggregate,
            });
        }
    }

    let mut closed = Vec::new();
    loop {
        let next = arriving.keys().next().copied();
        let due = keys.next_due();
        let Some(pane) = next
            .into_iter()
            .chain(due)
            .min()
            .filter(|pane| *pane < until)
        else {
            return closed;
        };
        let entries = crate::closing::merged(arriving.remove(&pane).unwrap_or_default());
        closed.push(ClosedPane {
            arrival: pane,
            entries: keys.close(pane, &entries),
            side_outputs: Vec::new(),
        });
    }
}

fn events(random: &mut SmallRng) -> Vec<Logged> {
    let mut time = 0;
    let event = |offset| {
        time += random.random_range(0..9) * u64::from(random.random_bool(0.7));
        time += 200 * u64::from(random.random_bool(0.03));
        (random.random_range(0..5), time, offset)
    };
    (0..120).map(event).collect()
}

#[test]
fn a_process_function_emits_as_a_plain_program_despite_deaths() {
    for seed in 1..=200 {
        let mut random = SmallRng::seed_from_u64(seed);
        let events = events(&mut random);
        let wait_ms = random.random_range(0..80);
        let refresh_ms = PANE_MS * random.random_range(1..12);
        let end = 3_000;

        let mut kept: Vec<Pane> = Vec::new();
        let mut from = 0;
        for _ in 0..5 {
            // A life begins with the panes that the refresh interval requires. Merged parts have some of the older
            // ones, too.
            let mut keys = KeyStates::new(plan(wait_ms, refresh_ms));
            for pane in &kept {
                let is_required = pane.arrival + refresh_ms + PANE_MS > from;
                if is_required || random.random_bool(0.5) {
                    keys.restore(pane, from);
                }
            }

            let until = (from + PANE_MS * random.random_range(0..60)).min(end);
            kept.extend(close(&mut keys, &events, from, until));
            from = until;
        }
        let mut keys = KeyStates::new(plan(wait_ms, refresh_ms));
        kept.iter().for_each(|pane| keys.restore(pane, from));
        kept.extend(close(&mut keys, &events, from, end));

        assert_eq!(lines(&kept), expected(&events, wait_ms, end), "seed {seed}");
    }
}

#[test]
fn every_key_with_a_state_is_written_within_the_refresh_interval() {
    let mut keys = KeyStates::new(plan(1_000_000, 50));
    let closed = close(&mut keys, &[(1, 5, 0), (2, 33, 1)], 0, 1_000);
    let of = |key| {
        let panes = closed
            .iter()
            .filter(|pane| pane.entries.iter().any(|it| it.key == key));
        panes.map(|pane| pane.arrival).collect::<Vec<_>>()
    };
    assert_eq!(of(1)[..4], [0, 50, 100, 150]);
    assert_eq!(of(2)[..4], [30, 80, 130, 180]);
}

#[test]
fn a_key_without_state_and_timers_is_forgotten_and_stays_so() {
    let mut keys = KeyStates::new(plan(20, 100));
    let closed = close(&mut keys, &[(1, 5, 0)], 0, 1_000);
    assert!(keys.keys.is_empty() && keys.next_due().is_none());
    assert_eq!(closed.len(), 2, "its event and its timer");

    // Restored with a part that is older than the pane at which it was cleared.
    let mut keys = KeyStates::new(plan(20, 100));
    closed.iter().for_each(|pane| keys.restore(pane, 60));
    assert!(keys.keys.is_empty());

    // Restored from a merged part alone, when the pane at which it was cleared is no longer in a part.
    let mut keys = KeyStates::new(plan(20, 100));
    keys.restore(&closed[0], 200);
    assert!(keys.keys.is_empty());
}

/// Sets a timer again and again for the time of the timer itself.
struct Restless;

impl ProcessFunction for Restless {
    type Key = u64;
    type Event = u64;
    type State = u64;
    type Out = u64;

    fn on_event(&self, _: u64, context: &mut ProcessContext<'_, u64, u64, u64>) {
        context.set_timer(context.time_ms());
    }

    fn on_timer(&self, context: &mut ProcessContext<'_, u64, u64, u64>) {
        context.emit(context.time_ms());
        context.set_timer(context.time_ms());
    }
}

#[test]
fn a_timer_for_its_own_time_fires_a_millisecond_later() {
    let plan = FunctionPlan {
        function: Arc::new(Restless),
        encode: Arc::new(|time: &u64, output: &mut Output| output.value.push(*time as u8)),
        pane_ms: PANE_MS,
        refresh_ms: 100,
    };
    let mut keys = KeyStates::new(Arc::new(plan));
    let entry = Entry {
        pane: 0,
        key: 1,
        aggregate: Processed::event(6, (0, 0), 0),
    };
    let closed = keys.close(0, &[entry]);
    assert_eq!(
        closed[0].aggregate.emitted_or_none().count(),
        4,
        "6, 7, 8 and 9"
    );
    assert_eq!(keys.next_due(), Some(10));
}

#[test]
fn events_merge_to_the_same_in_any_order_and_grouping() {
    let event = |time, offset| Processed::<u64, u64>::event(time, (0, offset), offset);
    let all = [event(5, 9), event(3, 2), event(5, 1), event(4, 7)];
    let merged = |order: [usize; 4]| {
        let mut whole = all[order[0]].clone();
        order[1..]
            .iter()
            .for_each(|place| whole.merge(&all[*place]));
        whole
    };
    let mut pairs = all[0].clone();
    pairs.merge(&all[1]);
    let mut others = all[2].clone();
    others.merge(&all[3]);
    pairs.merge(&others);
    assert_eq!(merged([0, 1, 2, 3]), merged([3, 1, 0, 2]));
    assert_eq!(merged([2, 0, 3, 1]), pairs);
}
