//! The doctor on a Kafka of this test's own, with TLS, SCRAM and ACLs: the least rights suffice, and each fault ends in
//! one sentence with its owner, its remedy and its exit code.

mod connections;
mod findings;
mod iam;
mod kafka;
mod rights;
mod topics;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::store::{self, Conditions};
use kafka::SecuredKafka;

/// One case of the suite. All cases run on the same broker, in this order.
type Case = (&'static str, fn(&SecuredKafka));

const CASES: [Case; 11] = [
    ("least rights", rights::the_least_rights_suffice),
    (
        "missing right",
        rights::a_missing_right_is_named_with_its_command,
    ),
    (
        "wrong password",
        connections::a_wrong_password_is_named_and_not_shown,
    ),
    (
        "unsupported mechanism",
        connections::an_unsupported_mechanism_is_named,
    ),
    (
        "certificate",
        connections::a_certificate_that_does_not_fit_is_named,
    ),
    ("address", connections::an_address_without_a_broker_is_named),
    ("topic", topics::a_topic_that_does_not_fit_is_named),
    ("compacted topic", topics::a_compacted_topic_can_be_allowed),
    (
        "missing topic",
        topics::a_topic_that_can_be_created_is_no_fault_and_is_not_created,
    ),
    (
        "transactions",
        topics::a_time_limit_beyond_the_brokers_is_named,
    ),
    ("store", a_store_that_ignores_conditions_is_named),
];

#[test]
fn each_fault_of_a_secured_kafka_ends_in_its_sentence() {
    let Some(kafka) = SecuredKafka::start() else {
        return;
    };

    // The other cases run even if one fails.
    let fails = |case: fn(&SecuredKafka)| catch_unwind(AssertUnwindSafe(|| case(&kafka))).is_err();
    let failed = CASES.iter().filter(|(_, case)| fails(*case));
    let failed: Vec<&str> = failed.map(|(name, _)| *name).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

fn a_store_that_ignores_conditions_is_named(kafka: &SecuredKafka) {
    let endpoint = format!("http://{}", store::serve(Conditions::Honoured));
    kafka.doctor_of_store(&endpoint).assert_code(0);

    let endpoint = format!("http://{}", store::serve(Conditions::Ignored));
    let found = kafka.doctor_of_store(&endpoint);
    found.assert_code(20);

    let named = [
        "overwrites checkpoints/order-analytics/trials/",
        "use a store that honours them",
    ];
    found.assert_failed("object store", "store", &named);
}
