//! A Kafka broker with two listeners, a direct one and one behind a proxy, and with a chosen protocol of transactions.

use std::path::Path;

use super::super::server::create_folder;
use super::super::{Cache, JAVA, Launch, Result, Server, debian, io_error};
use super::{Listeners, format, is_ready, java_arguments, properties, versions};

/// The ports of a broker.
#[derive(Clone, Copy, Debug)]
pub struct ListenerPorts {
    /// The direct listener.
    pub direct: u16,
    /// The listener to which the proxy connects.
    pub behind: u16,
    /// The proxy's port.
    pub advertised: u16,
    /// The listener for controllers.
    pub controller: u16,
}

/// Starts a broker of the newest version with its data below `data`, and with this level of `transaction.version`.
///
/// # Errors
/// If its jars, Java or a port are not available, or it does not become ready.
pub fn start(cache: &Cache, data: &Path, ports: ListenerPorts, transactions: u8) -> Result<Server> {
    debian::provision(JAVA)?;
    let jars = versions::newest(cache)?;
    create_folder(data)?;

    let ListenerPorts {
        direct,
        behind,
        advertised,
        controller,
    } = ports;
    let listeners = Listeners {
        controller,
        clients: format!("DIRECT://127.0.0.1:{direct},BEHIND://127.0.0.1:{behind}"),
        advertised: format!("DIRECT://127.0.0.1:{direct},BEHIND://127.0.0.1:{advertised}"),
        names: &["DIRECT", "BEHIND"],
    };

    let configuration = data.join("server.properties");
    std::fs::write(&configuration, properties(&listeners, &data.join("log")))
        .map_err(io_error("configuring Kafka"))?;
    let level = format!("transaction.version={transactions}");
    format(&jars, &configuration, &["--feature", &level])?;

    let mut arguments = java_arguments(&jars, &["-Xms128m", "-Xmx512m", "-XX:TieredStopAtLevel=1"]);
    arguments.extend(["kafka.Kafka".into(), configuration.into()]);
    Server::start(Launch {
        name: "Apache Kafka",
        address: format!("127.0.0.1:{direct}"),
        port: direct,
        program: "java".into(),
        arguments,
        log: data.join("kafka.log"),
        is_ready,
    })
}
