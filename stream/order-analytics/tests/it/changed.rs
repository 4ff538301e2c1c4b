//! Topics that change under a living job of either client: deleted, recreated, emptied, grown, or with other settings.
//! After some changes the job goes on. After the others it ends with one sentence that names the topic, and its next start
//! goes on.
//! No order is lost and no row is repeated.

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use record_log::Cleanup;
use record_log::kafka::PROGRESS_TOPIC;

use crate::broker::{Broker, NEWEST, create_when_ready};
use crate::kafka::Shop;
use crate::lines::assert_line;
use crate::living::{Living, SECONDS};
use crate::too_large::noise;

const CLIENTS: [&str; 2] = ["native", "rdkafka"];

/// An operator of the brokers.
struct Operator(AdminClient<DefaultClientContext>);

impl Operator {
    fn of(shop: &Shop) -> Self {
        let client = ClientConfig::new()
            .set("bootstrap.servers", &shop.brokers)
            .create();
        Self(client.unwrap())
    }

    /// Gives a topic these settings, and all others their defaults.
    fn set(&self, topic: &str, settings: &[(&str, &str)]) {
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (name, value) in settings {
            change = change.set(name, value);
        }
        let changed = block_on(self.0.alter_configs([&change], &AdminOptions::new()));
        changed.unwrap().remove(0).unwrap();
    }

    fn delete(&self, topic: &str) {
        let deleted = block_on(self.0.delete_topics(&[topic], &AdminOptions::new()));
        deleted.unwrap().remove(0).unwrap();
    }

    fn delete_before(&self, topic: &str, offset: i64) {
        let mut before = TopicPartitionList::new();
        before
            .add_partition_offset(topic, 0, Offset::Offset(offset))
            .unwrap();
        block_on(self.0.delete_records(&before, &AdminOptions::new())).unwrap();
    }

    fn grow(&self, topic: &str, partitions: usize) {
        let more = NewPartitions::new(topic, partitions);
        let grown = block_on(self.0.create_partitions([&more], &AdminOptions::new()));
        grown.unwrap().remove(0).unwrap();
    }
}

/// A shop on the test's broker, with a topic of orders.
fn open_shop(broker: &Broker) -> Shop {
    let shop = Shop::at(broker.address());
    create_when_ready(&*shop.log, &["ready"]);
    shop.create(&shop.input(), Cleanup::Delete);
    shop
}

/// A job of one client that lives, after the first three of four orders were counted.
struct Changed<'a> {
    client: &'static str,
    shop: &'a Shop,
    living: Living<'a>,
    operator: Operator,
}

/// A change of topics, and the expected outcome for the job.
type Change = fn(Changed);

/// Tries changes under jobs of both clients, each in a shop of its own.
fn try_all(changes: &[Change]) {
    let Some(broker) = Broker::open(NEWEST, &[]) else {
        return;
    };
    for (change, client) in changes
        .iter()
        .flat_map(|change| CLIENTS.map(|client| (change, client)))
    {
        let shop = open_shop(&broker);
        let mut living = Living::start(&shop, client);
        shop.publish(&[1, 2, 3, 4]);
        living.await_users(&[1, 2, 3]);
        change(Changed {
            client,
            shop: &shop,
            living,
            operator: Operator::of(&shop),
        });
    }
}

impl Changed<'_> {
    /// Waits until the job has ended, with one line that contains all of these.
    fn assert_ends(&mut self, named: &[&str]) {
        let ended = self.living.await_end();
        let logged = self.living.logged();
        assert!(!ended.success(), "{logged}");
        assert_line(&logged, named);
    }

    /// Runs the job once more, and checks that each of this many orders counts once.
    fn assert_counted(&self, orders: u64) {
        self.shop.run(&SECONDS).unwrap();
        let newest = self.shop.windows();
        let users: Vec<u64> = newest.values().map(|(user, _)| *user).collect();
        assert_eq!(users, (1..=orders).collect::<Vec<u64>>(), "{}", self.client);
        assert!(newest.values().all(|(_, count)| *count == 1));
    }
}

#[test]
fn orders_whose_topic_changes_are_counted_once_or_named() {
    try_all(&[are_recreated, expire, get_other_times, get_partitions]);
}

#[test]
fn topics_of_output_that_change_cost_no_order() {
    try_all(&[lose_results, lose_dead_letters, take_no_row, take_less]);
}

