//! Replicas share the orders: each is consumed by one of them. An order that two replicas consume makes one message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use notifications::NOTIFICATIONS;
use record_log::simulated::{Call, Fault};
use testbed::{OwnTopics, Writes};

use super::*;
use crate::email::Post;
use crate::mail_server::MailServer;

testbed::on_both_dynamodbs!(
    each_order_is_kept_by_one_of_three_replicas,
    two_that_own_the_same_orders_send_one_message_for_each,
    what_a_killed_replica_owned_is_told_by_another,
);

const PARTITIONS: u32 = 6;

/// A replica with a count of its writes.
struct Replica {
    log: OwnTopics,
    writes: Writes,
    service: Arc<Service>,
    shutdown: EndsWithTest,
    work: JoinHandle<()>,
}

impl Replica {
    async fn start(dynamodb: &Client, log: OwnTopics, config: &Config) -> Self {
        let shutdown = Shutdown::new();
        let counted = Writes::of(dynamodb, NOTIFICATIONS, "order_id");
        let parts = Parts {
            dynamodb: counted.0,
            log: Arc::new(log.clone()),
            auth: Auth::open(),
        };
        let metrics = Metrics::new("notifications");
        let service = Service::new(config, parts, &metrics, shutdown.clone()).unwrap();
        let service = Arc::new(service);
        service.prepare().await;

        let consuming = Arc::clone(&service);
        let work = tokio::spawn(async move { consuming.consume().await });
        Self {
            log,
            writes: counted.1,
            service,
            shutdown: EndsWithTest(shutdown),
            work,
        }
    }

    /// Stops the replica, and returns the events whose notifications it tried to store.
    async fn stop(self) -> BTreeSet<String> {
        self.shutdown.0.request();
        self.work.await.unwrap();
        self.writes.put()
    }
}

fn create_topic(log: &dyn RecordLog) {
    let spec = TopicSpec {
        name: ORDERS.to_owned(),
        partitions: PARTITIONS,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(3600),
    };
    log.ensure_topics(&[spec]).unwrap();
}

fn publish_to(log: &dyn RecordLog, topic: &str, orders: std::ops::Range<u64>) {
    let mut publisher = log.publisher(topic, Delivery::AtLeastOnce).unwrap();
    for number in orders {
        let key = number.to_string();
        let value = serde_json::to_vec(&order(number, number % 50 + 1, 0)).unwrap();
        let record = NewRecord {
            topic,
            partition: None,
            key: Some(key.as_bytes()),
            value: Some(&value),
            headers: &[],
        };
        publisher.send(record).unwrap();
    }
    publisher.commit(&[]).unwrap();
}

/// Waits until `holds` returns true.
async fn until(what: &str, holds: impl Fn() -> bool + Send + Clone + 'static) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !tokio::task::spawn_blocking(holds.clone()).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "not in time: {what}");
}

/// Waits until the group of this handle has consumed all published orders.
async fn consumed(log: &OwnTopics) {
    let log = log.clone();
    until("all is consumed", move || {
        let stored = log.committed("notifications", ORDERS).unwrap();
        let stored: BTreeMap<u32, u64> = stored.into_iter().collect();
        let ends = log.offsets(ORDERS).unwrap();
        let mut ends = (0..).zip(ends).filter(|(_, range)| range.end > 0);
        ends.all(|(partition, range)| {
            stored
                .get(&partition)
                .is_some_and(|next| *next >= range.end)
        })
    })
    .await;
}

/// Waits until each partition has one owner and each replica owns some.
async fn is_shared(replicas: &[&Replica]) {
    let logs: Vec<_> = replicas.iter().map(|replica| replica.log.clone()).collect();
    until("the partitions are shared", move || {
        let shares: Vec<_> = logs.iter().map(|log| log.owned(ORDERS)).collect();
        let mut all: Vec<u32> = shares.concat();
        all.sort_unstable();
        all == (0..PARTITIONS).collect::<Vec<_>>() && shares.iter().all(|share| !share.is_empty())
    })
    .await;
}

