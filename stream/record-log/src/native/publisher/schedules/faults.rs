//! A network that loses, cuts, delays and repeats requests, on the way to a real broker.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::native::api::{ADD_PARTITIONS, END_TXN_1, INIT_PRODUCER_ID, PRODUCE_1};
use crate::native::cluster::lock;
use crate::native::network::{Address, Network, Socket, SocketOptions, dial};
use crate::native::publisher::identities;
use crate::native::publisher::identity::Protocol;

/// The fate of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// The connection ends before it.
    Lost,
    /// Half of it arrives before the connection ends.
    Torn,
    /// It arrives, and the connection ends before its answer.
    Unanswered,
    /// It arrives, and its answer never comes.
    Silent,
    /// The connection ends, and it arrives some time later.
    Late,
    /// It arrives, and arrives once more some time later. No network repeats a request that was answered, but the
    /// guarantees of the second protocol hold even then.
    Repeated,
}

const FAULTS: [Fault; 6] = [
    Fault::Lost,
    Fault::Torn,
    Fault::Unanswered,
    Fault::Silent,
    Fault::Late,
    Fault::Repeated,
];

/// Draws faults, and counts them.
pub(super) struct Faults {
    random: Mutex<u64>,
    protocol: Protocol,
    /// One request in this number meets a fault; none while it is 0.
    one_in: AtomicUsize,
    /// If set, ends of transactions arrive and are not answered.
    is_end_unanswered: AtomicBool,
    met: Mutex<Vec<(i16, Fault)>>,
    late: Mutex<Vec<JoinHandle<()>>>,
}

impl Faults {
    pub(super) fn new(seed: u64, protocol: Protocol) -> Arc<Self> {
        Arc::new(Self {
            protocol,
            random: Mutex::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            one_in: AtomicUsize::new(0),
            is_end_unanswered: AtomicBool::new(false),
            met: Mutex::default(),
            late: Mutex::default(),
        })
    }

    pub(super) fn begin(&self, one_in: usize) {
        self.one_in.store(one_in, Ordering::SeqCst);
    }

    pub(super) fn leave_ends_unanswered(&self, is_so: bool) {
        self.is_end_unanswered.store(is_so, Ordering::SeqCst);
    }

    /// Ends the faults, once all late requests have arrived.
    pub(super) fn end(&self) {
        self.begin(0);
        for late in lock(&self.late).drain(..) {
            late.join().unwrap();
        }
    }

    pub(super) fn met(&self) -> Vec<(i16, Fault)> {
        lock(&self.met).clone()
    }

    /// Draws a number below `below`.
    pub(super) fn draw(&self, below: usize) -> usize {
        let mut random = lock(&self.random);
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        (*random >> 11) as usize % below
    }

    fn of(&self, key: i16) -> Option<Fault> {
        if key == END_TXN_1.key && self.is_end_unanswered.load(Ordering::SeqCst) {
            return Some(Fault::Unanswered);
        }

        let one_in = self.one_in.load(Ordering::SeqCst);
        let keys = [PRODUCE_1, ADD_PARTITIONS, END_TXN_1, INIT_PRODUCER_ID].map(|api| api.key);
        if one_in == 0 || !keys.contains(&key) || self.draw(one_in) > 0 {
            return None;
        }

        let fault = FAULTS[self.draw(FAULTS.len())];
        // A late InitProducerId fences the publisher that holds the id by then, as it should.
        let is_harmless = match fault {
            Fault::Late => key != INIT_PRODUCER_ID.key,
            Fault::Repeated if self.protocol == Protocol::First => key == PRODUCE_1.key,
            Fault::Repeated => key != INIT_PRODUCER_ID.key,
            _ => true,
        };
        if !is_harmless {
            return None;
        }

        lock(&self.met).push((key, fault));
        Some(fault)
    }

    /// Writes a request some time later, and waits for its answer.
    fn deliver_late(&self, mut stream: TcpStream, request: Vec<u8>) {
        let delay = Duration::from_millis(self.draw(250) as u64);
        let late = std::thread::spawn(move || {
            std::thread::sleep(delay);
            stream
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            // A broker may close a connection on a request that it finds outdated.
            let _ = stream
                .write_all(&request)
                .and_then(|()| stream.read_exact(&mut [0; 4]));
        });
        lock(&self.late).push(late);
    }
}

impl Network for Arc<Faults> {
    fn connect(&self, address: &Address, limit: Duration) -> io::Result<Box<dyn Socket>> {
        Ok(Box::new(Faulty {
            stream: dial(address, SocketOptions::default(), limit)?,
            address: address.clone(),
            faults: Arc::clone(self),
            request: Vec::new(),
            end: None,
            limit: Mutex::new(limit),
        }))
    }
}

struct Faulty {
    stream: TcpStream,
    address: Address,
    faults: Arc<Faults>,
    request: Vec<u8>,
    /// The fault that ended the connection, if it has ended.
    end: Option<Fault>,
    limit: Mutex<Duration>,
}

impl Faulty {
    /// Sends the complete request, or carries out its fault.
    fn pass_on(&mut self) -> io::Result<()> {
        let request = std::mem::take(&mut self.request);
        identities::check(&request);
        let key = i16::from_be_bytes([request[4], request[5]]);
        let fault = self.faults.of(key);

        match fault {
            None => return self.stream.write_all(&request),
            Some(Fault::Lost) => {}
            Some(Fault::Torn) => self.stream.write_all(&request[..request.len() / 2])?,
            Some(Fault::Unanswered | Fault::Silent) => self.stream.write_all(&request)?,
            Some(Fault::Late) => {
                let stream = self.stream.try_clone()?;
                self.faults.deliver_late(stream, request);
            }
            Some(Fault::Repeated) => {
                let stream = dial(
                    &self.address,
                    SocketOptions::default(),
                    Duration::from_secs(5),
                )?;
                self.stream.write_all(&request)?;
                self.faults.deliver_late(stream, request);
                return Ok(());
            }
        }

        self.end = fault;
        Ok(())
    }
}

impl Write for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.end.is_some() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.request.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()
    }
}

impl Read for Faulty {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.end {
            None => self.stream.read(into),
            Some(Fault::Silent) => {
                std::thread::sleep(*lock(&self.limit));
                Err(ErrorKind::WouldBlock.into())
            }
            Some(Fault::Unanswered) => {
                // The broker has the request once it answers.
                self.stream.read_exact(&mut [0; 4])?;
                Ok(0)
            }
            Some(_) => Ok(0),
        }
    }
}

impl Socket for Faulty {
    fn set_limit(&self, limit: Duration) -> io::Result<()> {
        *lock(&self.limit) = limit;
        self.stream.set_limit(limit)
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        // A late request holds up the stream, too.
        if matches!(self.end, Some(Fault::Lost | Fault::Torn)) {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}
