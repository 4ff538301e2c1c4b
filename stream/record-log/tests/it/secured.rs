//! TLS and SASL of the native client: with matching settings records are read, and mismatches are named.
//!
//! The test starts its own broker. Each listener is secured in another way, with certificates that the test issues.

use std::path::Path;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use record_log::{Delivery, LogError, LogSettings, LogTimeType, RecordLog, open};
use tempfile::TempDir;

use crate::broker::{Broker, NEWEST, START_LIMIT, create_when_ready};
use crate::certificates::{issue, issue_for_broker};
use crate::listeners::{Listeners, SCRAM_LOGIN, keystore, scram_users};
use crate::subject::{assert_values, poll_until, publish, record, topic, transactional};

const PLAIN_LOGIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required";
const TOKEN_LOGIN: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                           unsecuredLoginStringClaim_sub=\"broker\";";

/// The life of a session of SCRAM-SHA-512.
const SESSION: Duration = Duration::from_secs(2);

/// The listeners of the broker, and their protocols.
const LISTENERS: [(&str, &str); 7] = [
    ("OPEN", "PLAINTEXT"),
    ("TLS", "SSL"),
    ("EXPIRED", "SSL"),
    ("MISNAMED", "SSL"),
    ("MUTUAL", "SSL"),
    ("LOGIN", "SASL_PLAINTEXT"),
    ("BOTH", "SASL_SSL"),
];

#[test]
fn secured_brokers_are_read_and_mistakes_are_named() {
    let Some(secured) = Secured::start() else {
        return;
    };

    secured.await_broker();
    what_fits_is_read(&secured);
    certificates_are_verified(&secured);
    logins_that_do_not_fit_are_named(&secured);
    misunderstandings_are_named(&secured);
    sessions_are_renewed(&secured);
    a_password_that_changes_ends_the_reader(&secured);
}

fn what_fits_is_read(secured: &Secured) {
    let trusted = secured.file("ca.pem");
    let own = [
        ("ssl.certificate.location", secured.file("client.pem")),
        ("ssl.key.location", secured.file("client.key")),
    ];

    secured.assert_read("TLS", &[("ssl.ca.location", trusted.clone())]);
    let pem = std::fs::read_to_string(&trusted).unwrap();
    secured.assert_read("TLS", &[("ssl.ca.pem", pem)]);
    secured.assert_read(
        "MUTUAL",
        &[&own[..], &[("ssl.ca.location", trusted.clone())]].concat(),
    );
    secured.assert_read("LOGIN", &login("PLAIN", "alice", "alice-secret"));

    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let mut properties = login(mechanism, "alice", "alice-secret");
        properties.push(("ssl.ca.location", trusted.clone()));
        secured.assert_read("BOTH", &properties);
    }

    secured.write_token(3_600);
    secured.assert_read("BOTH", &secured.bearer());
}

fn certificates_are_verified(secured: &Secured) {
    let trusted = ("ssl.ca.location", secured.file("ca.pem"));
    let foreign = ("ssl.ca.location", secured.file("foreign.pem"));
    let any_name = ("ssl.endpoint.identification.algorithm", "none".to_owned());

    let wrong_authority = "from an authority that this client does not trust: set ssl.ca.location";
    secured.assert_refused("TLS", from_ref(&foreign), &[wrong_authority]);
    // The setting turns off only the comparison of names.
    secured.assert_refused("TLS", &[foreign, any_name.clone()], &[wrong_authority]);
    secured.assert_refused(
        "EXPIRED",
        &[trusted.clone(), any_name.clone()],
        &["has expired"],
    );
    secured.assert_refused("EXPIRED", from_ref(&trusted), &["has expired", "renew it"]);

    let wrong_name = [
        "for other.example",
        "\"localhost\"",
        "identification.algorithm",
    ];
    secured.assert_refused("MISNAMED", from_ref(&trusted), &wrong_name);
    secured.assert_read("MISNAMED", &[trusted.clone(), any_name]);

    let unknown = [
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.truststore.location",
    ];
    secured.assert_refused("MUTUAL", from_ref(&trusted), &unknown);
    let stranger = [
        trusted,
        ("ssl.certificate.location", secured.file("stranger.pem")),
        ("ssl.key.location", secured.file("stranger.key")),
    ];
    secured.assert_refused("MUTUAL", &stranger, &unknown);
}

