//! The brokers of a cluster: their addresses, the leaders of partitions, and connections for rare requests.
//!
//! Any broker answers with the cluster's metadata. The leader of a partition and the coordinator of a group are looked
//! up when they are needed, and again when a broker answers that it is not that leader or coordinator.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::api::{Code, FIND_COORDINATOR, METADATA};
use super::codec::{Input, Malformed, Output};
use super::fault::{Certificate, TlsRefusal};
use super::network::Address;
use super::waiting::Waiting;
use super::wire::{Access, Connection, WireError};
use crate::runtime::Runtime;

/// The time limit of a call.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(10);
/// The pauses between tries while brokers are starting or electing leaders.
const LEAST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The known brokers, and idle connections to them.
pub(super) struct Cluster {
    access: Arc<Access>,
    /// The brokers that the settings name. They are used while no others are known.
    bootstrap: Vec<Address>,
    known: Mutex<Known>,
    idle: Mutex<HashMap<Address, Connection>>,
    /// The time of each broker's last failure, unless it has answered since. Requests that any broker can answer go to
    /// these last, because a frozen broker uses up the whole time limit of a call.
    failed: Mutex<HashMap<Address, Instant>>,
    waiting: Waiting,
}

#[derive(Default)]
struct Known {
    brokers: BTreeMap<i32, Address>,
    controller: i32,
}

/// A topic as the cluster describes it.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    /// The topic's id, which differs if the topic was deleted and created again.
    pub id: [u8; 16],
    /// The leaders, by partition.
    pub leaders: Vec<Leader>,
}

/// The leader of a partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Leader {
    /// The broker's id; -1 while there is none.
    pub node: i32,
    /// The number of changes of leadership.
    pub epoch: i32,
}

/// The kinds of things that have a coordinator: groups and transactional ids.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Coordinates {
    Group,
    Transactions,
}

impl Coordinates {
    fn subject(self, key: &str) -> String {
        match self {
            Self::Group => format!("group {key:?}"),
            Self::Transactions => format!("transactional id {key:?}"),
        }
    }
}

impl Cluster {
    pub fn new(access: Access, bootstrap: Vec<Address>) -> Self {
        Self {
            access: Arc::new(access),
            bootstrap,
            known: Mutex::default(),
            idle: Mutex::default(),
            failed: Mutex::default(),
            waiting: Waiting::default(),
        }
    }

    /// Returns the time limit of a request.
    pub fn request_limit(&self) -> Duration {
        self.access.request_limit
    }

