//! The client's settings, by the names that librdkafka gives them, so that a deployment can change clients.
//!
//! Properties without a meaning for this client are refused by name, because setting a property without effect is a
//! mistake.

mod files;
mod security;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::security::Security;
use super::network::{Address, Network, SocketOptions};
use super::plain::Tcp;
use super::reader::Fetching;
use super::tls::Tls;
use super::wire::Access;
use crate::runtime::System;

/// The default time limit of a request, and of opening a connection.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The longest name of a client. Brokers keep it with each request.
const LONGEST_NAME: usize = 255;
/// The most bytes of an answer that may be set. The largest accepted frame must have room for it.
const MOST_FETCHED: u64 = 64 << 20;

/// The default time-out of a transaction. One that a killed publisher left open holds readers back for this long.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);

/// The addresses of the cluster, and the settings for connecting to it and fetching from it.
pub(super) struct Settings {
    pub brokers: Vec<Address>,
    pub access: Access,
    pub fetching: Fetching,
    /// The age at which the brokers abort a transaction (`transaction.timeout.ms`).
    pub transaction_timeout: Duration,
}

/// The reason why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("{0:?} is not an address of a broker; write host:port, several separated by commas")]
    Address(String),
    #[error("the native client has no property {0:?}; leave it out or use --client rdkafka")]
    Unknown(String),
    #[error("the property {name:?} cannot be {value:?}; the native client accepts {expected}")]
    Value {
        name: String,
        value: String,
        expected: String,
    },
    #[error("{because} needs the property {name:?}: set it")]
    Missing { name: &'static str, because: String },
    #[error("the property {name:?} has no effect with {because}: leave it out, or set {remedy}")]
    NoEffect {
        name: &'static str,
        because: String,
        remedy: &'static str,
    },
    #[error("the property {name:?} names {path:?}, {reason}")]
    File {
        name: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error(
        "the certificate of ssl.certificate.location and the key of ssl.key.location cannot be used: {0}"
    )]
    Identity(#[source] rustls::Error),
}

/// The properties' values, before they are checked against each other.
#[derive(Default)]
struct Given {
    security: Security,
    socket: SocketOptions,
    client_id: Option<String>,
    connect_limit: Option<Duration>,
    request_limit: Option<Duration>,
    fetching: Fetching,
    transaction_timeout: Option<Duration>,
}

impl Settings {
    pub fn new(brokers: &str, properties: &[(String, String)]) -> Result<Self, Refused> {
        let brokers = addresses(brokers)?;
        let mut given = Given::default();
        for (name, value) in properties {
            given.set(name, value)?;
        }

        let security = given.security.check()?;
        let network: Box<dyn Network> = match security.identity {
            None => Box::new(Tcp(given.socket)),
            Some(identity) => {
                Box::new(Tls::new(identity, given.socket).map_err(Refused::Identity)?)
            }
        };
        Ok(Self {
            brokers,
            access: Access {
                network,
                runtime: Arc::new(System),
                login: security.login,
                client_id: given.client_id.unwrap_or_else(|| "tidemark".to_owned()),
                connect_limit: given.connect_limit.unwrap_or(CONNECT_LIMIT),
                request_limit: given.request_limit.unwrap_or(REQUEST_LIMIT),
            },
            fetching: given.fetching,
            transaction_timeout: given.transaction_timeout.unwrap_or(TRANSACTION_TIMEOUT),
        })
    }
}

impl Given {
    fn set(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        let is_taken = self.security.set(name, value)?
            || self.set_connection(name, value)?
            || self.set_fetching(name, value)?;
        if is_taken {
            Ok(())
        } else {
            Err(Refused::Unknown(name.to_owned()))
        }
    }

    fn set_connection(&mut self, name: &str, value: &str) -> Result<bool, Refused> {
        match name {
            "client.id" if value.is_empty() || value.len() > LONGEST_NAME => {
                return Err(refused(name, value, "1 to 255 bytes"));
            }
            "client.id" => self.client_id = Some(value.to_owned()),
            "socket.timeout.ms" => {
                self.request_limit = Some(millis(name, value, 10..=300_000)?);
            }
            "socket.connection.setup.timeout.ms" => {
                self.connect_limit = Some(millis(name, value, 10..=300_000)?);
            }
            // A shorter time-out would end transactions that are only slow.
            "transaction.timeout.ms" => {
                self.transaction_timeout = Some(millis(name, value, 1_000..=2_147_483_647)?);
            }
            "socket.keepalive.enable" => self.socket.keepalive = boolean(name, value)?,
            // This client always sends small requests at once.
            "socket.nagle.disable" => match boolean(name, value)? {
                true => {}
                false => return Err(refused(name, value, "true")),
            },
            "socket.send.buffer.bytes" => {
                self.socket.send_buffer_bytes = buffer(name, value)?;
            }
            "socket.receive.buffer.bytes" => {
                self.socket.receive_buffer_bytes = buffer(name, value)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_fetching(&mut self, name: &str, value: &str) -> Result<bool, Refused> {
        let fetching = &mut self.fetching;
        match name {
            "fetch.wait.max.ms" => fetching.wait = millis(name, value, 1..=300_000)?,
            "fetch.min.bytes" => fetching.least_bytes = number(name, value, 1..=MOST_FETCHED)?,
            "fetch.max.bytes" => fetching.answer_bytes = number(name, value, 1..=MOST_FETCHED)?,
            "max.partition.fetch.bytes" | "fetch.message.max.bytes" => {
                fetching.partition_bytes = Some(number(name, value, 1..=MOST_FETCHED)?);
            }
            // Brokers with a replica.selector.class name a replica in this rack.
            "client.rack" => value.clone_into(&mut fetching.rack),
            "queued.max.messages.kbytes" => {
                let kib: u32 = number(name, value, 1..=2_097_151)?;
                fetching.waiting_bytes = kib as usize * 1024;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn refused(name: &str, value: &str, expected: impl fmt::Display) -> Refused {
    Refused::Value {
        name: name.to_owned(),
        value: value.to_owned(),
        expected: expected.to_string(),
    }
}

fn boolean(name: &str, value: &str) -> Result<bool, Refused> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(refused(name, value, "true or false")),
    }
}

fn number<T: TryFrom<u64>>(
    name: &str,
    value: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<T, Refused> {
    let number = value.parse().ok().filter(|number| range.contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        refused(name, value, expected)
    })
}

fn millis(
    name: &str,
    value: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Duration, Refused> {
    number(name, value, range).map(Duration::from_millis)
}

/// Reads the size of a system's buffer; 0 leaves it to the system.
fn buffer(name: &str, value: &str) -> Result<Option<usize>, Refused> {
    let bytes: usize = number(name, value, 0..=100_000_000)?;
    Ok((bytes > 0).then_some(bytes))
}

fn addresses(brokers: &str) -> Result<Vec<Address>, Refused> {
    let brokers = brokers
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(address)
        .collect::<Result<Vec<_>, _>>()?;

    if brokers.is_empty() {
        return Err(Refused::Address(String::new()));
    }
    Ok(brokers)
}

/// Reads `host:port`, or `[address]:port` for IPv6. The port is 9092 if it is left out, as in librdkafka.
fn address(text: &str) -> Result<Address, Refused> {
    let refused = || Refused::Address(text.to_owned());
    // librdkafka accepts a listener's name in front.
    let text = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or_else(refused)?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };

    let port = match port {
        Some(port) => port.parse().map_err(|_| refused())?,
        None => 9092,
    };

    if host.is_empty() || port == 0 {
        return Err(refused());
    }

    Ok(Address {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests;
