//! Past hours are merged: a history reads few chunks, and no count is missing from it whenever it arrives.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use analytics::{COUNTS, Config, Parts, Service};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::{
    BeforeSerializationInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::put_item::PutItemInput;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use chassis::auth::Auth;
use chassis::{Metrics, Shutdown};
use events::{Timestamp, WindowCount};
use testbed::Writes;

use crate::{Running, count, essence, log, minute, publish_counts};

const HOUR: u64 = 60;

testbed::on_both_dynamodbs!(
    a_history_of_merged_hours_is_that_of_their_minutes,
    counts_that_arrive_after_the_merge_are_in_the_history,
    a_count_that_is_written_while_its_hour_is_closed_is_in_the_history,
    an_hour_is_merged_once_and_only_when_it_is_long_over,
    a_rare_users_history_reads_a_tenth_of_the_chunks,
);

/// Merges the hours that are long over at this minute, as another replica.
async fn merge(dynamodb: &Client, now: Timestamp) -> u64 {
    let parts = Parts {
        dynamodb: dynamodb.clone(),
        log: Arc::new(log()),
        auth: Auth::open(),
    };
    let metrics = Metrics::new("analytics");
    let service = Service::new(&Config::default(), parts, &metrics, Shutdown::new()).unwrap();
    service.merge_past_hours(now).await.unwrap()
}

/// Returns counts of all users in each of these minutes.
fn counts(minutes: impl Iterator<Item = u64>, users: u64) -> Vec<WindowCount> {
    let of_minute = |window| (1..=users).map(move |user| count(user, window, user % 7, 0));
    minutes.flat_map(of_minute).collect()
}

/// The history that a user of these counts has: of each window the highest revision, newest first.
fn expected(counts: &[WindowCount], user_id: u64) -> Vec<(u64, String, u64, u64)> {
    let mut own: Vec<_> = counts
        .iter()
        .filter(|count| count.user_id == user_id)
        .collect();
    own.sort_by_key(|count| {
        (
            std::cmp::Reverse(count.window_start),
            std::cmp::Reverse(count.revision),
        )
    });
    own.dedup_by_key(|count| count.window_start);
    let essence = |count: &&WindowCount| {
        let start = count.window_start.to_string();
        (
            count.user_id,
            start,
            count.order_count,
            u64::from(count.revision),
        )
    };
    own.iter().map(essence).collect()
}

/// Asserts that some users' histories and the list of all are these counts, in one go and page by page.
async fn assert_shown(running: &Running, counts: &[WindowCount]) {
    let users: BTreeSet<_> = counts.iter().map(|count| count.user_id).collect();
    for user in users.iter().take(4) {
        for limit in [100, 7] {
            let shown = running
                .all(&format!("/analytics/users/{user}"), limit)
                .await;
            assert_eq!(
                essence(&shown),
                expected(counts, *user),
                "user {user}, {limit} a page"
            );
        }
    }

    let all: BTreeSet<_> = users
        .iter()
        .flat_map(|user| expected(counts, *user))
        .collect();
    let shown = essence(&running.all("/analytics/recent", 100).await);
    assert_eq!(shown.len(), all.len());
    assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), all);
}

async fn a_history_of_merged_hours_is_that_of_their_minutes(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    // Levels 1 and 0, hours without counts between, and minutes that begin no hour.
    let mut all = counts([5, 6, 58, 59].into_iter(), 150);
    all.extend(counts([60, 61, 3 * HOUR + 59, 4 * HOUR].into_iter(), 9));
    publish_counts(&running.log, &all);
    running.caught_up().await;

    for (now, merged) in [
        (minute(2 * HOUR), 0),
        (minute(3 * HOUR), 1),
        (minute(6 * HOUR), 2),
    ] {
        assert_eq!(merge(&dynamodb, now).await, merged, "{now}");
        assert_shown(&running, &all).await;
    }

    let range = format!("from={}&to={}", minute(59), minute(3 * HOUR + 60));
    let part = running
        .all(&format!("/analytics/recent?user=3&{range}"), 100)
        .await;
    let mut inner = expected(&all, 3);
    inner.retain(|(_, start, ..)| {
        (minute(59).to_string()..minute(4 * HOUR).to_string()).contains(start)
    });
    assert_eq!(essence(&part), inner);
    running.stop().await;
}

