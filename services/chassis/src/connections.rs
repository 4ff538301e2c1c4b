//! Limits on a server's open connections: in total and for each address.
//!
//! A connection costs its client little, and the server a buffer and a descriptor even without a
//! request. One address may therefore hold only a part of the connections; proxies that carry many
//! clients' connections are exempt. A client over a limit gets the reason and is disconnected at
//! once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Number of rejected clients that are answered at the same time; others are disconnected without an
/// answer.
const POLITE_AT_ONCE: usize = 64;
/// Time limit for a rejected client to read the answer.
const POLITENESS: Duration = Duration::from_millis(500);
/// Largest amount that is read from a rejected client after the answer; then it is disconnected.
const MOST_READ_BYTES: usize = 16 << 10;

/// Returns the network that an address counts towards in limits. For IPv6 it is the first 64 bits,
/// because one customer has all addresses of such a network. For IPv4 it is the address itself, also
/// if it is written as an IPv6 address.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// The connections of a server.
pub(crate) struct Connections {
    most: usize,
    most_of_one: usize,
    exempt: Vec<IpNet>,
    held: Mutex<HashMap<IpAddr, usize>>,
    polite: Arc<Semaphore>,
}

/// A connection's slot, held until it is dropped.
pub(crate) struct Held {
    connections: Arc<Connections>,
    network: IpAddr,
}

/// The reason why a connection is rejected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Full {
    /// The server has reached its limit.
    Server,
    /// The address has reached its limit.
    Address,
}

impl Connections {
    /// Returns limits of `most` connections in total, and `most_of_one` from an address outside the
    /// `exempt` networks.
    pub(crate) fn new(most: usize, most_of_one: usize, exempt: Vec<IpNet>) -> Self {
        Self {
            most,
            most_of_one,
            exempt,
            held: Mutex::default(),
            polite: Arc::new(Semaphore::new(POLITE_AT_ONCE)),
        }
    }

    /// Takes a slot for a connection of this address.
    pub(crate) fn hold(self: &Arc<Self>, address: IpAddr) -> Result<Held, Full> {
        let address = address.to_canonical();
        let is_exempt = self.exempt.iter().any(|network| network.contains(&address));
        let network = network_of(address);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let of_network = held.get(&network).copied().unwrap_or(0);

        if !is_exempt && of_network >= self.most_of_one {
            return Err(Full::Address);
        }
        if held.values().sum::<usize>() >= self.most {
            return Err(Full::Server);
        }

        held.insert(network, of_network + 1);
        Ok(Held {
            connections: Arc::clone(self),
            network,
        })
    }

    /// Sends the reason to a rejected client, and closes the connection.
    pub(crate) fn turn_away(&self, stream: TcpStream, full: Full) {
        let Ok(permit) = Arc::clone(&self.polite).try_acquire_owned() else {
            return;
        };

        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = timeout(POLITENESS, answer(stream, full)).await {
                tracing::debug!(%error, "a rejected client did not read its answer in time");
            }
        });
    }
}

/// Answers, and reads the client's bytes before closing: a connection that is closed with
/// unread data is reset, and the reset may overtake the answer.
async fn answer(mut stream: TcpStream, full: Full) {
    if stream.write_all(full.answer()).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }

    let mut read = 0;
    let mut buffer = [0; 1024];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
        read += bytes;
        if read > MOST_READ_BYTES {
            break;
        }
    }
}

impl Full {
    fn answer(self) -> &'static [u8] {
        match self {
            Self::Server => {
                b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            }
            Self::Address => {
                b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            }
        }
    }

    /// Returns the reason, as a metric's label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Address => "address",
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = &self.connections.held;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&self.network) {
            Some(more) if *more > 1 => *more -= 1,
            _ => {
                held.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// Returns how many of `n` connections of an address are held, for as long as the caller keeps
    /// them.
    fn held(connections: &Arc<Connections>, address: IpAddr, n: usize) -> Vec<Held> {
        (0..n)
            .map_while(|_| connections.hold(address).ok())
            .collect()
    }

    #[test]
    fn one_address_holds_its_part_and_gives_it_back() {
        let connections = Arc::new(Connections::new(10, 4, Vec::new()));
        let of_one = held(&connections, address(1), 9);
        assert_eq!(of_one.len(), 4);
        assert_eq!(connections.hold(address(1)).err(), Some(Full::Address));

        let of_other = held(&connections, address(2), 1);
        assert_eq!(of_other.len(), 1);
        drop(of_one);

        assert_eq!(held(&connections, address(1), 9).len(), 4);
    }

    #[test]
    fn all_addresses_together_hold_no_more_than_the_server_can() {
        let connections = Arc::new(Connections::new(10, 4, Vec::new()));
        let all: Vec<Held> = (1..=9)
            .flat_map(|last| held(&connections, address(last), 4))
            .collect();
        assert_eq!(all.len(), 10);
        assert_eq!(connections.hold(address(10)).err(), Some(Full::Server));
        drop(all);

        assert!(connections.held.lock().unwrap().is_empty());
    }

    #[test]
    fn a_trusted_proxy_is_exempt_and_an_ipv6_network_is_one_client() {
        let exempt = vec!["192.0.2.1/32".parse().unwrap()];
        let connections = Arc::new(Connections::new(100, 4, exempt));
        assert_eq!(held(&connections, address(1), 50).len(), 50);

        assert_eq!(
            held(&connections, "::ffff:192.0.2.1".parse().unwrap(), 9).len(),
            9
        );

        let first = held(&connections, "2001:db8::1".parse().unwrap(), 3);
        let second = held(&connections, "2001:db8::2".parse().unwrap(), 3);
        assert_eq!((first.len(), second.len()), (3, 1));
    }
}
