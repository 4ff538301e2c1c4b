//! The relay between a real database and a log that fails on request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::Request;
use chassis::auth::Auth;
use chassis::{Metrics, Shutdown};
use events::{ORDERS, OrderCreated};
use orders::{Parts, Refused, spawn_relay};
use record_log::RecordLog;
use record_log::simulated::{Call, Fault, SimulatedLog};
use tokio::task::{JoinError, JoinHandle};
use uuid::Uuid;

use crate::databases::on_each_database;
use crate::shop::Shop;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A relay of the shop.
struct Running {
    refused: Refused,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

fn start(shop: &Shop, log: Arc<dyn RecordLog>) -> Running {
    let shutdown = Shutdown::new();
    let parts = Parts {
        database: shop.database.clone(),
        log,
        auth: Auth::open(),
    };

    let parts = shop
        .service
        .relay_parts(&shop.config, &parts, &Metrics::new("orders"));

    Running {
        refused: parts.refused.clone(),
        task: spawn_relay(parts, shutdown.clone()),
        shutdown,
    }
}

impl Running {
    async fn stop(self) {
        self.shutdown.request();
        self.ended().await.unwrap();
    }

    /// Waits until it ends; returns an error if it was killed.
    async fn ended(self) -> Result<(), JoinError> {
        self.task.await
    }
}

async fn until_outbox_is_empty(shop: &Shop) {
    let emptied = async {
        while shop.count("outbox").await > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), emptied)
        .await
        .expect("the outbox was not emptied in time");
}

/// Asserts that the log contains every order in SQL exactly once.
async fn assert_published_once(shop: &Shop, log: &SimulatedLog) {
    let mut published = BTreeMap::new();
    for record in log.records(ORDERS) {
        let event: OrderCreated = serde_json::from_slice(&record.value.unwrap()).unwrap();
        *published.entry(event.order_id).or_insert(0) += 1;
    }

    let doubled: Vec<_> = published.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "published more than once: {doubled:?}");
    assert_eq!(published.len() as i64, shop.count("orders").await);
    assert_eq!(shop.count("outbox_batches").await, 0);
}

async fn place(shop: &Shop, lamp: Uuid, orders: usize) {
    for _ in 0..orders {
        shop.post(shop.order(&[(lamp, 1)])).await.id();
    }
}