    /// Returns the clocks and threads.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.access.runtime
    }

    /// Opens a connection for a thread of its own.
    pub fn connect(&self, address: &Address) -> Result<Connection, WireError> {
        Connection::open(&self.access, address)
    }

    /// Performs a TLS handshake with a broker, and returns the properties of its certificate; none without TLS.
    pub fn examine(
        &self,
        address: &Address,
        limit: Duration,
    ) -> Result<Option<Certificate>, TlsRefusal> {
        self.access.network.examine(address, limit)
    }

    /// Returns the address of a broker in the newest metadata.
    pub fn address(&self, node: i32) -> Option<Address> {
        lock(&self.known).brokers.get(&node).cloned()
    }

    /// Runs `call` on a connection to `address`. It may run twice: an idle connection may have ended since it was used.
    pub fn at<T>(
        &self,
        address: &Address,
        call: impl Fn(&mut Connection) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let idle = lock(&self.idle).remove(address);
        if let Some(mut connection) = idle {
            match call(&mut connection) {
                Err(WireError::Lost { .. }) => {}
                outcome => return self.keep(connection, outcome),
            }
        }

        let mut connection = self.connect(address)?;
        let outcome = call(&mut connection).map_err(|error| connection.undemanded(error));
        self.keep(connection, outcome)
    }

    /// Keeps the connection for the next call unless it failed.
    fn keep<T>(
        &self,
        connection: Connection,
        outcome: Result<T, WireError>,
    ) -> Result<T, WireError> {
        if matches!(outcome, Ok(_) | Err(WireError::Refused { .. })) {
            lock(&self.idle).insert(connection.broker().clone(), connection);
        }
        outcome
    }

    /// Runs `call` on a connection to the broker with this id.
    pub fn at_node<T>(
        &self,
        node: i32,
        call: impl Fn(&mut Connection) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let unknown = || WireError::NoLeader(format!("broker {node}"));
        self.at(&self.address(node).ok_or_else(unknown)?, call)
    }

    /// Runs `call` at the controller, or at a broker that passes the request on to it.
    pub fn at_controller<T>(
        &self,
        call: impl Fn(&mut Connection) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let controller = {
            let known = lock(&self.known);
            known.brokers.get(&known.controller).cloned()
        };
        match controller {
            Some(address) => self.at(&address, call),
            None => self.at_any(call),
        }
    }

    /// Runs `call` at the first broker that can be reached.
    pub fn at_any<T>(
        &self,
        call: impl Fn(&mut Connection) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let mut failure = WireError::NoLeader("the cluster: no broker is named".to_owned());
        for address in self.candidates() {
            match self.at(&address, &call) {
                Err(error) if self.note_failed(&error) => failure = error,
                outcome => {
                    lock(&self.failed).remove(&address);
                    return outcome;
                }
            }
        }

        Err(failure)
    }

    /// Returns all brokers: first those of the cluster, then those of the settings, and last those that failed, in the order
    /// of their failures.
    fn candidates(&self) -> Vec<Address> {
        let mut candidates: Vec<Address> = lock(&self.known).brokers.values().cloned().collect();
        let named = self.bootstrap.iter().cloned();
        for address in named {
            if !candidates.contains(&address) {
                candidates.push(address);
            }
        }

        let failed = lock(&self.failed);
        candidates.sort_by_key(|address| failed.get(address).copied());
        candidates
    }

    /// Notes that a broker could not be reached or did not answer. Returns `true` if the error is of that kind.
    pub fn note_failed(&self, error: &WireError) -> bool {
        let (WireError::Connect { broker, .. }
        | WireError::Lost { broker, .. }
        | WireError::Silent { broker, .. }) = error
        else {
            return false;
        };

        lock(&self.failed).insert(broker.clone(), self.runtime().now());
        true
    }

    /// Returns the topic as the cluster describes it now; none if there is no such topic.
    pub fn topic(&self, name: &str) -> Result<Option<Topic>, WireError> {
        let (code, topic) = self.at_any(|connection| {
            let answer = connection.call(
                METADATA,
                self.request_limit(),
                |output| ask_metadata(output, &[name]),
                read_metadata,
            )?;
            let missing = Malformed("the topic is missing");
            let topic = answer.topic;
            let topic = topic.ok_or_else(|| connection.malformed(METADATA, missing))?;

            let mut known = lock(&self.known);
            known.brokers = answer.brokers;
            known.controller = answer.controller;

            match topic.0 {
                Code::NONE | Code::UNKNOWN_TOPIC_OR_PARTITION | Code::INVALID_TOPIC_EXCEPTION => {
                    Ok(topic)
                }
                code => Err(connection.refused(METADATA, format!("topic {name:?}"), code)),
            }
        })?;
        Ok((code == Code::NONE).then_some(topic))
    }

    /// Returns the advertised addresses of the brokers, from the metadata of the broker at `address`.
    pub fn members(&self, address: &Address) -> Result<Vec<Address>, WireError> {
        let members = self.at(address, |connection| {
            connection.call(
                METADATA,
                self.request_limit(),
                |output| ask_metadata(output, &[]),
                read_metadata,
            )
        })?;
        Ok(members.brokers.into_values().collect())
    }

    /// Returns the topic, once each of its partitions has a leader; none if there is no such topic.
    pub fn led_topic(&self, name: &str) -> Result<Option<Topic>, WireError> {
        let Some(topic) = self.topic(name)? else {
            return Ok(None);
        };

        let leaderless = topic.leaders.iter().position(|leader| leader.node < 0);
        if topic.leaders.is_empty() {
            return Err(WireError::NoLeader(format!("topic {name:?}")));
        }

        match leaderless {
            Some(partition) => Err(WireError::NoLeader(format!(
                "partition {partition} of topic {name:?}"
            ))),
            None => Ok(Some(topic)),
        }
    }

    /// Returns the address of the coordinator of a group or a transactional id.
    pub fn coordinator(&self, coordinates: Coordinates, key: &str) -> Result<Address, WireError> {
        self.at_any(|connection| {
            let (code, address) = connection.call(
                FIND_COORDINATOR,
                self.request_limit(),
                |output| {
                    output.string(key);
                    output.i8(i8::from(coordinates == Coordinates::Transactions));
                    output.no_tags();
                },
                read_coordinator,
            )?;
            code.check().map_err(|code| {
                connection.refused(FIND_COORDINATOR, coordinates.subject(key), code)
            })?;

            Ok(address)
        })
    }

    /// Repeats the call within [`CALL_LIMIT`], as long as its error is transient.
    pub fn patiently<T>(&self, call: impl Fn() -> Result<T, WireError>) -> Result<T, WireError> {
        let runtime = self.runtime();
        let begun = runtime.now();
        let deadline = begun + CALL_LIMIT;
        let in_progress = self.waiting.begin(begun);

        let mut pause = LEAST_PAUSE;
        loop {
            let error = match call() {
                Err(error) if error.is_passing() => error,
                outcome => return outcome,
            };
            let wait = pause.max(error.throttled());
            if runtime.now() + wait >= deadline {
                return Err(error);
            }

            in_progress.failed(&error);
            runtime.sleep(wait);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Returns why a call waits; none if none takes long.
    pub fn obstacle(&self) -> Option<String> {
        let address = self.candidates().into_iter().next();
        self.waiting.reason(self.runtime().now(), address.as_ref())
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Metadata {
    brokers: BTreeMap<i32, Address>,
    controller: i32,
    topic: Option<(Code, Topic)>,
}

fn ask_metadata(output: &mut Output<'_>, topics: &[&str]) {
    output.array(topics.iter(), |output, name| {
        output.raw(&[0; 16]);
        output.string(name);
        output.no_tags();
    });

    // Neither create the topic nor list the allowed operations.
    output.bool(false);
    output.bool(false);
    output.no_tags();
}

fn read_metadata(input: &mut Input<'_>) -> Result<Metadata, Malformed> {
    input.i32()?;
    let brokers = input.array(|broker| {
        let node = broker.i32()?;
        let address = read_address(broker)?;
        broker.nullable_string()?;
        broker.skip_tags()?;
        Ok((node, address))
    })?;

    input.nullable_string()?;
    let controller = input.i32()?;
    let mut topics = input.array(read_topic)?;
    input.skip_tags()?;

    Ok(Metadata {
        brokers: brokers.into_iter().collect(),
        controller,
        topic: topics.pop(),
    })
}

fn read_topic(input: &mut Input<'_>) -> Result<(Code, Topic), Malformed> {
    let code = Code(input.i16()?);
    input.nullable_string()?;
    let id = input.uuid()?;
    input.bool()?;

    let partitions = input.array(|partition| {
        partition.i16()?;
        let index = partition.i32()?;
        let node = partition.i32()?;
        let epoch = partition.i32()?;

        for _ in ["replicas", "in sync", "offline"] {
            partition.array(Input::i32)?;
        }
        partition.skip_tags()?;

        Ok((index, Leader { node, epoch }))
    })?;

    input.i32()?;
    input.skip_tags()?;
    let by_index: BTreeMap<i32, Leader> = partitions.into_iter().collect();
    if !by_index.keys().copied().eq(0..by_index.len() as i32) {
        return Err(Malformed("a partition of the topic is missing"));
    }

    let leaders = by_index.into_values().collect();
    Ok((code, Topic { id, leaders }))
}

fn read_coordinator(input: &mut Input<'_>) -> Result<(Code, Address), Malformed> {
    input.i32()?;
    let code = Code(input.i16()?);
    input.nullable_string()?;
    input.i32()?;

    let host = input.string()?.to_owned();
    // Without a coordinator the port is -1.
    let port = u16::try_from(input.i32()?).unwrap_or(0);
    input.skip_tags()?;

    Ok((code, Address { host, port }))
}

fn read_address(input: &mut Input<'_>) -> Result<Address, Malformed> {
    let host = input.string()?.to_owned();
    let port = input.i32()?;
    let port = u16::try_from(port).map_err(|_| Malformed("a port is out of range"))?;
    Ok(Address { host, port })
}

#[cfg(test)]
mod decoders;
#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::lock;
    use crate::native::NativeLog;
    use crate::native::network::{Address, Network, Socket};
    use crate::native::publisher::Patience;
    use crate::native::wire::WireError;

    /// A network on which no broker can be reached. It notes the ports that were tried.
    #[derive(Clone, Default)]
    struct Away(Arc<Mutex<Vec<u16>>>);

    impl Network for Away {
        fn connect(&self, address: &Address, _: Duration) -> io::Result<Box<dyn Socket>> {
            lock(&self.0).push(address.port);
            Err(ErrorKind::ConnectionRefused.into())
        }
    }

    #[test]
    fn brokers_that_failed_are_tried_last() {
        let away = Away::default();
        let brokers = "broker:1,broker:2,broker:3,broker:1";
        let log = NativeLog::over(Box::new(away.clone()), brokers, Patience::default());
        let tried = || {
            let failed = log.cluster.at_any(|_| Ok(()));
            assert!(matches!(failed, Err(WireError::Connect { .. })));
            std::mem::take(&mut *lock(&away.0))
        };
        assert_eq!(tried(), [1, 2, 3]);

        // A fetch without an answer.
        let silent = WireError::Silent {
            broker: Address {
                host: "broker".to_owned(),
                port: 1,
            },
            request: "Fetch",
            limit: Duration::from_secs(1),
        };
        assert!(log.cluster.note_failed(&silent));
        assert_eq!(tried(), [2, 3, 1]);
        assert!(
            !log.cluster
                .note_failed(&WireError::NoLeader("orders".to_owned()))
        );
    }
}