async fn counts_that_arrive_after_the_merge_are_in_the_history(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let mut all = counts([0, 1, 2].into_iter(), 200);
    publish_counts(&running.log, &all);
    running.caught_up().await;
    assert_eq!(merge(&dynamodb, minute(9 * HOUR)).await, 1);

    // A correction, a lower revision, a replay, a new user, and many at once: levels 0 and 1.
    let mut late = vec![
        count(3, 1, 9, 2),
        count(3, 1, 8, 1),
        count(4, 1, 4, 0),
        count(999, 2, 1, 0),
    ];
    publish_counts(&running.log, &late);
    running.caught_up().await;
    all.append(&mut late);
    assert_shown(&running, &all).await;

    let mut many: Vec<_> = (1..=100).map(|user| count(user, 40, 5, 1)).collect();
    publish_counts(&running.log, &many);
    running.caught_up().await;
    all.append(&mut many);
    assert_shown(&running, &all).await;

    // The hours after it go on as before, and are merged with it or without it.
    let mut next = counts([60, 125].into_iter(), 60);
    publish_counts(&running.log, &next);
    running.caught_up().await;
    all.append(&mut next);
    assert_eq!(merge(&dynamodb, minute(9 * HOUR)).await, 2);
    assert_shown(&running, &all).await;
    running.stop().await;
}

/// The writer's first write of a chunk waits until another replica has closed and merged the hour.
async fn a_count_that_is_written_while_its_hour_is_closed_is_in_the_history(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let mut all = counts([0].into_iter(), 60);
    publish_counts(&running.log, &all);
    running.caught_up().await;
    running.stop().await;

    let gate = Gate::default();
    let config = dynamodb.config().to_builder().interceptor(gate.clone());
    let client = Client::from_conf(config.build());
    let running = Running::start(&client, &log()).await;
    let more = counts([1].into_iter(), 60);
    publish_counts(&running.log, &more);
    while !gate.is_reached.load(Ordering::SeqCst) {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert_eq!(merge(&dynamodb, minute(9 * HOUR)).await, 1);
    gate.open();
    running.caught_up().await;

    all.extend(more);
    assert_shown(&running, &all).await;
    running.stop().await;
}

async fn an_hour_is_merged_once_and_only_when_it_is_long_over(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    publish_counts(&running.log, &counts([30].into_iter(), 60));
    running.caught_up().await;

    assert_eq!(merge(&dynamodb, minute(3 * HOUR - 1)).await, 0);
    let (client, writes) = Writes::of(&dynamodb, COUNTS, "user_bucket");
    assert_eq!(merge(&client, minute(3 * HOUR)).await, 1);
    assert!((1..=16).contains(&writes.put().len()), "{:?}", writes.put());
    assert_eq!(merge(&client, minute(3 * HOUR)).await, 0);
    running.stop().await;
}

async fn a_rare_users_history_reads_a_tenth_of_the_chunks(dynamodb: Client) {
    let reads = Reads::default();
    let config = dynamodb.config().to_builder().interceptor(reads.clone());
    let running = Running::start(&Client::from_conf(config.build()), &log()).await;
    let mut all = counts(0..20, 800);
    all.push(count(77_777, 0, 1, 0));
    publish_counts(&running.log, &all);
    running.caught_up().await;

    let read = async || {
        reads.chunks.store(0, Ordering::SeqCst);
        let shown = running.all("/analytics/users/77777", 50).await;
        assert_eq!(essence(&shown), expected(&all, 77_777));
        reads.chunks.load(Ordering::SeqCst)
    };
    let by_minute = read().await;
    assert_eq!(merge(&dynamodb, minute(9 * HOUR)).await, 1);
    let by_hour = read().await;
    assert!(by_minute >= 20, "{by_minute}");
    assert!(by_hour <= by_minute / 10, "{by_hour} of {by_minute}");
    running.stop().await;
}

/// Holds the first write of a chunk back until it is opened.
#[derive(Clone, Debug, Default)]
struct Gate {
    is_reached: Arc<AtomicBool>,
    is_open: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    fn open(&self) {
        *self.is_open.0.lock().unwrap() = true;
        self.is_open.1.notify_all();
    }
}

impl Intercept for Gate {
    fn name(&self) -> &'static str {
        "Gate"
    }

    fn read_before_execution(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let put = context.input().downcast_ref::<PutItemInput>();
        if put.is_some_and(|put| put.table_name() == Some(COUNTS)) {
            self.is_reached.store(true, Ordering::SeqCst);
            let is_open = self.is_open.0.lock().unwrap();
            tokio::task::block_in_place(|| {
                drop(
                    self.is_open
                        .1
                        .wait_while(is_open, |is_open| !*is_open)
                        .unwrap(),
                );
            });
        }
        Ok(())
    }
}

/// Counts the chunks that queries return.
#[derive(Clone, Debug, Default)]
struct Reads {
    chunks: Arc<AtomicUsize>,
}

impl Intercept for Reads {
    fn name(&self) -> &'static str {
        "Reads"
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let output = context.output_or_error().and_then(Result::ok);
        let found = output.and_then(|output| output.downcast_ref::<QueryOutput>());
        let items = found.map_or(&[][..], QueryOutput::items);
        let chunks = items.iter().filter(|item| item.contains_key("chunk"));
        self.chunks.fetch_add(chunks.count(), Ordering::SeqCst);
        Ok(())
    }
}