async fn check(test: impl AsyncFn(Shop, Uuid)) {
    on_each_database(async |database| {
        let shop = Shop::open(database).await;
        let lamp = shop.catalogue.add(1999, "USD", 1_000_000);
        test(shop, lamp).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orders_event_has_its_user_as_key_and_the_envelope_headers() {
    check(async |shop, lamp| {
        let log = SimulatedLog::default();
        let relay = start(&shop, Arc::new(log.clone()));
        let request = Request::post("/orders").header("traceparent", TRACE);
        let order = shop.send(request, Some(shop.order(&[(lamp, 2)]))).await;
        until_outbox_is_empty(&shop).await;
        relay.stop().await;

        let record = log.records(ORDERS).pop().unwrap();
        assert_eq!(
            record.key.as_deref(),
            Some(shop.user_id.to_string().as_bytes())
        );

        let event: OrderCreated = serde_json::from_slice(&record.value.unwrap()).unwrap();
        assert_eq!(
            (
                event.order_id as i64,
                event.total_cents,
                event.items[0].quantity
            ),
            (order.id(), 3998, 2)
        );

        assert_eq!(event.created_at.to_string(), order.json()["created_at"]);
        let headers: BTreeMap<String, String> = record
            .headers
            .into_iter()
            .map(|(name, value)| (name, String::from_utf8(value).unwrap()))
            .collect();

        let id = event.event_id.to_string();
        let expected = [
            ("ce_id", id.as_str()),
            ("ce_source", "/orders"),
            ("ce_specversion", "1.0"),
            ("ce_type", "order.created"),
            ("traceparent", TRACE),
        ];

        assert_eq!(
            headers,
            expected
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into()
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_at_any_call_publishes_each_order_once() {
    check(async |shop, lamp| {
        let log = SimulatedLog::default();
        let mut deaths = 0;
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            for fatal in 0..8 {
                let calls = AtomicUsize::new(0);
                let doomed = log.process(move |_| match calls.fetch_add(1, Ordering::Relaxed) {
                    call if call == fatal => fault,
                    _ => Fault::None,
                });
                let relay = start(&shop, Arc::new(doomed));
                place(&shop, lamp, 3).await;

                assert!(
                    relay.ended().await.is_err(),
                    "it must die at its call number {fatal}"
                );
                deaths += 1;
            }
        }

        let relay = start(&shop, Arc::new(log.clone()));
        until_outbox_is_empty(&shop).await;
        relay.stop().await;

        assert_eq!(deaths, 16);
        assert_published_once(&shop, &log).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_a_reply_is_neither_lost_nor_doubled() {
    check(async |shop, lamp| {
        let log = SimulatedLog::default();
        let commits = AtomicUsize::new(0);
        let flaky = log.process(move |call| match call {
            Call::Commit { .. } => [Fault::LoseReply, Fault::Unavailable, Fault::None]
                [commits.fetch_add(1, Ordering::Relaxed) % 3],
            _ => Fault::None,
        });
        let relay = start(&shop, Arc::new(flaky));

        for _ in 0..6 {
            place(&shop, lamp, 4).await;
            until_outbox_is_empty(&shop).await;
        }

        until_outbox_is_empty(&shop).await;
        relay.stop().await;
        assert_published_once(&shop, &log).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn competing_relays_double_nothing_and_take_over() {
    check(async |shop, lamp| {
        let log = SimulatedLog::default();
        let relays: Vec<_> = (0..3)
            .map(|_| start(&shop, Arc::new(log.process(|_| Fault::None))))
            .collect();

        for relay in relays {
            place(&shop, lamp, 10).await;
            relay.stop().await;
        }

        let relay = start(&shop, Arc::new(log.clone()));
        until_outbox_is_empty(&shop).await;
        relay.stop().await;
        assert_published_once(&shop, &log).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_wait_while_the_log_is_unavailable() {
    check(async |shop, lamp| {
        let log = SimulatedLog::default();
        let away = Arc::new(AtomicBool::new(true));
        let is_away = Arc::clone(&away);

        let relay = start(
            &shop,
            Arc::new(log.process(move |_| {
                if is_away.load(Ordering::Relaxed) {
                    Fault::Unavailable
                } else {
                    Fault::None
                }
            })),
        );

        place(&shop, lamp, 5).await;
        assert_eq!(shop.count("outbox").await, 5);
        away.store(false, Ordering::Relaxed);
        until_outbox_is_empty(&shop).await;
        relay.stop().await;
        assert_published_once(&shop, &log).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_before_a_stop_is_published_by_it() {
    check(async |shop, lamp| {
        let log = SimulatedLog::default();
        // The shutdown is requested at various moments: while the relay looks for rows, publishes, or rests.
        for orders in 1..=20 {
            let relay = start(&shop, Arc::new(log.clone()));
            place(&shop, lamp, 1).await;
            until_outbox_is_empty(&shop).await;
            place(&shop, lamp, orders % 4).await;
            relay.stop().await;
            assert_published_once(&shop, &log).await;
        }

        assert_eq!(shop.count("outbox").await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_goes_on_publishing_although_the_log_fails_a_few_times() {
    check(async |shop, lamp| {
        let log = SimulatedLog::default();
        let commits = AtomicUsize::new(0);
        let flaky = log.process(move |call| match call {
            Call::Commit { .. } if commits.fetch_add(1, Ordering::Relaxed) < 3 => {
                Fault::Unavailable
            }
            _ => Fault::None,
        });

        place(&shop, lamp, 5).await;
        start(&shop, Arc::new(flaky)).stop().await;

        assert_eq!(shop.count("outbox").await, 0);
        assert_published_once(&shop, &log).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_order_wakes_an_idle_relay() {
    check(async |mut shop, lamp| {
        // Neither a poll nor the renewal of the lease is due while the test runs.
        shop.config.orders_relay_poll = Duration::from_secs(3600);
        shop.config.orders_relay_lease = Duration::from_secs(3 * 3600);
        let log = SimulatedLog::default();
        let relay = start(&shop, Arc::new(log.clone()));

        for _ in 0..5 {
            place(&shop, lamp, 1).await;
            until_outbox_is_empty(&shop).await;
        }

        relay.stop().await;
        assert_published_once(&shop, &log).await;
    })
    .await;
}

/// Waits for the refusal that stops the relay, and returns its sentence.
async fn sentence(refused: &Refused) -> String {
    let told = async {
        loop {
            if let Some(sentence) = refused.sentence() {
                return sentence;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told)
        .await
        .expect("the relay reported no refusal in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_refused_is_named_once_and_waits_in_the_outbox() {
    check(async |shop, lamp| {
        let log = SimulatedLog::default();
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tries);
        let guarded = log.process(move |call| {
            counted.fetch_add(
                usize::from(matches!(call, Call::Send { .. })),
                Ordering::SeqCst,
            );
            Fault::None
        });

        let relay = start(&shop, Arc::new(log.clone()));
        place(&shop, lamp, 2).await;
        until_outbox_is_empty(&shop).await;
        relay.stop().await;

        log.limit_records(ORDERS, 300);
        let relay = start(&shop, Arc::new(guarded));
        place(&shop, lamp, 3).await;
        let told = sentence(&relay.refused).await;
        for named in [
            "the event ",
            "outbox",
            "\"orders\"",
            "300 bytes",
            "max.message.bytes",
        ] {
            assert!(told.contains(named), "{named:?} in {told}");
        }

        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(
            tries.load(Ordering::SeqCst),
            1,
            "it must not be tried again so soon"
        );
        assert_eq!(shop.count("outbox").await, 3, "all events must be kept");
        relay.stop().await;

        // The setting is corrected.
        log.limit_records(ORDERS, 1_000_000);
        let relay = start(&shop, Arc::new(log.clone()));
        until_outbox_is_empty(&shop).await;
        relay.stop().await;
        assert_published_once(&shop, &log).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_a_right_goes_on_when_the_right_is_given() {
    check(async |mut shop, lamp| {
        shop.config.orders_relay_refused_wait = Duration::from_millis(20);
        for wanted in ["CREATE", "WRITE on transactional id", "WRITE on topic"] {
            let log = SimulatedLog::default();
            let is_denied = Arc::new(AtomicBool::new(true));
            let denied = Arc::clone(&is_denied);
            let guarded = log.process(move |call| {
                let is_it = match call {
                    Call::EnsureTopics => wanted == "CREATE",
                    Call::OpenPublisher { .. } => wanted == "WRITE on transactional id",
                    Call::Send { .. } => wanted == "WRITE on topic",
                    _ => false,
                };
                if is_it && denied.load(Ordering::SeqCst) {
                    Fault::Refused
                } else {
                    Fault::None
                }
            });

            let relay = start(&shop, Arc::new(guarded));
            place(&shop, lamp, 2).await;
            let told = sentence(&relay.refused).await;
            assert!(told.contains(wanted), "{wanted} in {told}");
            assert_eq!(shop.count("outbox").await, 2);

            is_denied.store(false, Ordering::SeqCst);
            until_outbox_is_empty(&shop).await;
            let refused = relay.refused.clone();
            relay.stop().await;
            assert_eq!(refused.sentence(), None);
            assert_eq!(log.records(ORDERS).len(), 2);
        }
    })
    .await;
}
