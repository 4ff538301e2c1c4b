//! Connections to a broker: its name, its address, its certificate and the login.

use super::kafka::SecuredKafka;
use crate::broker::free_ports;

/// The checks that need a session with a broker.
const BEHIND_A_LOGIN: [&str; 5] = [
    "advertised",
    "ApiVersions",
    "topics",
    "ACLs",
    "transactions",
];

pub fn a_wrong_password_is_named_and_not_shown(kafka: &SecuredKafka) {
    let login = kafka.login("alice", "wrong");
    let found = kafka.doctor("GOOD", &login, &[]);
    found.assert_code(14);

    let command =
        "--entity-type users --entity-name alice --add-config 'SCRAM-SHA-512=[password=PASSWORD]'";
    let named = ["correct sasl.username or sasl.password", command];
    found.assert_failed("SASL", "job", &named);
    found.assert_not_tried(&BEHIND_A_LOGIN);
    assert!(!found.text.contains("wrong\""), "{found:#?}");
}

pub fn an_unsupported_mechanism_is_named(kafka: &SecuredKafka) {
    let mut login = kafka.login("alice", "alice-secret");
    login.push("sasl.mechanism=GSSAPI".to_owned());

    let found = kafka.doctor("GOOD", &login, &[]);
    found.assert_code(10);
    found.assert_failed("settings", "job", &["SCRAM-SHA-512, OAUTHBEARER"]);
}

pub fn a_certificate_that_does_not_fit_is_named(kafka: &SecuredKafka) {
    let login = kafka.login("alice", "alice-secret");
    let mut foreign = login.clone();
    foreign.retain(|property| !property.starts_with("ssl.ca.location"));
    foreign.push(format!("ssl.ca.location={}", kafka.file("foreign.pem")));

    let untrusted = "authority that this client does not trust";
    for (listener, properties, owner, named) in [
        ("GOOD", &foreign, "job", [untrusted, "ssl.ca.location=FILE"]),
        (
            "EXPIRED",
            &login,
            "cluster",
            ["has expired", "openssl x509 -noout -dates"],
        ),
        (
            "MISNAMED",
            &login,
            "job",
            ["for other.example", "subjectAltName"],
        ),
    ] {
        let found = kafka.doctor(listener, properties, &[]);
        found.assert_code(13);
        found.assert_failed("TLS", owner, &named);
        found.assert_not_tried(&[&["SASL"], &BEHIND_A_LOGIN[..]].concat());
    }
}

pub fn an_address_without_a_broker_is_named(kafka: &SecuredKafka) {
    let [free] = free_ports();
    let login = kafka.login("alice", "alice-secret");
    let found = kafka.doctor_at(&format!("localhost:{free}"), &login, &[]);
    found.assert_code(12);
    let command = format!("nc -vz localhost {free}");
    found.assert_failed("TCP", "job", &["nothing listens at", &command]);

    let found = kafka.doctor_at("nowhere.invalid:9092", &login, &[]);
    found.assert_code(11);
    let named = ["\"nowhere.invalid\" cannot be resolved", "getent hosts"];
    found.assert_failed("names", "job", &named);

    // A job starts if one of its two brokers is reached.
    let both = format!("nowhere.invalid:9092,{}", kafka.address("GOOD"));
    let found = kafka.doctor_at(&both, &login, &[]);
    found.assert_code(0);
    assert!(found.text.contains("nowhere.invalid"), "{found:#?}");
}
