//! Connections to brokers: frames of requests and answers over a blocking socket.
//!
//! ```text
//! request   length i32 │ api key i16 │ version i16 │ correlation i32 │ client id │ tags │ body
//! answer    length i32 │ correlation i32 │ tags │ body
//! ```
//!
//! A broker answers the requests of a connection in their order, so requests can be pipelined. If an answer's
//! correlation is not that of the oldest open request, the connection is broken. Each connection belongs to one thread.
//!
//! Invariants: a frame grows only as its bytes arrive and never beyond [`FRAME_LIMIT`]; after any error the
//! connection is not used again; each error names the broker and the request.

mod session;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::api::{API_VERSIONS, Api, Code};
use super::codec::{Input, Malformed, Output};
use super::login::Login;
use super::network::{Address, Denied, Network, Socket};
use crate::runtime::Runtime;

/// The largest answer that is accepted: the default of librdkafka's `receive.message.max.bytes`.
const FRAME_LIMIT: usize = 100_000_000;
/// The most memory that is allocated for bytes that have not arrived.
const GROWTH: usize = 1 << 20;
/// The memory of a frame is a multiple of this, so that an answer a little larger than the last one fits without
/// another allocation.
const ROUNDED_TO: usize = 64 << 10;
/// The name of this software in the brokers' metrics (KIP-511).
const SOFTWARE: &str = "tidemark";

/// The settings of connections, and the client's name for the brokers.
pub(super) struct Access {
    pub network: Box<dyn Network>,
    pub runtime: Arc<dyn Runtime>,
    /// None without SASL.
    pub login: Option<Login>,
    /// The name of this client in the brokers' logs, metrics and quotas.
    pub client_id: String,
    /// The time limit of opening a connection.
    pub connect_limit: Duration,
    /// The time limit of a request.
    pub request_limit: Duration,
}

/// The reason why a request has no usable answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("cannot connect to the broker {broker}: {source}")]
    Connect { broker: Address, source: io::Error },
    #[error("lost the connection to the broker {broker} during {request}: {source}")]
    Lost {
        broker: Address,
        request: &'static str,
        source: io::Error,
    },
    #[error("the broker {broker} did not answer {request} within {} ms", limit.as_millis())]
    Silent {
        broker: Address,
        request: &'static str,
        limit: Duration,
    },
    /// The broker reads nothing on this connection for a while.
    #[error(
        "the broker {broker} throttles {request} of this client for {} ms: raise its quota {quota}",
        throttled.as_millis()
    )]
    Throttled {
        broker: Address,
        request: &'static str,
        throttled: Duration,
        quota: &'static str,
    },
    #[error("the broker {broker} answered {request} with bytes that cannot be read: {source}")]
    Malformed {
        broker: Address,
        request: &'static str,
        source: Malformed,
    },
    #[error(
        "the broker {broker} does not offer {request} version {version}; Kafka 3.7 or newer is needed"
    )]
    Unsupported {
        broker: Address,
        request: &'static str,
        version: i16,
    },
    #[error("the broker {broker} refused {request} for {subject}: {code}{}", code.explained())]
    Refused {
        broker: Address,
        request: &'static str,
        subject: String,
        code: Code,
    },
    #[error("no broker is known that leads {0}")]
    NoLeader(String),
    #[error("broker {broker} {reason}")]
    Denied { broker: Address, reason: Denied },
}

/// The bytes of an answer. The memory is used again for the next answer.
#[derive(Default)]
pub(super) struct Frame {
    bytes: Vec<u8>,
    length: usize,
}

/// A connection of one thread to one broker.
pub(super) struct Connection {
    access: Arc<Access>,
    broker: Address,
    socket: Box<dyn Socket>,
    request: Vec<u8>,
    next_correlation: i32,
    open: VecDeque<(i32, Api)>,
    versions: Versions,
    /// The time at which another login renews the session; none if it does not expire.
    renewed_at: Option<Instant>,
}

/// The broker's offer: ranges of versions by API key, and the protocol of transactions that its cluster has finalized.
#[derive(Default)]
struct Versions {
    ranges: Vec<(i16, i16, i16)>,
    transactions: i16,
}

/// The tagged field of the first answer that lists the finalized features (KIP-584), and the one that is used here.
const FINALIZED_FEATURES: u32 = 2;
const TRANSACTION_VERSION: &str = "transaction.version";

impl Frame {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Returns a frame with these bytes.
    #[cfg(test)]
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            length: bytes.len(),
        }
    }

    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Reads `length` bytes. Memory beyond the frame's present size grows with the arriving bytes.
    pub fn fill(
        &mut self,
        length: usize,
        read: &mut dyn FnMut(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.length = 0;
        while self.length < length {
            let ready = self.bytes.len().max(self.length + GROWTH).min(length);
            if self.bytes.len() < ready {
                // A vector that grows by itself doubles. A frame for the bytes of an answer and a few more would have room for
                // two answers, and would be too large to be kept for the next one.
                let doubled = length.min(2 * self.bytes.len());
                let room = ready.max(doubled).next_multiple_of(ROUNDED_TO);
                self.bytes.reserve_exact(room - self.bytes.len());
                self.bytes.resize(ready, 0);
            }
            read(&mut self.bytes[self.length..ready])?;
            self.length = ready;
        }

        Ok(())
    }
}

