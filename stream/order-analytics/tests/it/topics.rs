//! Topics that lose records or were recreated: each start ends with one sentence that names the topic and the remedy.

use std::process::Command;

use record_log::Cleanup;
use stream::JobError;

use crate::kafka::{Shop, jars, topic_tool};

#[test]
fn a_topic_that_compaction_would_empty_is_refused_with_the_command() {
    for kind in ["orders", "results", "late", "dead-letter"] {
        for (cleanup, policy) in [
            (Cleanup::Compact, "compact"),
            (Cleanup::CompactAndDelete, "compact,delete"),
        ] {
            let Some(shop) = Shop::without_topic() else {
                return;
            };
            let topic = shop.topic(kind);
            shop.create(&topic, cleanup);
            shop.create(&shop.input(), Cleanup::Delete);
            shop.publish(&[1, 2]);

            let refused = shop.run(&[]).unwrap_err();
            let sentence = refused.to_string();
            assert!(matches!(refused, JobError::Settings(_)), "{refused:?}");
            for named in [
                &format!("topic {topic:?} has cleanup.policy={policy},"),
                "kafka-configs.sh --bootstrap-server BROKERS --alter --entity-type topics",
                &format!("--entity-name {topic} --add-config cleanup.policy=delete"),
                "--allow-compaction",
            ] {
                assert!(sentence.contains(named), "{named:?} in {sentence}");
            }
            assert_eq!(shop.rows().len(), 0, "nothing was published");

            shop.run(&["--allow-compaction"]).unwrap();
            assert_eq!(shop.await_rows(2).len(), 2);
        }
    }
}

#[test]
fn source_settings_are_logged_and_new_topics_keep_every_row() {
    let Some(shop) = Shop::without_topic() else {
        return;
    };
    let Some(jars) = jars() else { return };

    let input = shop.input();
    let create = ["--create", "--topic", &input, "--partitions", "1"];
    let settings = [
        "--config",
        "message.timestamp.type=CreateTime",
        "--config",
        "max.message.bytes=123456",
        "--config",
        "retention.ms=7200000",
    ];
    topic_tool(&jars, &shop, &[&create[..], &settings].concat());
    shop.publish(&[1]);

    let output = Command::new(env!("CARGO_BIN_EXE_order-analytics"))
        .args(["--brokers", &shop.brokers, "--log", "info"])
        .args(shop.arguments(&[]))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");

    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.contains("the source topic's settings"))
        .collect();
    assert_eq!(lines.len(), 1, "{said}");
    for named in [&*input, "CreateTime", "123456", "delete", "7200000"] {
        assert!(lines[0].contains(named), "{named:?} in {}", lines[0]);
    }

    for created in ["results", "late", "dead-letter"] {
        let described = shop.log.describe(&shop.topic(created)).unwrap();
        assert_eq!(described.cleanup, Cleanup::Delete, "{created}");
    }
}

#[test]
fn a_recreated_topic_with_a_marker_at_the_anchor_is_refused() {
    let Some(shop) = Shop::open() else {
        return;
    };
    let Some(jars) = jars() else { return };

    // Offsets 0 and 1, and the marker of the transaction.
    shop.publish(&[1, 2]);
    shop.run(&[]).unwrap();
    assert_eq!(shop.await_rows(2).len(), 2);

    topic_tool(&jars, &shop, &["--delete", "--topic", &shop.input()]);
    shop.until_deleted(&shop.input());
    shop.create(&shop.input(), Cleanup::Delete);
    // Offset 0 and a marker at offset 1; then more than there was before.
    shop.publish(&[3]);
    shop.publish(&[4, 5, 6]);

    let refused = shop.run(&[]).unwrap_err();
    assert!(
        matches!(&refused, JobError::Position(sentence) if sentence.contains("deleted and recreated")),
        "{refused:?}"
    );
    assert_eq!(shop.rows().len(), 2, "nothing was published");
}
