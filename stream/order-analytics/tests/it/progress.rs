//! The committed progress of the job is gone from Kafka, while the job is down or while it lives: results are replaced,
//! and none is repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use record_log::kafka::PROGRESS_TOPIC;
use record_log::{Cleanup, Delivery, NewRecord};

use crate::broker::{Broker, NEWEST, create_when_ready};
use crate::kafka::Shop;
use crate::lines::{assert_line, line_with};
use crate::living::{Living, SECONDS};

/// Writes a tombstone for every progress of the job, as compaction after its loss would show it. Returns their number.
fn lose_progress(shop: &Shop) -> usize {
    let own = format!("{}-sink-", shop.name);
    let mut keys = BTreeSet::new();
    for found in shop.found(PROGRESS_TOPIC) {
        let key = found.key.unwrap();
        if key.starts_with(own.as_bytes()) {
            keys.insert((found.partition, key));
        }
    }

    let id = format!("{}-tombstones", shop.name);
    let mut publisher = shop.log.publisher(&id, Delivery::Transactional).unwrap();
    for (partition, key) in &keys {
        let tombstone = NewRecord {
            topic: PROGRESS_TOPIC,
            partition: Some(*partition),
            key: Some(key),
            value: None,
            headers: &[],
        };
        publisher.send(tombstone).unwrap();
    }
    publisher.commit(b"").unwrap();

    keys.len()
}

/// The newest count of each user. Fails if a revision was published twice.
fn counts(shop: &Shop) -> BTreeMap<u64, u64> {
    let mut newest = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for row in shop.rows() {
        assert!(
            seen.insert((row.user_id, row.revision)),
            "a row is repeated under its revision: {row:?}"
        );
        newest.insert((row.user_id, row.revision), row.order_count);
    }

    newest
        .into_iter()
        .map(|((user, _), count)| (user, count))
        .collect()
}

#[test]
fn progress_that_kafka_has_lost_repeats_no_row_under_its_revision() {
    let Some(shop) = Shop::open() else {
        return;
    };

    shop.publish(&[1, 2, 2, 3, 3, 3]);
    shop.run(&[]).unwrap();
    let first = shop.await_rows(3).len();
    assert_eq!(first, 3);

    assert!(lose_progress(&shop) > 0, "the job keeps its progress there");
    shop.run(&[]).unwrap();
    // A lost progress is handled as a lost log: every row is replaced.
    let replaced = shop.await_rows(2 * first).len();
    assert_eq!(replaced, 2 * first);
    assert_eq!(counts(&shop), BTreeMap::from([(1, 1), (2, 2), (3, 3)]));

    shop.run(&[]).unwrap();
    assert_eq!(shop.rows().len(), replaced, "once is enough");
}

/// A mistake of an operator with the topic of progress.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Deleted,
    Recreated,
    /// Kafka refuses this to a compacted topic, so its policy is changed and changed back.
    Emptied,
}

impl Loss {
    fn happen(self, shop: &Shop, broker: &Broker) {
        let address = broker.address();
        let tool = |class: &str, arguments: &[&str]| {
            broker.tool(
                class,
                &[&["--bootstrap-server", &address], arguments].concat(),
            );
        };
        let topics = "org.apache.kafka.tools.TopicCommand";

        if matches!(self, Self::Emptied) {
            let file = broker.folder.path().join("emptied.json");
            fs::write(&file, emptied()).unwrap();
            let file = file.to_str().unwrap();
            set_policy(&tool, "delete");
            tool(
                "org.apache.kafka.tools.DeleteRecordsCommand",
                &["--offset-json-file", file],
            );
            return set_policy(&tool, "compact");
        }

        tool(topics, &["--delete", "--topic", PROGRESS_TOPIC]);
        shop.until_deleted(PROGRESS_TOPIC);
        if matches!(self, Self::Recreated) {
            let create = ["--create", "--topic", PROGRESS_TOPIC, "--partitions", "16"];
            let compacted = ["--config", "cleanup.policy=compact"];
            tool(topics, &[&create[..], &compacted].concat());
        }
    }
}

fn set_policy(tool: &dyn Fn(&str, &[&str]), policy: &str) {
    let policy = format!("cleanup.policy={policy}");
    let entity = ["--entity-type", "topics", "--entity-name", PROGRESS_TOPIC];
    let change = ["--alter", "--add-config", &policy];
    tool(
        "kafka.admin.ConfigCommand",
        &[&entity[..], &change].concat(),
    );
}

/// All records of all partitions, as the tool for deleting records expects them.
fn emptied() -> String {
    let partitions = (0..16).map(|partition| {
        serde_json::json!({"topic": PROGRESS_TOPIC, "partition": partition, "offset": -1})
    });
    let partitions: Vec<_> = partitions.collect();
    serde_json::json!({"partitions": partitions, "version": 1}).to_string()
}

