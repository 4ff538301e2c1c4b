//! The rights that a job needs: the least of them suffice, and each missing one is named.

use super::kafka::{SecuredKafka, TRANSACTIONAL_IDS};

pub fn the_least_rights_suffice(kafka: &SecuredKafka) {
    let login = kafka.login("alice", "alice-secret");
    let found = kafka.doctor("GOOD", &login, &[]);
    found.assert_code(0);
    assert!(found.failed().is_empty(), "{found:#?}");

    let expected = [
        "settings",
        "names",
        "TCP",
        "TLS",
        "SASL",
        "advertised",
        "ApiVersions",
        "topics",
        "ACLs",
        "transactions",
        "object store",
        "machine",
        "ports",
    ];
    assert_eq!(found.checks("passed"), expected);

    // The job needs no right that the doctor does not check.
    let output = kafka.run("GOOD", &login);
    assert!(output.status.success(), "{output:?}");
}

pub fn a_missing_right_is_named_with_its_command(kafka: &SecuredKafka) {
    let login = kafka.login("bob", "bob-secret");
    let found = kafka.doctor("GOOD", &login, &[]);
    found.assert_code(18);

    // Bob may not read orders, write results, or use the job's transactional ids.
    let read = "--add --allow-principal User:bob --operation Read --topic orders";
    let read = ["READ on topic \"orders\" is denied", read];
    found.assert_failed("ACLs", "cluster", &read);

    let ids = "--operation Write --transactional-id order-analytics-sink- --resource-pattern-type prefixed";
    let ids = ["transactional id \"order-analytics-sink-doctor\"", ids];
    found.assert_failed("ACLs", "cluster", &ids);
    found.assert_not_tried(&["transactions"]);

    kafka.allow("bob", &["Write"], &TRANSACTIONAL_IDS);
    let found = kafka.doctor("GOOD", &login, &[]);
    let write = "--operation Write --topic analytics-results";
    let write = ["WRITE on topic \"analytics-results\" is denied", write];
    found.assert_failed("ACLs", "cluster", &write);
    assert_eq!(found.failed().len(), 2, "{found:#?}");
}