fn logins_that_do_not_fit_are_named(secured: &Secured) {
    let trusted = ("ssl.ca.location", secured.file("ca.pem"));
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let wrong = [("alice", "wrong"), ("nobody", "alice-secret")];
        for (user, password) in wrong {
            let mut properties = login(mechanism, user, password);
            properties.push(trusted.clone());
            let named = [mechanism, user, "correct sasl.username or sasl.password"];
            secured.assert_refused("BOTH", &properties, &named);
        }
    }

    let offered = ["SCRAM-SHA-512", "but PLAIN", "sasl.mechanism"];
    let scram = login("SCRAM-SHA-512", "alice", "alice-secret");
    secured.assert_refused("LOGIN", &scram, &offered);

    // The token expired a minute ago.
    secured.write_token(-60);
    let token = ["OAUTHBEARER", "token", "write a fresh one"];
    secured.assert_refused("BOTH", &secured.bearer(), &token);
}

/// Connects with each protocol to the port of another one.
fn misunderstandings_are_named(secured: &Secured) {
    let trusted = ("ssl.ca.location", secured.file("ca.pem"));
    let login = login("PLAIN", "alice", "alice-secret");
    let both = [&login[..], from_ref(&trusted)].concat();
    let named = "security.protocol";

    for (listener, protocol, properties, sentence) in [
        ("TLS", "plaintext", &[][..], "speaks TLS"),
        ("TLS", "sasl_plaintext", &login, "speaks TLS"),
        ("BOTH", "plaintext", &[], "speaks TLS"),
        ("OPEN", "ssl", from_ref(&trusted), "answers without TLS"),
        ("LOGIN", "sasl_ssl", &both, "answers without TLS"),
        ("OPEN", "sasl_plaintext", &login, "accepts no login"),
        ("TLS", "sasl_ssl", &both, "accepts no login"),
        ("LOGIN", "plaintext", &[], "demands a login by PLAIN"),
        ("BOTH", "ssl", from_ref(&trusted), "demands a login by"),
    ] {
        let log = secured.log(listener, protocol, properties);
        secured.assert_refusal(&*log, listener, &[sentence, named]);
    }
}

/// Checks that sessions are renewed: a broker ends connections whose session has expired, and a reader would see that.
fn sessions_are_renewed(secured: &Secured) {
    let log = secured.log("BOTH", "sasl_ssl", &secured.scram("alice", "alice-secret"));
    let published = topic(&*log, 1);
    let mut publisher = transactional(&*log, "renewed");
    publisher.send(record(&published, 0, b"before")).unwrap();
    publisher.commit(b"1").unwrap();

    let mut reader = log.reader("orders", &[(0, 3)]).unwrap();
    let until_ms = now_ms() + 7 * SESSION.as_millis() as u64 / 2;
    let polled = poll_until(&mut *reader, 0, &mut Vec::new(), |polled, _| {
        polled.end_as_of_ms.is_some_and(|end_ms| end_ms > until_ms)
    });
    assert_eq!(polled.next_offset, secured.end());

    // Connections of the publisher, and those for rare requests, were idle meanwhile.
    assert_eq!(log.partitions("orders").unwrap(), 1);
    publisher.send(record(&published, 0, b"after")).unwrap();
    publisher.commit(b"2").unwrap();
    assert_values(&*log, &published, 0, &["before", "after"]);
}

