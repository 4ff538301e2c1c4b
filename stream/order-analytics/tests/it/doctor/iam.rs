//! Logins by IAM as at Amazon MSK, on a broker of this test's own that verifies the signatures of tokens anew.
//!
//! The credentials come from each place of AWS's default chain in turn, emulated on this machine.

mod aws;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use self::aws::serve;
use super::findings::Found;
use super::kafka::job;
use crate::broker::{Broker, Client, NEWEST, START_LIMIT, create_when_ready};
use crate::listeners::Listeners;

/// The listeners of the broker, and their protocols.
const LISTENERS: [(&str, &str); 2] = [("OPEN", "PLAINTEXT"), ("IAM", "SASL_PLAINTEXT")];

/// The credentials that the broker's validator accepts.
const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "a secret of this test";
const REGION: (&str, &str) = ("AWS_REGION", "eu-central-1");
const VALIDATOR: &str = include_str!("iam/SignedRequests.java");
/// The life of a session in milliseconds: brokers take no login within a second of the one before.
const SESSION_MS: u32 = 1_500;
/// The signatures of a job that show sessions which were renewed more than once.
const SIGNATURES: usize = 6;

/// The variables of a process of the job.
type Variables<'a> = [(&'a str, String)];

#[test]
fn credentials_come_from_each_place_of_the_chain_and_faults_are_named() {
    let Some(kafka) = IamKafka::start() else {
        return;
    };

    each_place_of_the_chain_is_found(&kafka);
    missing_and_expired_credentials_are_named(&kafka);
    a_signature_that_does_not_fit_is_named(&kafka);
    sessions_are_renewed_by_new_tokens(&kafka);
}

fn each_place_of_the_chain_is_found(kafka: &IamKafka) {
    let file = |name: &str, text: &str| {
        let path = kafka.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let profile =
        format!("[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n");
    let profile = ("AWS_SHARED_CREDENTIALS_FILE", file("credentials", &profile));
    let aws = serve("2099-01-01T00:00:00Z");
    let web_identity = [
        (
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            file("identity", "an identity"),
        ),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/job".to_owned()),
        ("AWS_ENDPOINT_URL_STS", format!("http://{aws}/sts")),
    ];
    let pod_identity = [
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            format!("http://{aws}/pod"),
        ),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            file("pod", "a pod"),
        ),
    ];
    let instance = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{aws}"));

    let places: [&Variables; 5] = [
        &of_environment(SECRET),
        &[profile],
        &web_identity,
        &pod_identity,
        &[instance],
    ];
    for variables in places {
        let found = kafka.doctor(&[REGION.1], variables);
        found.assert_code(0);
        assert!(found.text.contains("accepts the token by OAUTHBEARER"));
    }

    // The region by the variable, and not by the property.
    let by_variable = (REGION.0, REGION.1.to_owned());
    let variables = [&of_environment(SECRET)[..], &[by_variable]].concat();
    kafka.doctor(&[], &variables).assert_code(0);
}

fn missing_and_expired_credentials_are_named(kafka: &IamKafka) {
    let nowhere = ("AWS_EC2_METADATA_DISABLED", "true".to_owned());
    let found = kafka.doctor(&[REGION.1], &[nowhere]);
    found.assert_code(14);
    let named = ["no AWS credentials were found", "AWS_ACCESS_KEY_ID"];
    found.assert_failed("SASL", "job", &named);

    let found = kafka.doctor(&[], &of_environment(SECRET));
    let named = ["no AWS region", "sasl.oauthbearer.token.region"];
    found.assert_failed("SASL", "job", &named);

    let expired = serve("2020-01-01T00:00:00Z");
    let container = (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        format!("http://{expired}/container"),
    );
    let found = kafka.doctor(&[REGION.1], &[container]);
    found.assert_code(14);
    found.assert_failed("SASL", "job", &[KEY, "have expired"]);

    // If a place that is named refuses, no other place is tried.
    let refuses = (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        format!("http://{expired}/refuses"),
    );
    let found = kafka.doctor(&[REGION.1], &[refuses]);
    found.assert_failed("SASL", "job", &["cannot be loaded", "403"]);
}

fn a_signature_that_does_not_fit_is_named(kafka: &IamKafka) {
    let wrong_key = kafka.doctor(&[REGION.1], &of_environment("another secret"));
    let wrong_region = kafka.doctor(&["eu-west-1"], &of_environment(SECRET));
    for (found, region) in [(wrong_key, "eu-central-1"), (wrong_region, "eu-west-1")] {
        found.assert_code(14);
        let named = [KEY, region, "kafka-cluster:Connect", "get-caller-identity"];
        found.assert_failed("SASL", "job", &named);
        assert!(!found.text.contains("secret"), "{found:#?}");
    }
}

