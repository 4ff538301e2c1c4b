//! A proxy in front of a broker of Kafka that loses requests and answers of transactions, and lets requests arrive late.
//!
//! ```text
//! client ──requests──▶ proxy ──▶ broker        lost: the connection ends before the request
//!        ◀──answers──                          unanswered: it ends in place of the answer
//!                                              held back: the request arrives after the answer to the next Produce
//!                                              refused: the proxy answers in the coordinator's place
//! ```
//!
//! A client repeats an end of a transaction until it is answered, so only a refusal lets a commit fail. If the end was
//! lost or not answered before, the outcome of the commit is in doubt.
//!
//! Clients connect to the addresses that brokers name, so the proxy puts its own port into the answers. It serves one
//! broker. The number of a request among those of its kind decides its fault.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const PRODUCE: i16 = 0;
const ADD_PARTITIONS: i16 = 24;
const END_TXN: i16 = 26;
/// The code of a coordinator that cannot commit a transaction (KIP-890).
const TRANSACTION_ABORTABLE: i16 = 120;
/// The first version of EndTxn whose answer has a producer id and an epoch.
const WITH_IDENTITY: i16 = 5;

/// The faults of requests of a kind, in turn.
const OF_ENDS: [Option<Fault>; 14] = [
    Some(Fault::Unanswered),
    None,
    Some(Fault::HeldBack),
    None,
    Some(Fault::Lost),
    None,
    // A commit that fails.
    Some(Fault::Refused),
    None,
    // Commits in doubt: one that did not happen, and one that did.
    Some(Fault::Lost),
    Some(Fault::Refused),
    None,
    Some(Fault::Unanswered),
    Some(Fault::Refused),
    None,
];
const OF_OTHERS: [Option<Fault>; 11] = [
    None,
    None,
    Some(Fault::Unanswered),
    None,
    None,
    Some(Fault::Lost),
    None,
    None,
    None,
    Some(Fault::HeldBack),
    None,
];

/// The time limit of the answer to a request that was held back.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A fault on the way to the broker or back.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fault {
    /// The connection ends before the request.
    Lost,
    /// The connection ends in place of the answer.
    Unanswered,
    /// The connection ends, and the request arrives after the answer to the next Produce.
    HeldBack,
    /// An end of a transaction: it does not arrive, and the answer is that the transaction can only be aborted.
    Refused,
}

/// The proxy. Its threads end with their connections, or with the process.
pub struct FaultyKafka {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    host: String,
    broker_port: u16,
    port: u16,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of requests so far, by key.
    numbers: BTreeMap<i16, usize>,
    met: BTreeMap<(&'static str, Fault), usize>,
    held: Vec<Vec<u8>>,
}

/// A connection of a client, and the one to the broker behind it.
struct Link {
    client: TcpStream,
    broker: TcpStream,
    shared: Arc<Shared>,
    due: Mutex<Due>,
}

/// The answers that are treated in a special way, by the correlation id of their request.
#[derive(Default)]
struct Due {
    dropped: BTreeSet<i32>,
    releasing: BTreeSet<i32>,
}

impl FaultyKafka {
    /// Starts a proxy in front of the broker at `host:port`.
    ///
    /// # Errors
    /// If the address has no port, or the system has no free port or thread.
    pub fn start(broker: &str) -> io::Result<Self> {
        let parts = broker.rsplit_once(':');
        let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, broker_port) = parts.ok_or(io::ErrorKind::InvalidInput)?;

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            host: host.to_owned(),
            broker_port,
            port,
            state: Mutex::default(),
        });

        let of_links = Arc::clone(&shared);
        let accept = move || {
            for client in listener.incoming().flatten() {
                // A client whose connection fails opens another.
                let _ = Link::open(client, &of_links);
            }
        };
        thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(accept)?;
        Ok(Self { port, shared })
    }

    /// Returns the address of the proxy in place of the broker's.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the number of faults by kind of request and fault.
    pub fn met(&self) -> BTreeMap<(&'static str, Fault), usize> {
        self.shared.state().met.clone()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect((&*self.host, self.broker_port))
    }

    /// Returns the fault of a request.
    fn fault(&self, key: i16) -> Option<Fault> {
        let (name, faults): (_, &[Option<Fault>]) = match key {
            END_TXN => ("EndTxn", &OF_ENDS),
            PRODUCE => ("Produce", &OF_OTHERS),
            ADD_PARTITIONS => ("AddPartitionsToTxn", &OF_OTHERS),
            _ => return None,
        };
        let mut state = self.state();
        let number = state.numbers.entry(key).or_default();
        let fault = faults[*number % faults.len()];
        *number += 1;
        if let Some(fault) = fault {
            *state.met.entry((name, fault)).or_default() += 1;
        }
        fault
    }

    /// Lets the requests arrive that are held back, and waits for their answers.
    fn release(&self) {
        let held = std::mem::take(&mut self.state().held);
        for request in held {
            // The broker may close the connection on an outdated request.
            let _ = self.deliver(&request);
        }
    }

    fn deliver(&self, request: &[u8]) -> io::Result<()> {
        let mut broker = self.connect()?;
        broker.set_read_timeout(Some(ANSWER_LIMIT))?;
        broker.write_all(request)?;
        read_frame(&mut broker).map(drop)
    }

    /// Replaces the broker's port by the proxy's, wherever an answer contains the broker's address.
    fn redirect(&self, answer: &mut [u8]) {
        let port_bytes = |port: u16| u32::from(port).to_be_bytes();
        for host in [self.host.as_str(), "127.0.0.1", "localhost"] {
            let address = [host.as_bytes(), &port_bytes(self.broker_port)].concat();
            for at in 0..answer.len().saturating_sub(address.len() - 1) {
                if answer[at..].starts_with(&address) {
                    let port_at = at + host.len();
                    answer[port_at..port_at + 4].copy_from_slice(&port_bytes(self.port));
                }
            }
        }
    }
}

