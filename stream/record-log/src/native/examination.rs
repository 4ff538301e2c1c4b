//! An examination of a Kafka step by step, so that a person sees the step that fails: names, TCP, TLS, login, requests,
//! rights.
//!
//! Each step repeats those before it on a connection of its own. Nothing is published, created or committed.

use std::fmt;
use std::io;
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use super::admin::Admin;
use super::api::{
    ADD_PARTITIONS, Api, CREATE_TOPICS, DESCRIBE_CONFIGS, END_TXN_1, FETCH, FIND_COORDINATOR,
    INIT_PRODUCER_ID, LIST_OFFSETS, METADATA, PRODUCE_1,
};
use super::cluster::Cluster;
use super::errors::log_error;
use super::fault::{Certificate, TlsRefusal};
use super::login::Login;
use super::network::{Address, SocketOptions, dial};
use super::publisher::{Trial, TrialError, try_out};
use super::settings::{Refused, Settings};
use crate::kafka::progress::{self, OFFSETS_TOPIC};
use crate::{LogError, TopicSpec};

/// The requests that reading and publishing need.
const NEEDED: [Api; 10] = [
    PRODUCE_1,
    FETCH,
    LIST_OFFSETS,
    METADATA,
    FIND_COORDINATOR,
    CREATE_TOPICS,
    INIT_PRODUCER_ID,
    ADD_PARTITIONS,
    END_TXN_1,
    DESCRIBE_CONFIGS,
];

/// The time limit of one step of a connection.
const STEP_LIMIT: Duration = Duration::from_secs(5);

/// The address of a broker.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct BrokerAddress {
    /// A DNS name or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A broker's offer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// The requests that the client needs and the broker does not offer, each with its version.
    pub missing: Vec<String>,
    /// The finalized level of `transaction.version`; 0 if the cluster has none.
    pub transaction_version: i16,
}

/// A Kafka that is examined with the settings of a job.
pub struct Examination {
    cluster: Arc<Cluster>,
    admin: Admin,
    brokers: Vec<BrokerAddress>,
    connection: Connecting,
    transaction_timeout: Duration,
    not_examined: Vec<String>,
}

/// The settings of connections.
#[derive(Clone, Debug)]
struct Connecting {
    principal: Option<String>,
    mechanism: Option<&'static str>,
    token_source: Option<&'static str>,
}

impl Examination {
    /// Prepares an examination. Properties that only librdkafka has are not examined.
    ///
    /// # Errors
    /// [`LogError::Settings`] if an address or a property cannot be used.
    pub fn new(brokers: &str, properties: &[(String, String)]) -> Result<Self, LogError> {
        let mut properties = properties.to_vec();
        let mut not_examined = Vec::new();
        let settings = loop {
            match Settings::new(brokers, &properties) {
                Ok(settings) => break settings,
                Err(Refused::Unknown(name)) => {
                    properties.retain(|(other, _)| *other != name);
                    not_examined.push(name);
                }
                Err(refused) => return Err(LogError::Settings(Box::new(refused))),
            }
        };

        let login = settings.access.login.as_ref();
        let connection = Connecting {
            principal: login.and_then(|login| login.user().map(str::to_owned)),
            mechanism: login.map(|login| login.mechanism().name()),
            token_source: login.and_then(Login::token_source),
        };
        let known = settings.brokers.iter().map(BrokerAddress::of).collect();
        let cluster = Arc::new(Cluster::new(settings.access, settings.brokers));
        Ok(Self {
            admin: Admin::new(Arc::clone(&cluster)),
            cluster,
            brokers: known,
            connection,
            transaction_timeout: settings.transaction_timeout,
            not_examined,
        })
    }

    /// Returns the topic that keeps the progress of publishers, as the first of them creates it.
    pub fn progress_topic() -> TopicSpec {
        progress::topic()
    }

