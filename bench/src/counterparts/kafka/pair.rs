//! Two Kafka brokers of one cluster. Each has two listeners: a direct one, and one behind a proxy
//! that a caller may cut.
//!
//! Broker 1 is also the controller. On its second listener each broker advertises a port that the
//! caller chose, so that clients of that listener pass through the program that listens there.

use std::path::Path;
use std::process::Command;

use super::super::server::{create_folder, free_ports};
use super::super::{Cache, JAVA, Launch, Result, Server, debian, io_error};
use super::{is_ready, java_arguments, versions};
use crate::process::Lifetime;

const CLUSTER_ID: &str = "VGlkZW1hcmtQYWlyMDAwMA";
/// The names of Kafka's own topics, by their prefixes in its settings.
const OWN_TOPICS: [&str; 3] = [
    "offsets.topic",
    "transaction.state.log",
    "share.coordinator.state.topic",
];

/// Two brokers; they end when this value is dropped.
pub struct Pair {
    brokers: [Server; 2],
}

/// The ports of one broker.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The direct listener.
    pub direct: u16,
    /// The second listener, to which the proxy connects.
    pub behind: u16,
    /// The port that the second listener advertises.
    pub advertised: u16,
}

impl Pair {
    /// Starts both brokers with their data below `data` and waits until they serve.
    ///
    /// # Errors
    /// If their jars, Java or a port are not available, or one does not become ready.
    pub fn start(cache: &Cache, data: &Path, ports: [Ports; 2]) -> Result<Self> {
        let [controller]: [u16; 1] = free_ports()?;
        let mut brokers = Vec::new();
        for (node, ports) in (1..).zip(ports) {
            let node = Node {
                id: node,
                ports,
                controller,
            };
            let launch = node.launch(cache, &data.join(format!("broker-{}", node.id)))?;
            brokers.push(Server::spawn(launch, Lifetime::OfItsThread)?);
        }

        brokers.iter_mut().try_for_each(Server::wait_until_ready)?;
        let brokers = brokers.try_into().ok().expect("two were started");
        Ok(Self { brokers })
    }

    /// Returns the second broker.
    pub fn second(&self) -> &Server {
        &self.brokers[1]
    }
}

/// Creates a topic whose partitions have one replica each, on the brokers of these ids in turn.
///
/// # Errors
/// If Kafka's tool cannot be run, or the brokers refuse.
pub fn create_topic(cache: &Cache, brokers: &str, topic: &str, leaders: &[u16]) -> Result<()> {
    let jars = versions::newest(cache)?;
    let leaders: Vec<String> = leaders.iter().map(u16::to_string).collect();
    let mut tool = Command::new("java");
    tool.args(java_arguments(&jars, &["-XX:TieredStopAtLevel=1"]));

    tool.args([
        "org.apache.kafka.tools.TopicCommand",
        "--bootstrap-server",
        brokers,
        "--create",
        "--topic",
        topic,
        "--replica-assignment",
        &leaders.join(","),
    ]);

    debian::run("creating a topic on chosen brokers", tool)
}

/// A broker of the pair.
struct Node {
    id: u16,
    ports: Ports,
    controller: u16,
}

impl Node {
    fn launch(&self, cache: &Cache, data: &Path) -> Result<Launch> {
        debian::provision(JAVA)?;
        let jars = versions::newest(cache)?;
        create_folder(data)?;

        let configuration = data.join("server.properties");
        std::fs::write(&configuration, self.properties(&data.join("log")))
            .map_err(io_error("configuring Kafka"))?;
        self.format(&jars, &configuration)?;

        let mut arguments = java_arguments(&jars, &["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC"]);
        arguments.extend(["kafka.Kafka".into(), configuration.into()]);
        Ok(Launch {
            name: "Apache Kafka",
            address: format!("127.0.0.1:{}", self.ports.direct),
            port: self.ports.direct,
            program: "java".into(),
            arguments,
            log: data.join("kafka.log"),
            is_ready,
        })
    }

    fn is_controller(&self) -> bool {
        self.id == 1
    }

    fn format(&self, jars: &Path, configuration: &Path) -> Result<()> {
        let kind = if self.is_controller() {
            "--standalone"
        } else {
            "--no-initial-controllers"
        };

        let mut tool = Command::new("java");
        tool.args(java_arguments(jars, &["-XX:TieredStopAtLevel=1"]));
        tool.args([
            "kafka.tools.StorageTool",
            "format",
            kind,
            "-t",
            CLUSTER_ID,
            "-c",
        ])
        .arg(configuration);

        debian::run("formatting Kafka's data folder", tool)
    }

    fn properties(&self, log: &Path) -> String {
        let Ports {
            direct,
            behind,
            advertised,
        } = self.ports;
        let controller = self.controller;

        let (roles, of_controller) = if self.is_controller() {
            (
                "broker,controller",
                format!(",CONTROLLER://127.0.0.1:{controller}"),
            )
        } else {
            ("broker", String::new())
        };

        let own_topics: String = OWN_TOPICS
            .iter()
            .map(|topic| format!("{topic}.replication.factor=1\n{topic}.num.partitions=4\n"))
            .collect();

        format!(
            "process.roles={roles}
node.id={id}
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=DIRECT://127.0.0.1:{direct},BEHIND://127.0.0.1:{behind}{of_controller}
advertised.listeners=DIRECT://127.0.0.1:{direct},BEHIND://127.0.0.1:{advertised}{of_controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=DIRECT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,DIRECT:PLAINTEXT,BEHIND:PLAINTEXT
log.dirs={log}
auto.create.topics.enable=false
default.replication.factor=1
{own_topics}transaction.state.log.min.isr=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=4
background.threads=2
",
            id = self.id,
            log = log.display(),
        )
    }
}
