//! Tests of the properties: those of both clients keep their meaning, and the rest is refused by name.

use std::time::Duration;

use super::{Refused, Settings, address};

fn settings(properties: &[(&str, &str)]) -> Result<Settings, Refused> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let properties: Vec<(String, String)> = properties.iter().map(own).collect();
    Settings::new("a:1", &properties)
}

/// Returns the sentence that refuses the properties.
fn refusal(properties: &[(&str, &str)]) -> String {
    let refused = settings(properties).err();
    refused
        .unwrap_or_else(|| panic!("{properties:?} are taken"))
        .to_string()
}

#[test]
fn brokers_are_read_as_librdkafka_reads_them() {
    let read = |text| address(text).map(|read| (read.host, read.port)).ok();
    let found = |host: &str, port| Some((host.to_owned(), port));
    assert_eq!(read("kafka-1:9094"), found("kafka-1", 9094));
    assert_eq!(read("kafka-1"), found("kafka-1", 9092));
    assert_eq!(read("[::1]:9094"), found("::1", 9094));
    assert_eq!(read("PLAINTEXT://kafka-1:1"), found("kafka-1", 1));

    for wrong in ["", ":9092", "kafka:0", "kafka:port", "kafka:70000", "[::1"] {
        assert!(read(wrong).is_none(), "{wrong}");
    }

    let settings = Settings::new("a:1, b:2,", &[]).ok();
    assert_eq!(settings.map(|settings| settings.brokers.len()), Some(2));
}

#[test]
fn a_rack_is_taken() {
    let rack = |settings: Settings| settings.fetching.rack;
    assert_eq!(settings(&[]).map(rack).ok().as_deref(), Some(""));
    let in_rack = settings(&[("client.rack", "eu-1a")]);
    assert_eq!(in_rack.map(rack).ok().as_deref(), Some("eu-1a"));
}

#[test]
fn properties_without_effect_are_refused_by_name() {
    for name in ["no.such.property", "isolation.level"] {
        let error = settings(&[(name, "1")]).err();
        assert!(matches!(error, Some(Refused::Unknown(named)) if named == name));
    }

    let plain = ("security.protocol", "PLAINTEXT");
    assert!(settings(&[plain]).is_ok());
    for (name, value) in [
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "alice"),
        ("sasl.password", "secret"),
        ("ssl.ca.location", "ca.pem"),
        ("ssl.ca.pem", "-----BEGIN"),
        ("ssl.certificate.location", "own.pem"),
        ("ssl.key.location", "own.key"),
        ("ssl.endpoint.identification.algorithm", "none"),
        ("sasl.oauthbearer.token.file", "token"),
        ("sasl.oauthbearer.token.region", "eu-central-1"),
    ] {
        let refused = refusal(&[plain, (name, value)]);
        assert!(
            refused.contains(name) && refused.contains("security.protocol=plaintext"),
            "{refused}"
        );
    }

    let bearer = [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.username", "alice"),
    ];
    assert!(refusal(&bearer).contains("\"sasl.username\" has no effect"));
}

#[test]
fn a_bearer_token_comes_from_one_place() {
    let file = ("sasl.oauthbearer.token.file", "/var/run/token");
    let google = ("sasl.oauthbearer.token.source", "google");
    let with = |mechanism: &'static str, more: &[(&'static str, &'static str)]| {
        let login = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", mechanism),
        ];
        [&login[..], more].concat()
    };

    for (property, expected) in [
        (file, "/var/run/token"),
        (google, "metadata.google.internal:80"),
    ] {
        let given = settings(&with("OAUTHBEARER", &[property])).unwrap();
        let login = given.access.login.unwrap();
        assert!(login.remedy().contains(expected), "{}", login.remedy());
    }

    // Only AWS has regions.
    let region = ("sasl.oauthbearer.token.region", "eu-central-1");
    for other in [file, google] {
        let refused = refusal(&with("OAUTHBEARER", &[other, region]));
        assert!(refused.contains("token.source to msk-iam"), "{refused}");
    }

    let both = refusal(&with("OAUTHBEARER", &[file, google]));
    assert!(
        both.contains("sasl.oauthbearer.token.source=google"),
        "{both}"
    );
    let elsewhere = refusal(&with("PLAIN", &[google]));
    assert!(
        elsewhere.contains("\"sasl.oauthbearer.token.source\" has no effect"),
        "{elsewhere}"
    );
    let plain = refusal(&[google]);
    assert!(
        plain.contains("\"sasl.oauthbearer.token.source\" has no effect"),
        "{plain}"
    );
}

#[test]
fn missing_properties_of_a_protocol_are_named() {
    let sasl = ("security.protocol", "sasl_plaintext");
    let scram = ("sasl.mechanisms", "scram-sha-512");
    let user = ("sasl.username", "alice");

    for (given, missing) in [
        (&[sasl][..], "sasl.mechanism"),
        (&[sasl, scram], "sasl.username"),
        (&[sasl, scram, user], "sasl.password"),
        (
            &[sasl, ("sasl.mechanism", "OAUTHBEARER")],
            "sasl.oauthbearer.token.file",
        ),
    ] {
        let refused = refusal(given);
        assert!(
            refused.contains(&format!("needs the property {missing:?}")),
            "{refused}"
        );
    }
}

