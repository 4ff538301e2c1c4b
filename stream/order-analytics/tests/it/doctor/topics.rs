//! The topics that the job reads and publishes to, and the time limit of its transactions.

use super::kafka::SecuredKafka;

pub fn a_topic_that_does_not_fit_is_named(kafka: &SecuredKafka) {
    for (flags, named) in [
        (
            ["--input-topic", "nowhere"],
            &[
                "\"nowhere\", which the job reads, does not exist",
                "kafka-topics.sh",
                "--create --topic nowhere",
            ][..],
        ),
        (
            ["--output-topic", "compacted"],
            &[
                "cleanup.policy=compact",
                "--entity-name compacted --add-config cleanup.policy=delete",
            ],
        ),
        (
            ["--allowed-lateness", "2h"],
            &[
                "keeps records for 1h, less than the --allowed-lateness of 2h",
                "retention.ms=",
            ],
        ),
    ] {
        let found = kafka.doctor("OPEN", &[], &flags);
        found.assert_code(17);
        found.assert_failed("topics", "cluster", named);
    }
}

pub fn a_compacted_topic_can_be_allowed(kafka: &SecuredKafka) {
    let flags = ["--output-topic", "compacted", "--allow-compaction"];
    kafka.doctor("OPEN", &[], &flags).assert_code(0);
}

pub fn a_topic_that_can_be_created_is_no_fault_and_is_not_created(kafka: &SecuredKafka) {
    let found = kafka.doctor("OPEN", &[], &["--output-topic", "not-there-yet"]);
    found.assert_code(0);

    let sentence = "not-there-yet can be created";
    assert!(found.text.contains(sentence), "{found:#?}");
    assert!(kafka.open().partitions("not-there-yet").is_err());
}

pub fn a_time_limit_beyond_the_brokers_is_named(kafka: &SecuredKafka) {
    let hour = "transaction.timeout.ms=3600000".to_owned();
    let found = kafka.doctor("OPEN", &[hour], &[]);
    found.assert_code(19);

    let named = ["transaction.max.timeout.ms", "transaction.timeout.ms=N"];
    found.assert_failed("transactions", "job", &named);
}