impl Connection {
    /// Connects, reads the broker's offer, and logs in if the settings require it.
    pub fn open(access: &Arc<Access>, broker: &Address) -> Result<Self, WireError> {
        let mut connection = Self::greet(access, broker)?;
        connection.log_in()?;
        Ok(connection)
    }

    /// Connects, and reads the broker's offer.
    fn greet(access: &Arc<Access>, broker: &Address) -> Result<Self, WireError> {
        let limit = access.connect_limit;
        let socket = access
            .network
            .connect(broker, limit)
            .map_err(|source| unconnected(broker, source))?;

        let mut connection = Self {
            access: Arc::clone(access),
            broker: broker.clone(),
            socket,
            request: Vec::new(),
            next_correlation: 0,
            open: VecDeque::new(),
            versions: Versions::default(),
            renewed_at: None,
        };

        let offered = connection.call(API_VERSIONS, limit, ask_versions, Versions::read);
        connection.versions = offered.map_err(|error| connection.misunderstood(error))?;
        Ok(connection)
    }

    /// Returns the refusal if a broker that does not answer the first request speaks another protocol, because a second
    /// try would not help then.
    fn misunderstood(&self, error: WireError) -> WireError {
        // A silent broker is frozen or overloaded; a probe would double the wait.
        if !matches!(error, WireError::Lost { .. }) {
            return error;
        }

        let limit = self.access.connect_limit;
        let mismatch = self.access.network.mismatch(&self.broker, limit);
        mismatch.map_or(error, |reason| WireError::Denied {
            broker: self.broker.clone(),
            reason,
        })
    }

    /// Interprets an error of the first request after the connection opened. A broker that demands a login ends a
    /// connection on which another request comes first.
    pub fn undemanded(&self, error: WireError) -> WireError {
        let is_first = self.next_correlation == 2;
        if !is_first || self.access.login.is_some() || !matches!(error, WireError::Lost { .. }) {
            return error;
        }

        let again = Self::greet(&self.access, &self.broker).ok();
        let demand = again.and_then(|mut connection| connection.demand());
        demand.map_or(error, |reason| WireError::Denied {
            broker: self.broker.clone(),
            reason,
        })
    }

    pub fn broker(&self) -> &Address {
        &self.broker
    }