fn a_password_that_changes_ends_the_reader(secured: &Secured) {
    let log = secured.log("BOTH", "sasl_ssl", &secured.scram("bob", "bob-secret"));
    let mut reader = log.reader("orders", &[(0, 0)]).unwrap();
    poll_until(&mut *reader, 0, &mut Vec::new(), |polled, _| {
        polled.is_at_end()
    });

    let brokers = secured.address("OPEN");
    let changed = [
        "--bootstrap-server",
        &brokers,
        "--alter",
        "--entity-type",
        "users",
    ];
    let changed = [&changed[..], &["--entity-name", "bob", "--add-config"]].concat();
    let changed = [&changed[..], &["SCRAM-SHA-512=[password=another]"]].concat();
    secured.broker.tool("kafka.admin.ConfigCommand", &changed);

    for _ in 0..3 {
        let refused = poll_until_refused(&mut *reader);
        assert!(matches!(refused, LogError::Refused(_)), "{refused}");
        let sentence = refused.to_string();
        for named in [&*secured.address("BOTH"), "\"bob\"", "sasl.password"] {
            assert!(sentence.contains(named), "{named:?} in {sentence}");
        }
    }
}

fn poll_until_refused(reader: &mut dyn record_log::Reader) -> LogError {
    let deadline = Instant::now() + START_LIMIT;
    while Instant::now() < deadline {
        match reader.poll(0, 10, &mut |_| ()) {
            Err(error) if !error.is_transient() => return error,
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    panic!("the reader was not refused");
}

fn login(mechanism: &str, user: &str, password: &str) -> Vec<(&'static str, String)> {
    vec![
        ("sasl.mechanism", mechanism.to_owned()),
        ("sasl.username", user.to_owned()),
        ("sasl.password", password.to_owned()),
    ]
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A broker with all these listeners.
struct Secured {
    broker: Broker,
    listeners: Listeners<{ LISTENERS.len() }>,
}

impl Secured {
    fn start() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        issue_certificates(folder.path());

        let listeners = Listeners::new(LISTENERS);
        let port = listeners.open_port();
        let settings = listeners.settings(folder.path()) + &security(folder.path());
        let users = scram_users(&["SCRAM-SHA-256", "SCRAM-SHA-512"], &["alice", "bob"]);
        let users: Vec<&str> = users.iter().map(String::as_str).collect();

        let broker = Broker::start(NEWEST, folder, &settings, port, &users)?;
        Some(Self { broker, listeners })
    }

    /// Publishes the records that are read on all listeners.
    fn await_broker(&self) {
        let log = self.log("OPEN", "plaintext", &[]);
        create_when_ready(&*log, &["orders"]);
        publish(&*log, "orders", 0, &[b"a", b"b", b"c"]);
        assert_values(&*log, "orders", 0, &["a", "b", "c"]);
    }

    /// Returns the end of the records and the marker of their transaction.
    fn end(&self) -> u64 {
        4
    }

    fn address(&self, listener: &str) -> String {
        self.listeners.address(listener)
    }

    fn file(&self, name: &str) -> String {
        let file = self.broker.folder.path().join(name);
        file.to_str().unwrap().to_owned()
    }

    fn log(
        &self,
        listener: &str,
        protocol: &str,
        properties: &[(&str, String)],
    ) -> Arc<dyn RecordLog> {
        let mut given = vec![("security.protocol".to_owned(), protocol.to_owned())];
        let own = |(name, value): &(&str, String)| ((*name).to_owned(), value.clone());
        given.extend(properties.iter().map(own));

        let settings = LogSettings::NativeKafka {
            brokers: self.address(listener),
            properties: given,
        };
        open(&settings).unwrap()
    }

    /// As [`Secured::log`], with the listener's protocol.
    fn fitting(&self, listener: &str, properties: &[(&str, String)]) -> Arc<dyn RecordLog> {
        self.log(listener, self.listeners.protocol(listener), properties)
    }

    /// Checks that every operation of a log succeeds on this listener.
    fn assert_read(&self, listener: &str, properties: &[(&str, String)]) {
        let log = self.fitting(listener, properties);
        assert_eq!(log.partitions("orders").unwrap(), 1);
        let described = log.describe("orders").unwrap();
        assert_eq!(described.log_time_type, LogTimeType::Append);

        log.commit("readers", "orders", &[(0, 2)]).unwrap();
        assert_eq!(log.committed("readers", "orders").unwrap(), [(0, 2)]);
        assert_values(&*log, "orders", 0, &["a", "b", "c"]);

        let own = topic(&*log, 1);
        publish(&*log, &own, 0, &[b"published"]);
        assert_values(&*log, &own, 0, &["published"]);
    }

    #[track_caller]
    fn assert_refused(&self, listener: &str, properties: &[(&str, String)], named: &[&str]) {
        let log = self.fitting(listener, properties);
        self.assert_refusal(&*log, listener, named);
    }

    /// Checks that each call is refused permanently, in one sentence that names the broker and `named`, and no secret.
    #[track_caller]
    fn assert_refusal(&self, log: &dyn RecordLog, listener: &str, named: &[&str]) {
        for call in ["partitions", "reader", "publisher", "committed"] {
            let refused = match call {
                "partitions" => log.partitions("orders").err(),
                "reader" => log.reader("orders", &[(0, 0)]).err(),
                "publisher" => log.publisher("id", Delivery::Transactional).err(),
                _ => log.committed("readers", "orders").err(),
            };
            let refused = refused.unwrap_or_else(|| panic!("{call} on {listener} is taken"));
            let sentence = refused.to_string();
            assert!(matches!(refused, LogError::Refused(_)), "{refused:?}");
            assert!(!sentence.contains("secret"), "{sentence}");

            for named in [&[&*self.address(listener)], named].concat() {
                assert!(sentence.contains(named), "{named:?} in {sentence}");
            }
        }
    }

    fn scram(&self, user: &str, password: &str) -> Vec<(&'static str, String)> {
        let mut properties = login("SCRAM-SHA-512", user, password);
        properties.push(("ssl.ca.location", self.file("ca.pem")));
        properties
    }

    fn bearer(&self) -> Vec<(&'static str, String)> {
        vec![
            ("sasl.mechanism", "OAUTHBEARER".to_owned()),
            ("sasl.oauthbearer.token.file", self.file("token")),
            ("ssl.ca.location", self.file("ca.pem")),
        ]
    }

    /// Writes a token without a signature, which the broker accepts with its default settings. It expires in
    /// `life_seconds`.
    fn write_token(&self, life_seconds: i64) {
        let now = i64::try_from(now_ms() / 1_000).unwrap();
        let issued = now.min(now + life_seconds) - 60;
        let claims = format!(
            "{{\"sub\":\"alice\",\"iat\":{issued},\"exp\":{}}}",
            now + life_seconds
        );
        let token = format!(
            "{}.{}.",
            base64_url(b"{\"alg\":\"none\"}"),
            base64_url(claims.as_bytes())
        );

        std::fs::write(self.file("token"), token).unwrap();
    }
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// The settings of the listeners' certificates and logins.
fn security(folder: &Path) -> String {
    let keystores = [
        ("tls", "good"),
        ("expired", "expired"),
        ("misnamed", "misnamed"),
        ("mutual", "good"),
        ("both", "good"),
    ];
    let keystores =
        keystores.map(|(listener, certificate)| keystore(folder, listener, certificate));

    format!(
        "{keystores}listener.name.mutual.ssl.client.auth=required
listener.name.mutual.ssl.truststore.type=PEM
listener.name.mutual.ssl.truststore.location={folder}/ca.pem
listener.name.login.sasl.enabled.mechanisms=PLAIN
listener.name.login.plain.sasl.jaas.config={PLAIN_LOGIN} user_alice=\"alice-secret\";
listener.name.both.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.both.plain.sasl.jaas.config={PLAIN_LOGIN} user_alice=\"alice-secret\";
listener.name.both.scram-sha-256.sasl.jaas.config={SCRAM_LOGIN}
listener.name.both.scram-sha-512.sasl.jaas.config={SCRAM_LOGIN}
listener.name.both.scram-sha-512.connections.max.reauth.ms={session}
listener.name.both.oauthbearer.sasl.jaas.config={TOKEN_LOGIN}
",
        keystores = keystores.concat(),
        session = SESSION.as_millis(),
        folder = folder.display(),
    )
}

/// Adds, to the certificates of brokers, one of a client, and one of a client of the foreign authority.
fn issue_certificates(folder: &Path) {
    let authorities = issue_for_broker(folder);
    issue(folder, &authorities.own, "client", "client.example", 2099);
    issue(
        folder,
        &authorities.foreign,
        "stranger",
        "client.example",
        2099,
    );
}
