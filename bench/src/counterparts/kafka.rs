//! Apache Kafka: one node that is broker and controller at once (KRaft).

pub mod pair;
pub mod proxied;
pub mod versions;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::server::{create_folder, free_ports};
use super::{Cache, JAVA, Launch, Result, Server, debian, io_error};

const CLUSTER_ID: &str = "VGlkZW1hcmtCZW5jaDAwMA";

/// The broker that a command was given, or one that it started, which ends when this value is
/// dropped.
pub struct Broker {
    _own: Option<Server>,
    address: String,
}

impl Broker {
    /// Starts a broker with its data in `folder` if none is given.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn given_or_started(given: Option<&str>, cache: &Cache, folder: &Path) -> Result<Self> {
        match given {
            Some(address) => Ok(Self {
                _own: None,
                address: address.to_owned(),
            }),
            None => start(cache, &folder.join("kafka")).map(Self::from),
        }
    }

    /// Returns its address, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl From<Server> for Broker {
    fn from(server: Server) -> Self {
        Self {
            address: server.address().to_owned(),
            _own: Some(server),
        }
    }
}

/// Starts a broker with its data below `data`; a folder that was used before is used again.
///
/// # Errors
/// If its jars, Java or a port are not available, or it does not become ready.
pub fn start(cache: &Cache, data: &Path) -> Result<Server> {
    Server::start(launch(cache, data)?)
}

/// Prepares everything but the start: jars, configuration, a formatted data folder.
///
/// # Errors
/// If its jars, Java or a port are not available.
pub fn launch(cache: &Cache, data: &Path) -> Result<Launch> {
    debian::provision(JAVA)?;
    let jars = versions::newest(cache)?;
    create_folder(data)?;

    let [port, controller_port] = free_ports()?;
    let configuration = data.join("server.properties");
    let log = data.join("log");
    let listeners = Listeners {
        controller: controller_port,
        clients: format!("PLAINTEXT://127.0.0.1:{port}"),
        advertised: format!("PLAINTEXT://127.0.0.1:{port}"),
        names: &["PLAINTEXT"],
    };
    std::fs::write(&configuration, properties(&listeners, &log))
        .map_err(io_error("configuring Kafka"))?;

    if !log.join("meta.properties").exists() {
        format(&jars, &configuration, &[])?;
    }

    let mut arguments = java_arguments(&jars, &["-Xms128m", "-Xmx512m", "-XX:+UseG1GC"]);
    arguments.extend(["kafka.Kafka".into(), configuration.into()]);
    Ok(Launch {
        name: "Apache Kafka",
        address: format!("127.0.0.1:{port}"),
        port,
        program: "java".into(),
        arguments,
        log: data.join("kafka.log"),
        is_ready,
    })
}

/// Limits the rate at which each client may write, in bytes a second, or removes the limit.
///
/// # Errors
/// If Kafka's tool cannot be run, or the broker refuses.
pub fn limit_producers(cache: &Cache, brokers: &str, bytes_per_second: Option<u64>) -> Result<()> {
    let jars = versions::newest(cache)?;
    let mut tool = Command::new("java");
    tool.args(java_arguments(&jars, &["-XX:TieredStopAtLevel=1"]));

    tool.args([
        "kafka.admin.ConfigCommand",
        "--bootstrap-server",
        brokers,
        "--alter",
    ]);

    tool.args(["--entity-type", "clients", "--entity-default"]);
    match bytes_per_second {
        Some(limit) => tool.args(["--add-config", &format!("producer_byte_rate={limit}")]),
        None => tool.args(["--delete-config", "producer_byte_rate"]),
    };

    debian::run("limiting the rate of producers", tool)
}

/// Formats a data folder. `features` are arguments that choose versions of the cluster's features.
fn format(jars: &Path, configuration: &Path, features: &[&str]) -> Result<()> {
    let mut tool = Command::new("java");
    tool.args(java_arguments(jars, &["-XX:TieredStopAtLevel=1"]));
    tool.args([
        "kafka.tools.StorageTool",
        "format",
        "--standalone",
        "-t",
        CLUSTER_ID,
        "-c",
    ])
    .arg(configuration)
    .args(features);

    debian::run("formatting Kafka's data folder", tool)
}

fn java_arguments(jars: &Path, options: &[&str]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = options.iter().map(Into::into).collect();
    arguments.push("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".into());
    arguments.push("-Dorg.slf4j.simpleLogger.showDateTime=true".into());
    arguments.extend(["-cp".into(), jars.join("*").into()]);
    arguments
}

/// The listeners of a broker, which is its own controller.
struct Listeners {
    /// The port for controllers.
    controller: u16,
    /// The listeners for clients, as `NAME://host:port`, comma separated.
    clients: String,
    /// The addresses that clients are given, likewise.
    advertised: String,
    /// The names of the listeners for clients. Brokers use the first.
    names: &'static [&'static str],
}

/// Returns the broker's settings: one replica of everything, few partitions of Kafka's own topics,
/// no rebalance delays, no automatic topics. A program that does not create its topics fails here
/// as in production.
fn properties(listeners: &Listeners, log: &Path) -> String {
    let log = log.display();
    let Listeners {
        controller,
        clients,
        advertised,
        names,
    } = listeners;

    let between = names[0];
    let protocols: String = names
        .iter()
        .map(|name| format!(",{name}:PLAINTEXT"))
        .collect();

    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners={clients},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={advertised},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name={between}
listener.security.protocol.map=CONTROLLER:PLAINTEXT{protocols}
log.dirs={log}
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=4
background.threads=2
"
    )
}

/// Requests the versions of the protocol. A broker answers as soon as it is registered and accepts
/// requests.
fn is_ready(port: u16) -> bool {
    // ApiVersions v0: length, api key 18, api version 0, correlation id 1, no client id.
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];

    let asked = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut broker| {
        broker.set_read_timeout(Some(Duration::from_secs(2)))?;
        broker.write_all(&REQUEST)?;
        let mut answer = [0; 10];
        broker.read_exact(&mut answer)?;
        Ok(answer)
    });

    // Length, the correlation id of the request, error code 0.
    asked.is_ok_and(|answer| answer[4..] == [0, 0, 0, 1, 0, 0])
}