    /// Sends a request and reads its answer. No other request may be open.
    pub fn call<T>(
        &mut self,
        api: Api,
        limit: Duration,
        body: impl FnOnce(&mut Output<'_>),
        answer: impl FnOnce(&mut Input<'_>) -> Result<T, Malformed>,
    ) -> Result<T, WireError> {
        self.send(api, limit, body)?;
        let mut frame = Frame::default();
        let start = self.receive(limit, &mut frame)?;
        let mut input = Input::new(&frame.bytes()[start..]);
        let answered = answer(&mut input).map_err(|source| self.malformed(api, source))?;

        if !input.is_empty() {
            return Err(self.malformed(api, Malformed("there are bytes after its end")));
        }

        Ok(answered)
    }

    /// Sends a request without waiting for its answer.
    pub fn send(
        &mut self,
        api: Api,
        limit: Duration,
        body: impl FnOnce(&mut Output<'_>),
    ) -> Result<(), WireError> {
        self.check_offered(api)?;
        self.renew_session()?;
        let correlation = self.next_correlation;
        self.next_correlation = correlation.wrapping_add(1);
        self.request.clear();

        let mut output = Output(&mut self.request);
        output.i32(0);
        write_header(&mut output, api, correlation, &self.access.client_id);
        body(&mut output);

        let length = i32::try_from(self.request.len() - 4).unwrap_or(i32::MAX);
        self.request[..4].copy_from_slice(&length.to_be_bytes());

        let written = self
            .socket
            .set_limit(limit)
            .and_then(|()| self.socket.write_all(&self.request))
            .and_then(|()| self.socket.flush());
        written.map_err(|source| self.failed(api, limit, source))?;
        self.open.push_back((correlation, api));

        Ok(())
    }

    /// Reads the answer to the oldest open request. Returns the place in the frame at which its body begins.
    pub fn receive(&mut self, limit: Duration, frame: &mut Frame) -> Result<usize, WireError> {
        let Some((correlation, api)) = self.open.pop_front() else {
            return Err(self.malformed(API_VERSIONS, Malformed("no request is open")));
        };

        let runtime = &*self.access.runtime;
        let deadline = runtime.now() + limit;
        let bounded = self.socket.set_limit(limit);
        let socket = &mut *self.socket;
        let is_over = || runtime.now() > deadline;
        let mut read = |into: &mut [u8]| read_exact(socket, into, &is_over);
        let mut length = [0; 4];

        let received = bounded.and_then(|()| read(&mut length)).and_then(|()| {
            let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
            if length > FRAME_LIMIT {
                let lying = format!("it announces an answer of {length} bytes");
                return Err(io::Error::new(ErrorKind::InvalidData, lying));
            }
            frame.fill(length, &mut read)
        });
        received.map_err(|source| self.failed(api, limit, source))?;

        read_header(frame.bytes(), api, correlation).map_err(|source| self.malformed(api, source))
    }

    pub fn malformed(&self, api: Api, source: Malformed) -> WireError {
        WireError::Malformed {
            broker: self.broker.clone(),
            request: api.name,
            source,
        }
    }

    pub fn refused(&self, api: Api, subject: impl Into<String>, code: Code) -> WireError {
        WireError::Refused {
            broker: self.broker.clone(),
            request: api.name,
            subject: subject.into(),
            code,
        }
    }

    fn failed(&self, api: Api, limit: Duration, source: io::Error) -> WireError {
        let broker = self.broker.clone();
        let request = api.name;
        if let Some(reason) = Denied::within(&source).cloned() {
            return WireError::Denied { broker, reason };
        }

        match source.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => WireError::Silent {
                broker,
                request,
                limit,
            },
            _ => WireError::Lost {
                broker,
                request,
                source,
            },
        }
    }

    /// Returns `true` if the broker offers the request in the version that this client uses.
    pub fn offers(&self, api: Api) -> bool {
        let mut ranges = self.versions.ranges.iter();
        ranges.any(|(key, least, most)| *key == api.key && (*least..=*most).contains(&api.version))
    }

    /// Returns the finalized level of the feature `transaction.version`; 0 if the cluster has none.
    pub fn transaction_version(&self) -> i16 {
        self.versions.transactions
    }

    fn check_offered(&self, api: Api) -> Result<(), WireError> {
        if api == API_VERSIONS || self.offers(api) {
            return Ok(());
        }
        Err(WireError::Unsupported {
            broker: self.broker.clone(),
            request: api.name,
            version: api.version,
        })
    }
}

fn unconnected(broker: &Address, source: io::Error) -> WireError {
    let broker = broker.clone();
    match Denied::within(&source).cloned() {
        Some(reason) => WireError::Denied { broker, reason },
        None => WireError::Connect { broker, source },
    }
}

fn write_header(output: &mut Output<'_>, api: Api, correlation: i32, client_id: &str) {
    output.i16(api.key);
    output.i16(api.version);
    output.i32(correlation);

    // The client id kept its old form when headers became flexible. The settings bound its length.
    output.i16(client_id.len() as i16);
    output.raw(client_id.as_bytes());
    if api.is_flexible {
        output.no_tags();
    }
}

/// Reads the header of an answer. Returns the place at which the body begins.
fn read_header(bytes: &[u8], api: Api, correlation: i32) -> Result<usize, Malformed> {
    let mut input = Input::new(bytes);
    if input.i32()? != correlation {
        return Err(Malformed("it is the answer to another request"));
    }

    // A client reads this answer before it has the broker's versions, so its header never changes.
    if api.is_flexible && api != API_VERSIONS {
        input.skip_tags()?;
    }

    Ok(bytes.len() - input.rest().len())
}

/// Fills `into`. If a broker sends only a few bytes at a time, reading ends at the deadline, or one wait after it.
fn read_exact(
    socket: &mut dyn Socket,
    into: &mut [u8],
    is_over: &dyn Fn() -> bool,
) -> io::Result<()> {
    let mut filled = 0;
    while filled < into.len() {
        if is_over() {
            return Err(ErrorKind::TimedOut.into());
        }
        match socket.read(&mut into[filled..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }

    Ok(())
}

fn ask_versions(output: &mut Output<'_>) {
    output.string(SOFTWARE);
    output.string(env!("CARGO_PKG_VERSION"));
    output.no_tags();
}

impl Versions {
    /// Reads the broker's offer. An old broker answers in the first version, which begins with the same code.
    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        if Code(input.i16()?) != Code::NONE {
            return Err(Malformed("it is a broker older than Kafka 2.4"));
        }

        let ranges = input.array(|api| {
            let range = (api.i16()?, api.i16()?, api.i16()?);
            api.skip_tags()?;
            Ok(range)
        })?;

        input.i32()?;
        let mut transactions = 0;
        input.tags(|tag, mut field| {
            if tag == FINALIZED_FEATURES {
                transactions = read_transaction_version(&mut field)?;
            }
            Ok(())
        })?;

        Ok(Self {
            ranges,
            transactions,
        })
    }
}

fn read_transaction_version(input: &mut Input<'_>) -> Result<i16, Malformed> {
    let levels = input.array(|feature| {
        let is_wanted = feature.string()? == TRANSACTION_VERSION;
        let level = feature.i16()?;
        feature.i16()?;
        feature.skip_tags()?;
        Ok(if is_wanted { level } else { 0 })
    })?;
    Ok(levels.into_iter().max().unwrap_or(0))
}

#[cfg(test)]
mod decoders;
#[cfg(test)]
mod tests;
