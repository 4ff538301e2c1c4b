//! The listeners of a test's broker: each has a name, a protocol and a port.
//!
//! The first listener is open: no client logs in, and the broker uses it for itself. A test adds the settings of the
//! others, for example a keystore for each.

use std::path::Path;

use crate::broker::{SMALL, free_ports};

/// The login module of SCRAM, whose users are in the broker's metadata.
pub const SCRAM_LOGIN: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required;";

/// Listeners, on ports that were free a moment ago.
pub struct Listeners<const N: usize> {
    protocols: [(&'static str, &'static str); N],
    ports: [u16; N],
}

impl<const N: usize> Listeners<N> {
    /// Chooses the ports of listeners with these names and protocols.
    pub fn new(protocols: [(&'static str, &'static str); N]) -> Self {
        Self {
            protocols,
            ports: free_ports(),
        }
    }

    /// Returns the port of the open listener.
    pub fn open_port(&self) -> u16 {
        self.ports[0]
    }

    pub fn address(&self, listener: &str) -> String {
        format!("localhost:{}", self.ports[self.index(listener)])
    }

    pub fn protocol(&self, listener: &str) -> &'static str {
        let (_, protocol) = self.protocols[self.index(listener)];
        protocol
    }

    fn index(&self, listener: &str) -> usize {
        let mut names = self.protocols.iter().map(|(name, _)| name);
        names.position(|name| *name == listener).unwrap()
    }

    /// Returns the settings of a broker with these listeners, and with its data in `folder`.
    pub fn settings(&self, folder: &Path) -> String {
        let [controller] = free_ports();
        let (open, _) = self.protocols[0];
        let protocols = self
            .protocols
            .map(|(name, protocol)| format!("{name}:{protocol}"));

        format!(
            "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={bound},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name={open}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,{protocols}
log.dirs={folder}/log
{SMALL}",
            bound = self.at("127.0.0.1"),
            advertised = self.at("localhost"),
            protocols = protocols.join(","),
            folder = folder.display(),
        )
    }

    fn at(&self, host: &str) -> String {
        let listeners = self.protocols.iter().zip(self.ports);
        let listeners = listeners.map(|((name, _), port)| format!("{name}://{host}:{port}"));
        listeners.collect::<Vec<_>>().join(",")
    }
}

/// Returns the settings by which a listener presents this certificate.
pub fn keystore(folder: &Path, listener: &str, certificate: &str) -> String {
    format!(
        "listener.name.{listener}.ssl.keystore.type=PEM
listener.name.{listener}.ssl.keystore.location={}/{certificate}.both
",
        folder.display()
    )
}

/// Returns the arguments that add users to a broker when its folder is formatted. A user's password is its name and
/// `-secret`.
pub fn scram_users(mechanisms: &[&str], users: &[&str]) -> Vec<String> {
    let mut arguments = Vec::new();
    for mechanism in mechanisms {
        for user in users {
            arguments.push("--add-scram".to_owned());
            arguments.push(format!("{mechanism}=[name={user},password={user}-secret]"));
        }
    }

    arguments
}