async fn each_order_is_kept_by_one_of_three_replicas(dynamodb: Client) {
    keep_by_three(Arc::new(SimulatedLog::default()), &dynamodb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_kafka_each_order_is_kept_by_one_of_three_replicas() {
    if let Some(log) = testbed::brokers("on_kafka_each_order_is_kept_by_one_of_three_replicas") {
        keep_by_three(log, &testbed::embedded().await).await;
    }
}

async fn keep_by_three(log: Arc<dyn RecordLog>, dynamodb: &Client) {
    let ending = format!("-{}", Uuid::new_v4().simple());
    let handle = || OwnTopics::new(Arc::clone(&log), &ending);
    create_topic(&handle());
    let config = Config::default();
    let first = Replica::start(dynamodb, handle(), &config).await;
    let second = Replica::start(dynamodb, handle(), &config).await;
    let third = Replica::start(dynamodb, handle(), &config).await;
    is_shared(&[&first, &second, &third]).await;

    publish_to(&*log, &handle().name(ORDERS), 0..90);
    consumed(&handle()).await;
    let writes = [first.stop().await, second.stop().await, third.stop().await];
    let counts = writes.map(|orders| orders.len());
    assert_eq!(counts.iter().sum::<usize>(), 90, "each by one: {counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

async fn two_that_own_the_same_orders_send_one_message_for_each(dynamodb: Client) {
    let server = MailServer::open(&[]).await;
    let config = Post::by(server.url()).await.config;
    let log = Arc::new(SimulatedLog::default());
    let handle = |group: &str| OwnTopics::new(log.clone(), "").alone(group);
    create_topic(&*log);
    let first = Replica::start(&dynamodb, handle("-a"), &config).await;
    let second = Replica::start(&dynamodb, handle("-b"), &config).await;

    publish_to(&*log, ORDERS, 0..40);
    let sending = [&first.service, &second.service].map(Arc::clone);
    let sent = async {
        while server.mails().len() < 40 {
            let each = tokio::join!(sending[0].send_due(), sending[1].send_due());
            each.0.unwrap();
            each.1.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), sent)
        .await
        .unwrap();
    consumed(&handle("-a")).await;
    consumed(&handle("-b")).await;
    let last = tokio::join!(first.service.send_due(), second.service.send_due());
    assert_eq!(
        (last.0.unwrap(), last.1.unwrap()),
        (0, 0),
        "nothing is left to send"
    );

    let mails = server.mails();
    let ids: BTreeSet<&str> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
    assert_eq!((mails.len(), ids.len()), (40, 40));
    let tried = [first.stop().await.len(), second.stop().await.len()];
    assert_eq!(tried, [40, 40], "both tried to store each");
}

async fn what_a_killed_replica_owned_is_told_by_another(dynamodb: Client) {
    let log = SimulatedLog::default();
    let is_dying = Arc::new(AtomicBool::new(false));
    let dies = Arc::clone(&is_dying);
    let dying = log.process(move |call| match call {
        Call::CommitPositions { .. } if dies.load(Ordering::SeqCst) => Fault::CrashBefore,
        _ => Fault::None,
    });
    create_topic(&log);

    let config = Config::default();
    let killed = OwnTopics::new(Arc::new(dying.clone()), "");
    let killed = Replica::start(&dynamodb, killed, &config).await;
    let living = OwnTopics::new(Arc::new(log.clone()), "");
    let other = Replica::start(&dynamodb, living.clone(), &config).await;
    is_shared(&[&killed, &other]).await;

    publish_to(&log, ORDERS, 0..30);
    consumed(&living).await;
    is_dying.store(true, Ordering::SeqCst);
    publish_to(&log, ORDERS, 30..60);
    assert!(killed.work.await.unwrap_err().is_panic());
    publish_to(&log, ORDERS, 60..90);
    dying.expel();
    consumed(&living).await;

    let told = TestClient::new(other.service.router())
        .get("/notifications?limit=100")
        .await;
    assert_eq!(told.body["items"].as_array().unwrap().len(), 90);
    let twice = killed.writes.put().len() + other.stop().await.len() - 90;
    assert!(
        twice <= 30,
        "{twice}: at most the batch that was not stored"
    );
}
