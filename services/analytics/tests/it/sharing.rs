//! Replicas share the writing: each row is written by one of them, and every listener hears of all.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::Client;
use record_log::simulated::{Call, Fault};
use testbed::OwnTopics;
use uuid::Uuid;

use super::*;

testbed::on_both_dynamodbs!(
    each_row_is_written_by_one_of_three_replicas,
    a_replica_that_joins_shares_and_one_that_leaves_gives_back,
    what_a_killed_replica_owned_is_written_by_another,
    a_listener_hears_of_all_rows_and_finds_each_in_the_list,
    a_listener_resumes_at_another_replica,
);

/// A log whose replicas share partitions, and the place to publish to.
struct Shared {
    log: Arc<dyn RecordLog>,
    ending: String,
    partitions: u32,
}

/// A replica.
struct Replica {
    log: OwnTopics,
    service: Arc<Service>,
    client: TestClient,
    shutdown: Ending,
    work: JoinHandle<()>,
}

impl Shared {
    fn of(log: Arc<dyn RecordLog>) -> Self {
        let shared = Self {
            log,
            ending: format!("-{}", Uuid::new_v4().simple()),
            partitions: 6,
        };
        let spec = |name: &str, partitions| TopicSpec {
            name: name.to_owned(),
            partitions,
            cleanup: Cleanup::Delete,
            retention: Duration::from_secs(3600),
        };
        let topics = [spec(ANALYTICS_RESULTS, 6), spec(ANALYTICS_SUMMARIES, 1)];
        shared.handle().ensure_topics(&topics).unwrap();
        shared
    }

    fn handle(&self) -> OwnTopics {
        OwnTopics::new(Arc::clone(&self.log), &self.ending)
    }

    async fn start(&self, dynamodb: &Client) -> Replica {
        let log = self.handle();
        Replica::start(dynamodb, log).await
    }

    /// Publishes a row for each of the users.
    fn publish(&self, users: std::ops::Range<u64>) {
        let topic = self.handle().name(ANALYTICS_RESULTS);
        let record = |user: u64| {
            let value = serde_json::to_vec(&count(user, 0, 1, 0)).unwrap();
            (&*topic, user.to_string(), value)
        };
        let records: Vec<_> = users.map(record).collect();

        let mut publisher = self
            .log
            .publisher(&self.ending, Delivery::AtLeastOnce)
            .unwrap();
        for (topic, key, value) in &records {
            let record = NewRecord {
                topic,
                partition: None,
                key: Some(key.as_bytes()),
                value: Some(value),
                headers: &[],
            };
            publisher.send(record).unwrap();
        }
        publisher.commit(&[]).unwrap();
    }

    /// Waits until everything published was written.
    async fn written(&self) {
        let log = self.handle();
        until("all is written", async || {
            let log = log.clone();
            tokio::task::spawn_blocking(move || {
                let stored = log.committed("analytics", ANALYTICS_RESULTS).unwrap();
                let stored: BTreeMap<u32, u64> = stored.into_iter().collect();
                let ends = log.offsets(ANALYTICS_RESULTS).unwrap();
                let ends = (0..).zip(ends).filter(|(_, range)| range.end > 0);
                ends.into_iter().all(|(partition, range)| {
                    stored
                        .get(&partition)
                        .is_some_and(|next| *next >= range.end)
                })
            })
            .await
            .unwrap()
        })
        .await;
    }

    /// Waits until each partition has one owner, and all replicas own some.
    async fn is_shared(&self, replicas: &[&Replica]) {
        until("the partitions are shared", async || {
            let shares: Vec<_> = replicas
                .iter()
                .map(|replica| replica.log.owned(ANALYTICS_RESULTS))
                .collect();
            let mut all: Vec<u32> = shares.concat();
            all.sort_unstable();
            all == (0..self.partitions).collect::<Vec<_>>()
                && shares.iter().all(|share| !share.is_empty())
        })
        .await;
    }
}

impl Replica {
    async fn start(dynamodb: &Client, log: OwnTopics) -> Self {
        let shutdown = Shutdown::new();
        let parts = Parts {
            dynamodb: dynamodb.clone(),
            log: Arc::new(log.clone()),
            auth: Auth::open(),
        };
        let metrics = Metrics::new("analytics");
        let service = Service::new(&Config::default(), parts, &metrics, shutdown.clone()).unwrap();
        let service = Arc::new(service);
        service.prepare().await;

        let client = TestClient::new(service.router());
        let consuming = Arc::clone(&service);
        let work = tokio::spawn(async move { consuming.consume().await });
        Self {
            log,
            service,
            client,
            shutdown: Ending(shutdown),
            work,
        }
    }

    /// Returns the number of rows that it has written.
    async fn stop(self) -> u64 {
        self.shutdown.0.request();
        self.work.await.unwrap();
        self.service.written()
    }

    /// Returns the users with a row.
    async fn users(&self) -> BTreeSet<u64> {
        let mut users = BTreeSet::new();
        let mut cursor = String::new();
        loop {
            let page = self
                .client
                .get(&format!("/analytics/recent?limit=100{cursor}"))
                .await;
            assert_eq!(page.status, 200, "{}", page.body);
            let items = page.body["items"].as_array().unwrap();
            users.extend(items.iter().map(|item| item["user_id"].as_u64().unwrap()));
            match page.body["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return users,
            }
        }
    }

    async fn listen(&self, last_id: Option<&str>) -> testbed::Events {
        let headers: Vec<_> = last_id
            .map(|id| ("last-event-id", id))
            .into_iter()
            .collect();
        self.client.listen("/analytics/stream", &headers).await
    }
}

/// Waits until `holds` does.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "not in time: {what}");
}

