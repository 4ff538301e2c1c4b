//! A job that counted before there were currencies goes on from its checkpoints, and loses no count.

use std::sync::Arc;
use std::time::Duration;

use events::{ORDERS, OrderCreated};
use stream::{
    Count, Job, JobError, Rejected, Run, Session, SessionWindows, Settings, Stop, Sum, Windows,
};

use crate::{World, shown};

/// Counts as the program before this one did.
fn count_as_before(world: &World) -> Result<(), JobError> {
    let settings = Settings {
        checkpoints: world.address(),
        until_end: true,
        ..Settings::default()
    };
    let pipeline = Job::new("order-analytics")
        .source(ORDERS, |record| {
            let value = record.value.unwrap_or_default();
            let order: OrderCreated = serde_json::from_slice(value).map_err(Rejected::because)?;
            Ok((order.created_at.as_ms(), order))
        })
        .window(Windows::tumbling(Duration::from_secs(60)).unwrap())
        .aggregate(|order: OrderCreated| [(order.user_id, (Count(1), Sum(order.total_cents)))])
        .sink("results-of-before", |_, _| {});
    Run::new(pipeline, settings, Arc::new(world.log.clone()))?.run(&Stop::default())
}

/// Counts sessions as the program before this one did.
fn count_sessions_as_before(world: &World) -> Result<(), JobError> {
    let settings = Settings {
        checkpoints: world.address(),
        until_end: true,
        ..Settings::default()
    };
    let day = Duration::from_secs(86_400);
    let sessions = SessionWindows::new(Duration::from_secs(20), day).unwrap();
    let pipeline = Job::new("order-analytics")
        .source(ORDERS, |record| {
            let value = record.value.unwrap_or_default();
            let order: OrderCreated = serde_json::from_slice(value).map_err(Rejected::because)?;
            Ok((order.created_at.as_ms(), order))
        })
        .sessions(sessions)
        .aggregate(|order: OrderCreated| [(order.user_id, (Count(1), Sum(order.total_cents)))])
        .sink(
            "results-of-before",
            |_: &stream::Row<u64, Session<(Count, Sum)>>, _| {},
        );

    Run::new(pipeline, settings, Arc::new(world.log.clone()))?.run(&Stop::default())
}

#[test]
fn windows_that_were_counted_before_currencies_were_lose_nothing() {
    let world = World::new();
    world.order(5, 1, &[(1_999, "USD"), (150_000, "JPY")]);
    world.order(6, 2, &[(7, "EUR")]);
    world.order(5, 500, &[(3, "USD")]);
    count_as_before(&world).unwrap();

    world.order(5, 3, &[(10, "USD")]);
    world.order(5, 501, &[(4, "USD")]);
    world.count(&[]);

    let newest: Vec<_> = world.counts(5);
    let expected = [
        (0, 1, 3, "10 USD, 151999 XXX".to_owned()),
        (480, 1, 2, "4 USD, 3 XXX".to_owned()),
    ];
    assert_eq!(newest, expected);

    let summary = world.summary(0);
    assert_eq!((summary.order_count, summary.user_count), (4, 2));
    assert_eq!(shown(&summary.amounts), "10 USD, 152006 XXX");

    // Checkpoints of both programs lie side by side from now on.
    world.order(6, 4, &[(1, "EUR")]);
    world.count(&[]);
    assert_eq!(world.counts(6), [(0, 1, 2, "1 EUR, 7 XXX".to_owned())]);
}

#[test]
fn sessions_that_were_counted_before_currencies_were_lose_nothing() {
    let world = World::new();
    world.order(5, 0, &[(1_999, "USD")]);
    world.order(5, 500, &[(3, "USD")]);
    count_sessions_as_before(&world).unwrap();

    world.order(5, 15, &[(10, "JPY")]);
    world.count(&["--session-gap", "20s"]);
    assert_eq!(world.counts(5), [(0, 1, 2, "10 JPY, 1999 XXX".to_owned())]);
}

#[test]
fn the_program_of_before_refuses_what_it_cannot_read() {
    let world = World::new();
    world.order(5, 1, &[(1_999, "USD")]);
    world.count(&[]);

    let refused = count_as_before(&world).unwrap_err().to_string();
    let named = "the aggregate type was \"(count, sums by currency)\" and is now \"(count, sum)\"";
    assert!(refused.contains(named), "{refused}");
}