#[test]
fn a_topic_of_progress_that_is_lost_repeats_no_row_and_is_named() {
    let Some(broker) = Broker::open(NEWEST, &[]) else {
        return;
    };

    for loss in [Loss::Deleted, Loss::Recreated, Loss::Emptied] {
        let shop = Shop::at(broker.address());
        create_when_ready(&*shop.log, &["ready"]);
        shop.create(&shop.input(), Cleanup::Delete);
        shop.publish(&[1, 2, 2, 3, 3, 3]);
        shop.run(&[]).unwrap();
        assert_eq!(shop.await_rows(3).len(), 3, "{loss:?}");

        loss.happen(&shop, &broker);
        let logged = shop.run_apart(&[]);
        assert_eq!(shop.await_rows(6).len(), 6, "{loss:?}");
        let expected = BTreeMap::from([(1, 1), (2, 2), (3, 3)]);
        assert_eq!(counts(&shop), expected, "{loss:?}");

        assert_line(
            &logged,
            &[
                "the progress of publishers is missing",
                PROGRESS_TOPIC,
                "higher revisions",
                "cleanup.policy=compact",
            ],
        );
    }
}

/// Beginnings of the sentences about progress that is gone: of publishers that are open, and of a start.
const NAMED: [&str; 2] = [
    "and the progress of publishers with it: keep this topic, with cleanup.policy=compact",
    "the progress of publishers is missing",
];

/// Loses the topic of progress under a job that lives, and kills the job when it has published more.
fn lose_under_a_living_job(broker: &Broker, client: &str, loss: Loss) {
    let shop = Shop::at(broker.address());
    create_when_ready(&*shop.log, &["ready"]);
    shop.create(&shop.input(), Cleanup::Delete);

    let mut living = Living::start(&shop, client);
    shop.publish(&[1, 2, 3, 4]);
    living.await_users(&[1, 2, 3]);
    loss.happen(&shop, broker);
    // A publisher that opens would create the topic.
    shop.produce(&[5, 6, 7, 8]);
    living.await_users(&[1, 2, 3, 4, 5, 6, 7]);
    let logged = living.logged();
    drop(living);

    let is_named = NAMED
        .iter()
        .any(|named| line_with(&logged, &[named, PROGRESS_TOPIC]).is_some());
    let must_be_named = matches!(loss, Loss::Deleted);
    assert!(is_named || !must_be_named, "{client} {loss:?}: {logged}");

    // The next life repeats nothing of the last one.
    shop.run(&SECONDS).unwrap();
    let newest = shop.windows();
    let users: Vec<u64> = newest.values().map(|(user, _)| *user).collect();
    assert_eq!(users, [1, 2, 3, 4, 5, 6, 7, 8], "{client} {loss:?}");
    assert!(newest.values().all(|(_, count)| *count == 1));
}

#[test]
fn a_topic_of_progress_lost_under_a_living_job_repeats_no_row() {
    let Some(broker) = Broker::open(NEWEST, &[]) else {
        return;
    };
    for loss in [Loss::Deleted, Loss::Recreated, Loss::Emptied] {
        lose_under_a_living_job(&broker, "native", loss);
    }
}

#[test]
fn a_topic_of_progress_lost_under_a_job_of_librdkafka_repeats_no_row() {
    let Some(broker) = Broker::open(NEWEST, &[]) else {
        return;
    };
    for loss in [Loss::Deleted, Loss::Recreated, Loss::Emptied] {
        lose_under_a_living_job(&broker, "rdkafka", loss);
    }
}

/// The progress that each publisher of the job carries, by its id.
fn carried(shop: &Shop) -> Vec<(String, Vec<u8>)> {
    let of_worker = |worker| {
        let id = format!("{}-sink-{worker}", shop.name);
        let publisher = shop.log.publisher(&id, Delivery::Transactional).unwrap();
        let progress = publisher.progress().unwrap().to_vec();
        (id, progress)
    };
    [0, 1].map(of_worker).into()
}

#[test]
fn progress_that_came_back_from_a_copy_repeats_no_row_and_is_named() {
    let Some(shop) = Shop::open() else {
        return;
    };

    shop.publish(&[1, 2, 3, 4]);
    shop.run(&SECONDS).unwrap();
    let older = carried(&shop);
    for users in [[5, 6, 7, 8], [9, 10, 11, 12]] {
        shop.publish(&users);
        shop.run(&SECONDS).unwrap();
    }
    shop.await_rows(12);

    for (id, progress) in older {
        let mut publisher = shop.log.publisher(&id, Delivery::Transactional).unwrap();
        publisher.commit(&progress).unwrap();
    }
    let logged = shop.run_apart(&SECONDS);

    assert_line(
        &logged,
        &[
            "or older than the checkpoint",
            PROGRESS_TOPIC,
            "restored",
            "higher revisions",
        ],
    );

    shop.publish(&[13]);
    let logged = shop.run_apart(&SECONDS);
    assert!(!logged.contains("or older"), "once is enough: {logged}");
    let users: Vec<u64> = shop.windows().into_values().map(|(user, _)| user).collect();
    assert_eq!(users, (1..=13).collect::<Vec<u64>>());
}

#[test]
fn a_lost_topic_of_progress_is_named_under_the_first_protocol_of_transactions() {
    let Some(broker) = Broker::open("3.9.1", &[]) else {
        return;
    };
    lose_under_a_living_job(&broker, "native", Loss::Deleted);
}