async fn heard(events: &mut testbed::Events) -> testbed::ServerSentEvent {
    let next = tokio::time::timeout(Duration::from_secs(30), events.next()).await;
    next.expect("an event in time").expect("the stream goes on")
}

fn user_of(event: &testbed::ServerSentEvent) -> u64 {
    let shown: Value = serde_json::from_str(&event.data).unwrap();
    shown["user_id"].as_u64().unwrap()
}

fn simulated() -> Shared {
    Shared::of(Arc::new(SimulatedLog::default()))
}

async fn each_row_is_written_by_one_of_three_replicas(dynamodb: Client) {
    write_by_three(&simulated(), &dynamodb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_kafka_each_row_is_written_by_one_of_three_replicas() {
    if let Some(log) = testbed::brokers("on_kafka_each_row_is_written_by_one_of_three_replicas") {
        write_by_three(&Shared::of(log), &testbed::embedded().await).await;
    }
}

async fn write_by_three(shared: &Shared, dynamodb: &Client) {
    let first = shared.start(dynamodb).await;
    let second = shared.start(dynamodb).await;
    let third = shared.start(dynamodb).await;
    shared.is_shared(&[&first, &second, &third]).await;

    shared.publish(0..120);
    shared.written().await;
    let users = first.users().await;
    let counts = [first.stop().await, second.stop().await, third.stop().await];

    assert_eq!(users, (0..120).collect());
    assert_eq!(counts.iter().sum::<u64>(), 120, "each by one: {counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

async fn a_replica_that_joins_shares_and_one_that_leaves_gives_back(dynamodb: Client) {
    join_and_leave(&simulated(), &dynamodb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_kafka_a_replica_that_joins_shares_and_one_that_leaves_gives_back() {
    if let Some(log) =
        testbed::brokers("on_kafka_a_replica_that_joins_shares_and_one_that_leaves_gives_back")
    {
        join_and_leave(&Shared::of(log), &testbed::embedded().await).await;
    }
}

async fn join_and_leave(shared: &Shared, dynamodb: &Client) {
    let first = shared.start(dynamodb).await;
    shared.is_shared(&[&first]).await;
    shared.publish(0..60);
    shared.written().await;
    assert_eq!(first.service.written(), 60);

    let second = shared.start(dynamodb).await;
    shared.is_shared(&[&first, &second]).await;
    shared.publish(60..120);
    shared.written().await;
    let by_second = second.service.written();
    assert_eq!(first.service.written() + by_second, 120, "each by one");
    assert!(by_second > 0, "it takes its share");

    let by_first = first.stop().await;
    shared.is_shared(&[&second]).await;
    shared.publish(120..180);
    shared.written().await;
    assert_eq!(second.users().await, (0..180).collect());
    assert_eq!(by_first + second.stop().await, 180, "each by one");
}

async fn what_a_killed_replica_owned_is_written_by_another(dynamodb: Client) {
    let log = SimulatedLog::default();
    let shared = Shared::of(Arc::new(log.clone()));
    let is_dying = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let dies = Arc::clone(&is_dying);
    let dying = log.process(move |call| match call {
        Call::CommitPositions { .. } if dies.load(std::sync::atomic::Ordering::SeqCst) => {
            Fault::CrashBefore
        }
        _ => Fault::None,
    });

    let handle = OwnTopics::new(Arc::new(dying.clone()), &shared.ending);
    let killed = Replica::start(&dynamodb, handle).await;
    let other = shared.start(&dynamodb).await;
    shared.is_shared(&[&killed, &other]).await;
    shared.publish(0..60);
    shared.written().await;

    is_dying.store(true, std::sync::atomic::Ordering::SeqCst);
    shared.publish(60..120);
    assert!(killed.work.await.unwrap_err().is_panic());
    shared.publish(120..180);
    dying.expel();
    shared.written().await;

    assert_eq!(other.users().await, (0..180).collect());
    let twice = killed.service.written() + other.stop().await - 180;
    assert!(
        twice <= 60,
        "{twice}: at most the batch that was not stored"
    );
}

async fn a_listener_hears_of_all_rows_and_finds_each_in_the_list(dynamodb: Client) {
    let shared = simulated();
    let first = shared.start(&dynamodb).await;
    let second = shared.start(&dynamodb).await;
    shared.is_shared(&[&first, &second]).await;
    let mut streams = [first.listen(None).await, second.listen(None).await];
    shared.publish(0..40);

    for events in &mut streams {
        assert_eq!(heard(events).await.name, "ready");
        let mut users = BTreeSet::new();
        while users.len() < 40 {
            let user = user_of(&heard(events).await);
            let found = second.client.get(&format!("/analytics/users/{user}")).await;
            assert_eq!(
                found.body["items"].as_array().unwrap().len(),
                1,
                "user {user} is written"
            );
            assert!(users.insert(user), "each once");
        }
    }
    first.stop().await;
    second.stop().await;
}

async fn a_listener_resumes_at_another_replica(dynamodb: Client) {
    let shared = simulated();
    let first = shared.start(&dynamodb).await;
    let second = shared.start(&dynamodb).await;
    shared.is_shared(&[&first, &second]).await;
    shared.publish(0..40);

    let mut events = first.listen(None).await;
    let mut last_id = heard(&mut events).await.id;
    let mut users = BTreeSet::new();
    shared.publish(40..80);
    while users.len() < 30 {
        let event = heard(&mut events).await;
        users.insert(user_of(&event));
        last_id = event.id;
    }
    first.stop().await;

    shared.publish(80..100);
    let mut events = second.listen(Some(&last_id)).await;
    assert_eq!(heard(&mut events).await.name, "ready");
    while users.range(40..).count() < 60 {
        users.insert(user_of(&heard(&mut events).await));
    }
    second.stop().await;
}
