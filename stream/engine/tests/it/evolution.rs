//! Aggregates that change under a checkpoint: a version that does not read it is refused by name, and one that does
//! goes on.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream::{Aggregate, Job, Pipeline, Settings, Stop, Windows};

use crate::oracle::{World, decode, random, write};

/// Version `OWN` of an aggregate, which reads version `READ`, too, unless it is 0.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Versioned<const OWN: u32, const READ: u32>(u64);

impl<const OWN: u32, const READ: u32> Aggregate for Versioned<OWN, READ> {
    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }

    fn signature() -> String {
        format!("versioned {OWN}")
    }

    fn earlier_signatures() -> Vec<String> {
        (READ > 0)
            .then(|| format!("versioned {READ}"))
            .into_iter()
            .collect()
    }
}

type First = Versioned<1, 0>;
type Second = Versioned<2, 0>;
type Third = Versioned<3, 1>;

fn counting<A: Aggregate>(one: fn() -> A, number: fn(&A) -> u64) -> Pipeline<u64, A> {
    Job::new("counts")
        .source("events", decode)
        .window(Windows::tumbling(Duration::from_millis(10)).unwrap())
        .aggregate(move |key: u64| [(key, one())])
        .sink("counts", move |row, output| {
            let revision = row.revision.into();
            let number = number(&row.aggregate);
            write(&[row.window_start, row.key, revision, number], output);
        })
}

/// Runs a version of the job, and returns the sentence by which it is refused, if it is.
fn run<const OWN: u32, const READ: u32>(world: &World) -> Option<String> {
    let pipeline = counting(|| Versioned::<OWN, READ>(1), |it| it.0);
    let settings = Settings {
        // Nothing is late, and windows are corrected across versions.
        allowed_lateness: Duration::from_secs(10),
        ..Settings::default()
    };
    let run = world.run_of(pipeline, world.log.clone(), &settings);
    run.run(&Stop::default())
        .err()
        .map(|error| error.to_string())
}

#[test]
fn an_aggregate_that_cannot_read_the_checkpoint_is_named() {
    let mut random = random(1);
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    let mut world = World::new(windows, 2);
    world.publish(120, &mut random);
    assert_eq!(run::<1, 0>(&world), None);

    world.publish(80, &mut random);
    let committed = world.log.records("counts").len();
    let said = run::<2, 0>(&world).expect("the second version is refused");
    let named = format!(
        "{:?} and is now {:?}",
        First::signature(),
        Second::signature()
    );
    assert!(
        said.contains("aggregate type") && said.contains(&named),
        "{said}"
    );
    assert_eq!(world.log.records("counts").len(), committed);

    assert_eq!(run::<3, 1>(&world), None);
    let said = run::<1, 0>(&world).expect("there is no way back");
    let named = format!(
        "{:?} and is now {:?}",
        Third::signature(),
        First::signature()
    );
    assert!(said.contains(&named), "{said}");

    let mut expected = std::collections::BTreeMap::new();
    for (key, time) in world.records.values().flatten() {
        *expected.entry((time / 10 * 10, *key)).or_insert(0) += 1;
    }
    assert_eq!(world.committed(), expected);
}
