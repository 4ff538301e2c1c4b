//! The links between all processes of an attempt, as timely's communication wants them.
//!
//! timely's threads panic when a link breaks. Here the attempt is failed instead, with the name of the process that went
//! away, and the thread is left waiting: the process ends with its attempt.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::{CommsGuard, initialize_networking_from_sockets};
use timely::communication::allocator::zero_copy::stream::Stream;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};

use super::ClusterError;
use super::line::Line;
use crate::attempt::Attempt;

/// How long others may take to hear the last of a process that has finished.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(5);
/// timely ends a link with a message header of zeros.
const FAREWELL_BYTES: usize = 48;

/// One link to each other process.
pub struct Mesh {
    process: u16,
    links: BTreeMap<u16, TcpStream>,
}

/// The threads that carry messages between processes.
pub struct Carriers(CommsGuard);

impl Mesh {
    /// The links of process `process`.
    pub(super) fn of(process: u16, lines: BTreeMap<u16, Line>) -> Result<Self, ClusterError> {
        let links = lines.into_iter().map(|(other, line)| {
            line.into_socket().map(|link| (other, link)).map_err(|source| ClusterError::Line { process: other, source })
        });
        Ok(Self { process, links: links.collect::<Result<_, _>>()? })
    }

    /// How timely's workers of this process talk to each other and to those of the others.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub fn connect(
        &self,
        workers: usize,
        attempt: &Arc<Attempt>,
    ) -> Result<(Vec<AllocatorBuilder>, Carriers), ClusterError> {
        let broken = |source| ClusterError::Line { process: self.process, source };
        let mut sockets = Vec::new();
        for process in 0..=u16::try_from(self.links.len()).expect("processes are counted in 16 bits") {
            let link = self.links.get(&process).map(TcpStream::try_clone).transpose().map_err(broken)?;
            sockets.push(link.map(|socket| Link { socket, process, attempt: Arc::clone(attempt), zeros: 0 }));
        }
        let hooks = Hooks::default();
        let within = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), None);
        let connected = initialize_networking_from_sockets(within, sockets, self.process.into(), workers, hooks);
        let (builders, carriers) = connected.map_err(broken)?;
        Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Carriers(carriers)))
    }

    /// Ends all links now, so that nobody waits for this process.
    pub fn cut(&self, carriers: Carriers) {
        // Threads that carry nothing any more end with the process.
        std::mem::forget(carriers);
        for link in self.links.values() {
            // A link that is broken already is as good as cut.
            let _ = link.shutdown(Shutdown::Both);
        }
    }
}

impl Carriers {
    /// Waits until the others have heard the last of this process, which has finished, or do not listen.
    pub fn finish(self) {
        let Self(threads) = self;
        let joining = thread::spawn(move || drop(threads));
        let until = std::time::Instant::now() + LAST_WORDS_WITHIN;
        while !joining.is_finished() && std::time::Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A link that knows whom it leads to, and whether they said farewell.
struct Link {
    socket: TcpStream,
    process: u16,
    attempt: Arc<Attempt>,
    /// How many zeros were read last.
    zeros: usize,
}

impl Link {
    /// Fails the attempt.
    fn fail(&self) {
        if !self.attempt.is_over() {
            self.attempt.fail(ClusterError::Lost(self.process));
        }
    }

    /// Fails the attempt, and never returns: there is nothing more to read.
    fn lost(&self) -> ! {
        self.fail();
        loop {
            thread::park();
        }
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.socket.read(buffer) {
                Ok(count) if count > 0 => {
                    let zeros = buffer[..count].iter().rev().take_while(|byte| **byte == 0).count();
                    self.zeros = if zeros == count { self.zeros + zeros } else { zeros };
                    return Ok(count);
                }
                Ok(_) if self.zeros >= FAREWELL_BYTES => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => self.lost(),
            }
        }
    }
}

impl Write for Link {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        // Workers that are torn down would say farewell: only those that have finished may.
        if self.attempt.is_over() {
            return Ok(buffer.len());
        }
        match self.socket.write(buffer) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                self.fail();
                Ok(buffer.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Link {
    fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Self { socket, process: self.process, attempt: Arc::clone(&self.attempt), zeros: 0 })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        // A link that is broken is as good as shut down.
        let _ = self.socket.shutdown(how);
        Ok(())
    }
}
