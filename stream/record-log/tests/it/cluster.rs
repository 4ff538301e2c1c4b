//! Three brokers that a test starts, and whose leaders move.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::TempDir;

use crate::broker::{Broker, SMALL, free_ports};

pub const NODES: usize = 3;
/// The time after which the cluster notices that a broker is gone.
const SESSION: Duration = Duration::from_secs(3);
/// Lets one cluster run at a time: more brokers are too much for a small machine.
static TURN: Mutex<()> = Mutex::new(());

/// Three brokers, each of which can be the controller, too. Nodes are in the order of their ids.
pub struct Cluster {
    pub brokers: Vec<Broker>,
    pub addresses: String,
    pub witness: BaseConsumer,
    _turn: MutexGuard<'static, ()>,
}

/// The ports of a node.
#[derive(Clone, Copy)]
pub struct Ports {
    pub client: u16,
    pub controller: u16,
    /// A port for tests: the broker listens on it only if further settings name it.
    pub internal: u16,
}

impl Cluster {
    /// Starts brokers of this version. `further` are more settings of each node, which take precedence.
    pub fn start(
        version: &str,
        format: &[&str],
        further: impl Fn(usize, Ports) -> String + Sync,
    ) -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let drawn: [u16; 3 * NODES] = free_ports();
        let ports = [0, 1, 2].map(|node| Ports {
            client: drawn[node],
            controller: drawn[NODES + node],
            internal: drawn[2 * NODES + node],
        });
        let format_node = |node: usize| {
            let folder = TempDir::new().unwrap();
            let settings = settings(node, &ports, &folder) + &further(node, ports[node]);
            let port = ports[node].client;
            Broker::format(version, folder, &settings, port, format)
        };

        // Formatting starts a JVM for each node. The first is formatted on this thread, because only it has the test's
        // name for the line about a skipped test.
        let first = format_node(0)?;
        let mut brokers = std::thread::scope(|scope| {
            let format_node = &format_node;
            let formatting = [1, 2].map(|node| scope.spawn(move || format_node(node).unwrap()));
            let formatted = formatting.map(|thread| thread.join().unwrap());
            std::iter::once(first)
                .chain(formatted)
                .collect::<Vec<Broker>>()
        });

        brokers.iter_mut().for_each(Broker::spawn);
        brokers.iter_mut().for_each(Broker::await_listener);
        let addresses = brokers.iter().map(Broker::address);
        let addresses = addresses.collect::<Vec<_>>().join(",");
        let witness = ClientConfig::new()
            .set("bootstrap.servers", &addresses)
            .set("socket.timeout.ms", "1000")
            .create()
            .unwrap();
        Some(Self {
            brokers,
            addresses,
            witness,
            _turn: turn,
        })
    }

    /// Returns the nodes that lead the topic's partitions, by partition, from another client; none for a partition
    /// without a leader.
    pub fn leaders(&self, topic: &str) -> Vec<Option<usize>> {
        let found = self
            .witness
            .fetch_metadata(Some(topic), Duration::from_secs(1));
        let Ok(found) = found else {
            return Vec::new();
        };

        let partitions = found.topics()[0].partitions().iter();
        let leaders = partitions.map(|partition| usize::try_from(partition.leader() - 1).ok());
        leaders.collect()
    }
}

fn settings(node: usize, ports: &[Ports; NODES], folder: &TempDir) -> String {
    let voters: Vec<String> = (1..)
        .zip(ports)
        .map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.controller))
        .collect();
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.quorum.fetch.timeout.ms=1500
controller.quorum.election.timeout.ms=500
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/log
{SMALL}default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=3
broker.session.timeout.ms={session}
broker.heartbeat.interval.ms=500
leader.imbalance.check.interval.seconds=1
leader.imbalance.per.broker.percentage=0
",
        id = node + 1,
        voters = voters.join(","),
        port = ports[node].client,
        controller = ports[node].controller,
        folder = folder.path().display(),
        session = SESSION.as_millis(),
    )
}