/// Topics lose records by compaction, and that of progress by deletion. The job looks at the policies once a minute.
#[test]
fn topics_whose_policy_begins_to_lose_records_are_named() {
    let Some(broker) = Broker::open(NEWEST, &[]) else {
        return;
    };
    let shops = CLIENTS.map(|_| open_shop(&broker));
    let mut jobs: Vec<_> = CLIENTS
        .into_iter()
        .zip(&shops)
        .map(|(client, shop)| Living::start(shop, client))
        .collect();
    for (shop, job) in shops.iter().zip(&mut jobs) {
        shop.publish(&[1, 2, 3, 4]);
        job.await_users(&[1, 2, 3]);
    }

    let compacted = |shop: &Shop| [shop.input(), shop.topic("results")];
    for shop in &shops {
        let operator = Operator::of(shop);
        let policy = [("cleanup.policy", "compact,delete")];
        compacted(shop)
            .iter()
            .for_each(|it| operator.set(it, &policy));
        operator.set(PROGRESS_TOPIC, &[("cleanup.policy", "delete")]);
    }
    for (shop, job) in shops.iter().zip(&mut jobs) {
        for topic in compacted(shop) {
            let named = format!("{topic:?} has cleanup.policy=compact,delete");
            // In a line of JSON, quotes have backslashes.
            let named = named.replace('"', "\\\"");
            job.await_line(&["ERROR", &named, "--allow-compaction"]);
        }
        let policy = "has cleanup.policy=delete";
        let remedy = "--add-config cleanup.policy=compact";
        job.await_line(&["ERROR", PROGRESS_TOPIC, policy, remedy]);
        let named = job.logged().matches("has cleanup.policy=").count();
        assert_eq!(named, 3, "each is named once: {}", job.logged());
    }
}

/// The new topic has more records than the old one, so that the position exists.
fn are_recreated(mut changed: Changed) {
    let input = changed.shop.input();
    changed.living.freeze();
    changed.operator.delete(&input);
    changed.shop.until_deleted(&input);
    changed.shop.create(&input, Cleanup::Delete);
    changed.shop.publish(&[5, 6, 7, 8, 9, 10]);
    changed.living.thaw();

    changed.assert_ends(&[&input, "deleted and created again"]);
}

fn expire(mut changed: Changed) {
    let input = changed.shop.input();
    changed.living.freeze();
    changed.shop.publish(&[5, 6, 7, 8]);
    changed.operator.delete_before(&input, 7);
    changed.living.thaw();

    changed.assert_ends(&[&input, "partition 0", "offset 5"]);
}

/// Producers set the times in the log from now on.
fn get_other_times(mut changed: Changed) {
    let times = [("message.timestamp.type", "CreateTime")];
    changed.operator.set(&changed.shop.input(), &times);
    changed.shop.produce(&[5, 6]);

    changed.living.await_users(&[5]);
    changed
        .living
        .await_line(&["times of the records", "CreateTime"]);
    changed.assert_counted(6);
}

fn get_partitions(mut changed: Changed) {
    changed.operator.grow(&changed.shop.input(), 3);
    changed.living.await_line(&["partitions were added"]);
    changed.shop.publish(&[5, 6]);

    changed.living.await_users(&[5]);
    changed.assert_counted(6);
}

fn lose_results(mut changed: Changed) {
    let results = changed.shop.topic("results");
    changed.operator.delete(&results);
    changed.shop.until_deleted(&results);
    changed.shop.produce(&[5, 6]);

    // librdkafka fails in a way after which the next attempt creates the topic. The brokers name none of the topics.
    if changed.client == "native" {
        changed.assert_ends(&[&results, "create it"]);
        changed.shop.run(&SECONDS).unwrap();
    } else {
        changed
            .living
            .await_line(&["WARN", &results, "does not exist, or was deleted"]);
        changed.living.await_users(&[5]);
        let logged = changed.living.logged();
        let summaries = changed.shop.topic("summaries");
        // Its records may time out with those of the lost topic. The summaries' topic itself exists. In a line of JSON,
        // quotes have backslashes.
        let wrong = format!("{summaries}\\\" does not exist");
        assert!(!logged.contains(&wrong), "{logged}");
        drop(changed.living);
        changed.shop.run(&SECONDS).unwrap();
    }
    let users: Vec<u64> = changed
        .shop
        .windows()
        .into_values()
        .map(|it| it.0)
        .collect();
    assert!(users.ends_with(&[5, 6]), "{users:?}");
}

fn lose_dead_letters(mut changed: Changed) {
    let dead = changed.shop.topic("dead-letter");
    changed.operator.delete(&dead);
    changed.shop.until_deleted(&dead);
    changed.shop.produce_raw(b"?");
    changed.assert_ends(&[&dead, "create it"]);

    changed.shop.publish(&[5]);
    changed.assert_counted(5);
    assert_eq!(changed.shop.found(&dead).len(), 1);
}

/// The limit of records becomes smaller than a row.
fn take_no_row(mut changed: Changed) {
    let results = changed.shop.topic("results");
    changed
        .operator
        .set(&results, &[("max.message.bytes", "100")]);
    changed.shop.produce(&[5, 6]);
    changed.assert_ends(&[&results, "max.message.bytes"]);

    changed.operator.set(&results, &[]);
    changed.assert_counted(6);
}

/// The limit of records becomes smaller than a dead letter. The next start carries a part of it.
fn take_less(mut changed: Changed) {
    let dead = changed.shop.topic("dead-letter");
    changed
        .operator
        .set(&dead, &[("max.message.bytes", "20000")]);
    changed.shop.produce_raw(&noise(100_000));
    changed.assert_ends(&[&dead, "max.message.bytes"]);

    changed.shop.publish(&[5]);
    changed.assert_counted(5);
    let found = changed.shop.found(&dead);
    assert_eq!(found.len(), 1);
    let carried = found[0].value.as_ref().unwrap().len();
    assert!(carried < 20_000 && carried > 10_000, "{carried}");
}
