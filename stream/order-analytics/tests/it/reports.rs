//! Public reports about logs that misbehave, on a real Kafka: a quiet partition, a wrong clock, an order that comes twice,
//! and a lateness that was raised.

use std::time::Duration;

use events::Timestamp;
use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::kafka::{PATIENCE, Shop, WINDOW_START_MS, order_at};
use crate::living::{Living, SECONDS};

const CLIENTS: [&str; 2] = ["native", "rdkafka"];
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const SECOND_MS: u64 = 1_000;
/// The time for which a job is down. An order that held results back by it would do so for ever.
const DOWN: Duration = Duration::from_secs(4);

/// Creates the topic of orders with other settings than the job's.
fn create(shop: &Shop, partitions: i32, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &shop.brokers)
        .create()
        .unwrap();
    let input = shop.input();
    let mut topic = NewTopic::new(&input, partitions, TopicReplication::Fixed(1));
    for (name, value) in settings {
        topic = topic.set(name, value);
    }
    let created = block_on(admin.create_topics([&topic], &AdminOptions::new()));
    created.unwrap().remove(0).unwrap();
}

/// Publishes an order that its producer has stamped with the time at which it was placed.
fn place(shop: &Shop, partition: i32, user: u64, placed_ms: u64) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &shop.brokers)
        .create()
        .unwrap();
    let input = shop.input();
    let key = user.to_string();
    let value = order_at(user, placed_ms, placed_ms);
    let record = BaseRecord::to(&input)
        .partition(partition)
        .key(&key)
        .payload(&value)
        .timestamp(placed_ms.cast_signed());
    producer.send(record).unwrap();
    producer.flush(PATIENCE).unwrap();
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

fn now_ms() -> u64 {
    Timestamp::now().as_ms()
}

/// The counts of a user, in windows whose newest revisions count.
fn counted(shop: &Shop, user: u64) -> u64 {
    let windows = shop.windows().into_values();
    let of_user = windows.filter(|(found, _)| *found == user);
    of_user.map(|(_, count)| count).sum()
}

#[test]
fn a_quiet_partition_with_an_old_order_holds_no_result_back() {
    for client in CLIENTS {
        let Some(shop) = Shop::without_topic() else {
            return;
        };
        create(&shop, 2, &[]);
        place(&shop, 0, 1, now_ms() - HOUR_MS);
        let mut living = Living::with(&shop, client, &["--idle-after", "2s"]);

        // The busy partition has an order for each look, as long as it takes.
        living.await_users_while(&[2], || place(&shop, 1, 2, now_ms()));
        drop(living);
        shop.run(&SECONDS).unwrap();
        assert_eq!(shop.found(&shop.topic("late")).len(), 0, "{client}");
    }
}

#[test]
fn an_order_of_a_wrong_clock_makes_no_good_one_late() {
    let Some(shop) = Shop::without_topic() else {
        return;
    };
    // Brokers before 4.0 take any time of a producer.
    let any_time = ("message.timestamp.after.max.ms", "9223372036854775807");
    let by_producers = ("message.timestamp.type", "CreateTime");
    create(&shop, 1, &[any_time, by_producers]);
    let strict = [&SECONDS[..], &["--allowed-lateness", "0s"]].concat();

    let now_ms = now_ms();
    place(&shop, 0, 1, now_ms - 30_000);
    place(&shop, 0, 9, now_ms + DAY_MS);
    // Between two runs, event time advances to the latest time that is accepted.
    shop.run(&strict).unwrap();
    for second in 0..10 {
        place(&shop, 0, 2, now_ms - 20_000 + second * 1_000);
    }
    shop.run(&strict).unwrap();

    assert_eq!((counted(&shop, 1), counted(&shop, 2)), (1, 10));
    assert_eq!(counted(&shop, 9), 0);
    assert_eq!(shop.found(&shop.topic("late")).len(), 0);
    let dead = shop.found(&shop.topic("dead-letter"));
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].key.as_deref(), Some(&b"9"[..]));
}

#[test]
fn an_order_that_comes_twice_is_counted_once() {
    let Some(shop) = Shop::open() else {
        return;
    };
    let order = order_at(7, 1, WINDOW_START_MS);
    for _ in 0..2 {
        shop.produce_raw(order.as_bytes());
    }
    shop.run(&[]).unwrap();
    assert_eq!(counted(&shop, 7), 1);

    // A later order closes the window, and the next start reads from there on.
    shop.produce_raw(order_at(8, 2, WINDOW_START_MS + HOUR_MS / 4).as_bytes());
    shop.run(&[]).unwrap();

    // The window can still be corrected, so its orders are known after a restart.
    shop.produce_raw(order.as_bytes());
    shop.run(&[]).unwrap();
    assert_eq!(counted(&shop, 7), 1);
    assert_eq!(shop.found(&shop.topic("dead-letter")).len(), 0);
}

#[test]
fn a_lateness_that_is_raised_between_starts_forgets_no_order() {
    let Some(shop) = Shop::open() else {
        return;
    };
    let minute = |second| WINDOW_START_MS + second * 1_000;
    for second in 0..5 {
        shop.produce_raw(order_at(7, second, minute(second)).as_bytes());
    }
    shop.produce_raw(order_at(8, 5, minute(600)).as_bytes());
    shop.run(&["--allowed-lateness", "0s"]).unwrap();
    assert_eq!(counted(&shop, 7), 5);

    shop.produce_raw(order_at(7, 6, minute(6)).as_bytes());
    shop.run(&["--allowed-lateness", "1h"]).unwrap();
    // No revision is there twice, and the order corrects the count or is late.
    let late = shop.found(&shop.topic("late")).len() as u64;
    assert_eq!(counted(&shop, 7) + late, 6);
}

/// Publishes an order that the broker stamps.
fn place_now(shop: &Shop, partition: i32, user: u64) {
    place(shop, partition, user, now_ms());
}

#[test]
fn an_order_placed_while_the_job_was_down_holds_no_result_back() {
    let shops: Vec<Shop> = CLIENTS
        .iter()
        .filter_map(|_| Shop::without_topic())
        .collect();
    for shop in &shops {
        create(shop, 2, &[("message.timestamp.type", "LogAppendTime")]);
        place_now(shop, 0, 1);
        place_now(shop, 1, 1);
        shop.run(&SECONDS).unwrap();
        place_now(shop, 0, 3);
    }
    // The jobs are down.
    std::thread::sleep(DOWN);

    std::thread::scope(|scope| {
        for (shop, client) in shops.iter().zip(CLIENTS) {
            scope.spawn(move || holds_no_result_back(shop, client));
        }
    });
}

/// Starts the job again, and waits for a result that is newer than the order of the quiet partition.
fn holds_no_result_back(shop: &Shop, client: &str) {
    // No partition becomes idle, so only its end moves the event time of the quiet one.
    let mut living = Living::with(shop, client, &["--idle-after", "1h"]);
    living.until("a row of the last seconds", |_| {
        place_now(shop, 1, 2);
        let newest_ms = shop.rows().iter().map(|row| row.window_start.as_ms()).max();
        newest_ms.is_some_and(|newest_ms| now_ms() < newest_ms + SECOND_MS + as_ms(DOWN))
    });

    assert_eq!(counted(shop, 3), 1, "{client}");
    assert_eq!(shop.found(&shop.topic("late")).len(), 0, "{client}");
}