/// The broker ends a connection whose session is over, which the job would log. Signatures differ from second to second.
fn sessions_are_renewed_by_new_tokens(kafka: &IamKafka) {
    let before = kafka.accepted();
    let mut command = kafka.job(&[], &[REGION.1], &of_environment(SECRET));
    let logs = File::create(kafka.folder().join("logs")).unwrap();
    let mut job = command
        .stdout(logs.try_clone().unwrap())
        .stderr(logs)
        .spawn()
        .unwrap();

    let deadline = Instant::now() + START_LIMIT;
    while kafka.accepted() < before + SIGNATURES {
        let ended = job.try_wait().unwrap();
        assert!(ended.is_none() && Instant::now() < deadline, "{ended:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    job.kill().unwrap();
    job.wait().unwrap();

    let logs = std::fs::read_to_string(kafka.folder().join("logs")).unwrap();
    let is_trouble = |line: &&str| line.contains("WARNING") || line.contains("ERROR");
    let mut troubles = logs.lines().filter(is_trouble);
    let trouble = troubles.find(|line| !line.contains("logins and records are not encrypted"));
    assert_eq!(trouble, None);
}

/// The credentials in the environment.
fn of_environment(secret: &str) -> [(&'static str, String); 2] {
    [
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
    ]
}

/// A broker with a listener whose logins are signed requests, and a folder for the checkpoints of jobs on it.
struct IamKafka {
    broker: Broker,
    listeners: Listeners<{ LISTENERS.len() }>,
    checkpoints: TempDir,
}

impl IamKafka {
    fn start() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let listeners = Listeners::new(LISTENERS);
        let port = listeners.open_port();
        let settings = listeners.settings(folder.path()) + &login();

        let mut broker = Broker::format(NEWEST, folder, &settings, port, &[])?;
        compile_validator(&broker);
        broker.spawn();
        broker.await_listener();

        let log = Client::Native.open(&listeners.address("OPEN"), &[]);
        create_when_ready(&*log, &["orders"]);
        Some(Self {
            broker,
            listeners,
            checkpoints: TempDir::new().unwrap(),
        })
    }

    fn folder(&self) -> &Path {
        self.broker.folder.path()
    }

    /// The number of different signatures that the broker has accepted.
    fn accepted(&self) -> usize {
        let output = std::fs::read_to_string(self.folder().join("output")).unwrap();
        let accepted = output.lines().filter(|line| line.starts_with("accepted: "));
        accepted.collect::<BTreeSet<_>>().len()
    }

    /// Runs the doctor with these variables and no others, and with this region if there is one.
    fn doctor(&self, region: &[&str], variables: &Variables) -> Found {
        let mut doctor = self.job(&["doctor", "--json"], region, variables);
        Found::parse(&doctor.output().unwrap())
    }

    fn job(&self, arguments: &[&str], region: &[&str], variables: &Variables) -> Command {
        let mut properties = vec![
            "security.protocol=sasl_plaintext".to_owned(),
            "sasl.mechanism=OAUTHBEARER".to_owned(),
            "sasl.oauthbearer.token.source=msk-iam".to_owned(),
        ];
        let region = region.iter();
        properties.extend(region.map(|region| format!("sasl.oauthbearer.token.region={region}")));

        let checkpoints = format!("file://{}", self.checkpoints.path().display());
        let mut job = job(arguments, &self.listeners.address("IAM"), &properties);
        job.args(["--checkpoints", &checkpoints]).env_clear();
        // The machine's own profile must not be read.
        job.env("HOME", self.folder())
            .envs(variables.iter().cloned());
        job
    }
}

fn compile_validator(broker: &Broker) {
    let source = broker.folder.path().join("SignedRequests.java");
    std::fs::write(&source, VALIDATOR).unwrap();
    let mut javac = Command::new("javac");
    javac.arg("-cp").arg(broker.jars.join("*"));
    javac.arg("-d").arg(broker.classes()).arg(source);
    let output = javac.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn login() -> String {
    format!(
        "listener.name.iam.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.iam.oauthbearer.sasl.server.callback.handler.class=SignedRequests
listener.name.iam.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.iam.oauthbearer.connections.max.reauth.ms={SESSION_MS}
"
    )
}