    /// Returns the topic on which earlier versions kept progress. Publishers without progress check if it exists.
    pub fn former_progress_topic() -> &'static str {
        OFFSETS_TOPIC
    }

    /// Returns the brokers that the settings name.
    pub fn brokers(&self) -> &[BrokerAddress] {
        &self.brokers
    }

    /// Returns the names of the properties that are librdkafka's alone.
    pub fn not_examined(&self) -> &[String] {
        &self.not_examined
    }

    /// Returns the name of the user that logs in; none without a login, or with a token.
    pub fn principal(&self) -> Option<&str> {
        self.connection.principal.as_deref()
    }

    /// Returns the mechanism of the login; none without a login.
    pub fn mechanism(&self) -> Option<&'static str> {
        self.connection.mechanism
    }

    /// Returns the source of the login's tokens (`sasl.oauthbearer.token.source`); none if it is not set.
    pub fn token_source(&self) -> Option<&'static str> {
        self.connection.token_source
    }

    /// Returns the time-out of transactions.
    pub fn transaction_timeout(&self) -> Duration {
        self.transaction_timeout
    }

    /// Returns the IP addresses of a broker's host.
    ///
    /// # Errors
    /// If its name cannot be resolved.
    pub fn resolve(&self, broker: &BrokerAddress) -> io::Result<Vec<IpAddr>> {
        let found = (broker.host.as_str(), broker.port).to_socket_addrs()?;
        let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        addresses.sort();
        addresses.dedup();

        if addresses.is_empty() {
            return Err(io::Error::other("the name has no address"));
        }
        Ok(addresses)
    }

    /// Connects to a broker by TCP, and closes the connection.
    ///
    /// # Errors
    /// If the connection is refused or not answered.
    pub fn connect(&self, broker: &BrokerAddress) -> io::Result<()> {
        dial(&broker.inner(), SocketOptions::default(), STEP_LIMIT).map(|_: TcpStream| ())
    }

    /// Verifies a broker's certificate. Returns none if the settings are without TLS.
    ///
    /// # Errors
    /// [`TlsRefusal`].
    pub fn shake_hands(&self, broker: &BrokerAddress) -> Result<Option<Certificate>, TlsRefusal> {
        self.cluster.examine(&broker.inner(), STEP_LIMIT)
    }

    /// Logs in at a broker, if the settings have a login, and returns the advertised addresses of the cluster's
    /// brokers.
    ///
    /// # Errors
    /// [`LogError`]; [`LogError::Refused`] names the login or the protocol that does not fit.
    pub fn log_in(&self, broker: &BrokerAddress) -> Result<Vec<BrokerAddress>, LogError> {
        let members = self.cluster.members(&broker.inner()).map_err(log_error)?;
        Ok(members.iter().map(BrokerAddress::of).collect())
    }

    /// Returns a broker's offer.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn offer(&self, broker: &BrokerAddress) -> Result<Offer, LogError> {
        let read = |connection: &mut super::wire::Connection| {
            let missing = NEEDED.iter().filter(|api| !connection.offers(**api));
            Ok(Offer {
                missing: missing
                    .map(|api| format!("{} version {}", api.name, api.version))
                    .collect(),
                transaction_version: connection.transaction_version(),
            })
        };
        self.cluster.at(&broker.inner(), read).map_err(log_error)
    }

    /// Checks that a topic could be created, without creating it.
    ///
    /// # Errors
    /// [`LogError`] as [`RecordLog::ensure_topics`](crate::RecordLog::ensure_topics).
    pub fn try_create(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.admin.try_create(spec)
    }

    /// Begins a transaction with the transactional id `id` on these topics, and aborts it. The id must not be one that
    /// a publisher uses.
    ///
    /// # Errors
    /// [`TrialError`].
    pub fn try_transaction(&self, id: &str, topics: &[&str]) -> Result<Trial, TrialError> {
        try_out(&self.cluster, id, topics, self.transaction_timeout)
    }
}

impl BrokerAddress {
    fn of(address: &Address) -> Self {
        Self {
            host: address.host.clone(),
            port: address.port,
        }
    }

    fn inner(&self) -> Address {
        Address {
            host: self.host.clone(),
            port: self.port,
        }
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner().fmt(formatter)
    }
}
