//! The relay on a real Kafka, behind a network that loses requests and answers of its transactions, and with commits that
//! fail or whose outcome is in doubt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chassis::auth::Auth;
use chassis::{Metrics, Shutdown};
use events::{ORDERS, OrderCreated};
use orders::{Parts, spawn_relay};
use record_log::{LogSettings, Offset, RecordLog, Signal};
use testbed::{Fault, FaultyKafka, OwnTopics, broker_addresses};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::databases::SqliteFile;
use crate::shop::Shop;

/// The least and the greatest number of orders. Further ones are placed until each fault was met, because orders that
/// wait for the relay share a transaction.
const FEWEST: usize = 60;
const MOST: usize = 3_000;
/// The number of orders after which the relay is killed.
const LIFE: usize = 7;
/// The number of refused ends in a round of the proxy's faults: one commit that fails and two in doubt.
const REFUSED_IN_A_ROUND: usize = 3;
/// A time limit that is longer than the relay needs after all faults.
const PATIENCE: Duration = Duration::from_secs(120);

/// A relay of the shop.
struct Running {
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_order_is_published_once_while_answers_are_lost() {
    let Some(brokers) = broker_addresses("each_order_is_published_once_while_answers_are_lost")
    else {
        return;
    };
    let proxy = FaultyKafka::start(&brokers).unwrap();
    let file = SqliteFile::new();
    let shop = Shop::open(file.open()).await;
    let lamp = shop.catalogue.add(1999, "USD", 1_000_000);

    let ending = format!("-{}", Uuid::new_v4().simple());
    let faulty = open(proxy.address());
    let placed = publish(&shop, lamp, OwnTopics::new(faulty, &ending), &proxy).await;

    // librdkafka reads the published orders past the proxy, as an independent client.
    let direct = record_log::open(&LogSettings::Kafka {
        brokers,
        properties: Vec::new(),
    });
    let topic = format!("{ORDERS}{ending}");
    let published = read(&*direct.unwrap(), &topic);
    let doubled: Vec<_> = published.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "published more than once: {doubled:?}");
    assert_eq!(published.into_keys().collect::<BTreeSet<_>>(), placed);
    assert!(is_each_met(&proxy), "{:?}", proxy.met());
}

/// Returns `true` if the ends of transactions and the records of some have met each fault, and commits have failed and
/// been in doubt.
fn is_each_met(proxy: &FaultyKafka) -> bool {
    let met = proxy.met();
    let is_each_lost = [Fault::Lost, Fault::Unanswered, Fault::HeldBack]
        .into_iter()
        .all(|fault| {
            ["EndTxn", "Produce"]
                .iter()
                .all(|request| met.contains_key(&(*request, fault)))
        });
    let refused = met.get(&("EndTxn", Fault::Refused));
    is_each_lost && refused.is_some_and(|times| *times >= REFUSED_IN_A_ROUND)
}

fn open(brokers: String) -> Arc<dyn RecordLog> {
    let settings = LogSettings::NativeKafka {
        brokers,
        properties: Vec::new(),
    };
    record_log::open(&settings).unwrap()
}

/// Places orders while a relay publishes them, until each fault was met and nothing waits. Returns the orders' ids.
async fn publish(shop: &Shop, lamp: Uuid, log: OwnTopics, proxy: &FaultyKafka) -> BTreeSet<i64> {
    let log: Arc<dyn RecordLog> = Arc::new(log);
    let mut relay = start(shop, &log);

    let mut placed = BTreeSet::new();
    while placed.len() < FEWEST || (placed.len() < MOST && !is_each_met(proxy)) {
        placed.insert(shop.post(shop.order(&[(lamp, 1)])).await.id());
        if placed.len().is_multiple_of(LIFE) {
            // A killed relay may have a transaction on its way; its successor reads the progress.
            relay.task.abort();
            relay = start(shop, &log);
        }
    }
    let emptied = async {
        while shop.count("outbox").await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let emptied = tokio::time::timeout(PATIENCE, emptied).await;
    emptied.expect("the outbox was not emptied in time");

    relay.shutdown.request();
    relay.task.await.unwrap();
    placed
}

fn start(shop: &Shop, log: &Arc<dyn RecordLog>) -> Running {
    let shutdown = Shutdown::new();
    let parts = Parts {
        database: shop.database.clone(),
        log: Arc::clone(log),
        auth: Auth::open(),
    };
    let parts = shop
        .service
        .relay_parts(&shop.config, &parts, &Metrics::new("orders"));
    Running {
        task: spawn_relay(parts, shutdown.clone()),
        shutdown,
    }
}

/// Returns the number of committed events of each order.
fn read(log: &dyn RecordLog, topic: &str) -> BTreeMap<i64, usize> {
    let ranges = log.offsets(topic).unwrap();
    let from: Vec<(u32, Offset)> = (0..).zip(ranges.iter().map(|range| range.start)).collect();
    let mut reader = log.reader(topic, &from).unwrap();
    let signal = Signal::default();
    reader.on_readable(signal.wake());

    let mut published = BTreeMap::new();
    for ((partition, mut next), range) in from.into_iter().zip(ranges) {
        while next < range.end {
            let polled = reader.poll(partition, 100, &mut |record| {
                let event: OrderCreated = serde_json::from_slice(record.value.unwrap()).unwrap();
                *published.entry(event.order_id.cast_signed()).or_insert(0) += 1;
            });
            let reached = polled.unwrap().next_offset;
            if reached == next {
                signal.wait(Duration::from_secs(1));
            }
            next = reached;
        }
    }
    published
}