#[test]
fn values_that_are_not_taken_are_refused_with_those_that_are() {
    for (name, value, expected) in [
        (
            "security.protocol",
            "tls",
            "plaintext, ssl, sasl_plaintext, sasl_ssl",
        ),
        (
            "sasl.mechanism",
            "GSSAPI",
            "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
        ),
        (
            "ssl.endpoint.identification.algorithm",
            "http",
            "https or none",
        ),
        (
            "enable.ssl.certificate.verification",
            "false",
            "ssl.ca.location",
        ),
        ("sasl.oauthbearer.token.source", "azure", "google"),
        ("client.id", "", "1 to 255 bytes"),
        ("socket.timeout.ms", "9", "10 to 300000"),
        ("socket.timeout.ms", "soon", "10 to 300000"),
        ("socket.nagle.disable", "false", "true"),
        ("socket.keepalive.enable", "yes", "true or false"),
        ("fetch.max.bytes", "0", "1 to 67108864"),
        ("fetch.wait.max.ms", "0", "1 to 300000"),
        ("queued.max.messages.kbytes", "0", "1 to 2097151"),
        ("transaction.timeout.ms", "999", "1000 to 2147483647"),
        ("transaction.timeout.ms", "15s", "1000 to 2147483647"),
    ] {
        let refused = refusal(&[(name, value)]);
        for part in [name, expected] {
            assert!(refused.contains(part), "{part:?} in {refused}");
        }
    }
}

#[test]
fn a_password_that_is_refused_is_not_shown() {
    let refused = refusal(&[("sasl.password", "open\0sesame")]);
    assert!(!refused.contains("sesame"), "{refused}");
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_property() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("file.pem");
    let path = file.to_str().unwrap();
    let tls = ("security.protocol", "ssl");

    let absent = refusal(&[tls, ("ssl.ca.location", path)]);
    assert!(
        absent.contains("ssl.ca.location") && absent.contains("cannot be read"),
        "{absent}"
    );

    std::fs::write(&file, "not PEM").unwrap();
    let empty = refusal(&[tls, ("ssl.ca.location", path)]);
    assert!(
        empty.contains(path) && empty.contains("no certificate"),
        "{empty}"
    );

    std::fs::write(
        &file,
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let garbled = refusal(&[tls, ("ssl.ca.location", path)]);
    assert!(garbled.contains("not valid PEM"), "{garbled}");

    let nowhere = folder.path().join("empty");
    std::fs::create_dir(&nowhere).unwrap();
    let none = refusal(&[tls, ("ssl.ca.location", nowhere.to_str().unwrap())]);
    assert!(none.contains("no authority"), "{none}");
}

#[test]
fn a_certificate_and_its_key_come_together_and_fit() {
    let folder = tempfile::TempDir::new().unwrap();
    let write = |name: &str, text: String| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };

    let own = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
    let certificate = write("own.pem", own.cert.pem());
    let key = write("own.key", own.signing_key.serialize_pem());
    let foreign = write("other.key", other.signing_key.serialize_pem());

    let tls = ("security.protocol", "ssl");
    let believed = ("ssl.ca.location", &*certificate);
    let certificate = ("ssl.certificate.location", &*certificate);
    let with = |more: &[(&str, &str)]| settings(&[&[tls, believed], more].concat());
    assert!(with(&[certificate, ("ssl.key.location", &key)]).is_ok());

    let refused = |more: &[(&str, &str)]| with(more).err().unwrap().to_string();
    assert!(refused(&[certificate]).contains("ssl.key.location"));
    assert!(refused(&[("ssl.key.location", &key)]).contains("ssl.certificate.location"));
    assert!(refused(&[certificate, ("ssl.key.location", &foreign)]).contains("cannot be used"));
    assert!(refused(&[certificate, ("ssl.key.location", believed.1)]).contains("no private key"));
}

#[test]
fn properties_of_connections_and_fetches_have_their_effect() {
    let given = settings(&[
        ("client.id", "the-job"),
        ("socket.timeout.ms", "2500"),
        ("socket.connection.setup.timeout.ms", "1500"),
        ("socket.keepalive.enable", "true"),
        ("socket.nagle.disable", "true"),
        ("socket.receive.buffer.bytes", "0"),
        ("fetch.wait.max.ms", "250"),
        ("fetch.min.bytes", "4096"),
        ("fetch.max.bytes", "1048576"),
        ("max.partition.fetch.bytes", "65536"),
        ("queued.max.messages.kbytes", "2048"),
        ("transaction.timeout.ms", "30000"),
    ])
    .unwrap();

    assert_eq!(given.access.client_id, "the-job");
    assert_eq!(given.access.request_limit, Duration::from_millis(2500));
    assert_eq!(given.access.connect_limit, Duration::from_millis(1500));
    assert_eq!(given.fetching.wait, Duration::from_millis(250));
    assert_eq!(given.fetching.least_bytes, 4096);
    assert_eq!(given.fetching.answer_bytes, 1 << 20);
    assert_eq!(given.fetching.partition_bytes, Some(65536));
    assert_eq!(given.fetching.waiting_bytes, 2 << 20);

    assert_eq!(given.transaction_timeout, Duration::from_secs(30));
    let default = settings(&[]).unwrap().transaction_timeout;
    assert_eq!(default, Duration::from_secs(15));
}