impl Link {
    fn open(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
        let broker = shared.connect()?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let link = Arc::new(Self {
            client,
            broker,
            shared: Arc::clone(shared),
            due: Mutex::default(),
        });

        for direction in [Self::pass_requests, Self::pass_answers] {
            let link = Arc::clone(&link);
            let carry = move || {
                // A stream that fails ends the connection, as in any network.
                let _ = direction(&link);
                link.close();
            };
            thread::Builder::new()
                .name("proxied".to_owned())
                .spawn(carry)?;
        }
        Ok(())
    }

    fn close(&self) {
        // The other direction may have closed them.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.broker.shutdown(Shutdown::Both);
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_requests(&self) -> io::Result<()> {
        loop {
            let request = read_frame(&mut &self.client)?;
            let key = i16::from_be_bytes(bytes_at(&request, 4)?);
            let correlation = i32::from_be_bytes(bytes_at(&request, 8)?);
            match self.shared.fault(key) {
                Some(Fault::Lost) => return Ok(()),
                Some(Fault::HeldBack) => {
                    self.shared.state().held.push(request);
                    return Ok(());
                }
                Some(Fault::Refused) => {
                    (&self.client).write_all(&refusal(&request)?)?;
                    continue;
                }
                Some(Fault::Unanswered) => {
                    self.due().dropped.insert(correlation);
                }
                None if key == PRODUCE => {
                    self.due().releasing.insert(correlation);
                }
                None => {}
            }
            (&self.broker).write_all(&request)?;
        }
    }

    fn pass_answers(&self) -> io::Result<()> {
        loop {
            let mut answer = read_frame(&mut &self.broker)?;
            let correlation = i32::from_be_bytes(bytes_at(&answer, 4)?);
            if self.due().dropped.contains(&correlation) {
                return Ok(());
            }

            let is_releasing = self.due().releasing.remove(&correlation);
            if is_releasing {
                self.shared.release();
            }
            self.shared.redirect(&mut answer);
            (&self.client).write_all(&answer)?;
        }
    }
}

/// Returns the answer TRANSACTION_ABORTABLE to an EndTxn, of a version with tagged fields.
fn refusal(request: &[u8]) -> io::Result<Vec<u8>> {
    let version = i16::from_be_bytes(bytes_at(request, 6)?);
    let correlation: [u8; 4] = bytes_at(request, 8)?;
    let mut answer = correlation.to_vec();
    // No tagged fields in the header, and no throttle.
    answer.extend([0; 5]);
    answer.extend(TRANSACTION_ABORTABLE.to_be_bytes());
    if version >= WITH_IDENTITY {
        answer.extend([0xff; 8 + 2]);
    }
    answer.push(0);

    let length = u32::try_from(answer.len()).map_err(io::Error::other)?;
    answer.splice(0..0, length.to_be_bytes());
    Ok(answer)
}

/// Reads a request or an answer, with its length in front.
fn read_frame(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut frame = vec![0; 4 + u32::from_be_bytes(length) as usize];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}

fn bytes_at<const N: usize>(frame: &[u8], at: usize) -> io::Result<[u8; N]> {
    let bytes = frame
        .get(at..at + N)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
