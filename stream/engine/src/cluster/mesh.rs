//! The links between all processes of an attempt, in the form that timely's communication needs.
//!
//! timely's threads panic when a link breaks. Here the attempt fails instead, with the number of
//! the process that went away, and the thread parks: the process ends with its attempt. A process
//! that hangs breaks no link; the pulse between it and process 0 detects it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::{
    CommsGuard, initialize_networking_from_sockets,
};
use timely::communication::allocator::zero_copy::stream::Stream;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::line::{Line, Message, unexpected};
use super::pulse::Pulse;
use super::{ClusterError, Members};
use crate::attempt::Attempt;

/// The time limit for the other processes to read the last messages of a process that has finished.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(5);
/// The length of the header of zeros by which timely ends a link.
const FAREWELL_BYTES: usize = 48;

/// One link to each other process, and the pulses between process 0 and all others.
pub struct Mesh {
    process: u16,
    silence_limit: Duration,
    links: BTreeMap<u16, TcpStream>,
    pulses: BTreeMap<u16, Pulse>,
}

/// The threads that carry messages between processes, and the tasks that watch over the processes.
pub struct Carriers {
    links: Vec<TcpStream>,
    threads: CommsGuard,
    watches: JoinSet<()>,
    has_finished: watch::Sender<bool>,
    runtime: Handle,
}

impl Mesh {
    /// Combines the links and pulses of this process.
    pub(super) fn of(
        members: &Members,
        lines: BTreeMap<u16, Line>,
        pulses: BTreeMap<u16, Pulse>,
    ) -> Result<Self, ClusterError> {
        let links = lines.into_iter().map(|(other, line)| {
            line.into_socket()
                .map(|link| (other, link))
                .map_err(|source| ClusterError::Line {
                    process: other,
                    source,
                })
        });

        let process = members.process;
        let silence_limit = members.silence_limit;
        Ok(Self {
            process,
            silence_limit,
            links: links.collect::<Result<_, _>>()?,
            pulses,
        })
    }

    /// Connects timely's workers of this process with each other and with those of the other
    /// processes.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub fn connect(
        self,
        workers: usize,
        attempt: &Arc<Attempt>,
    ) -> Result<(Vec<AllocatorBuilder>, Carriers), ClusterError> {
        let broken = |source| ClusterError::Line {
            process: self.process,
            source,
        };

        let mut sockets = Vec::new();
        for process in
            0..=u16::try_from(self.links.len()).expect("processes are counted in 16 bits")
        {
            let link = self
                .links
                .get(&process)
                .map(TcpStream::try_clone)
                .transpose()
                .map_err(broken)?;
            sockets.push(link.map(|socket| Link {
                socket,
                process,
                attempt: Arc::clone(attempt),
                zeros: 0,
            }));
        }

        let hooks = Hooks::default();
        let within = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), None);
        let connected = initialize_networking_from_sockets(
            within,
            sockets,
            self.process.into(),
            workers,
            hooks,
        );
        let (builders, threads) = connected.map_err(broken)?;
        let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();

        Ok((builders, self.carriers(threads, attempt)))
    }

    fn carriers(self, threads: CommsGuard, attempt: &Arc<Attempt>) -> Carriers {
        let (has_finished, finished) = watch::channel(false);
        let mut watches = JoinSet::new();
        for (process, pulse) in self.pulses {
            let silent = ClusterError::Silent {
                process,
                limit: self.silence_limit,
            };

            let watch = watch_over(
                process,
                pulse,
                silent,
                Arc::clone(attempt),
                finished.clone(),
            );
            watches.spawn_on(watch, &attempt.runtime);
        }

        let links = self.links.into_values().collect();
        Carriers {
            links,
            threads,
            watches,
            has_finished,
            runtime: attempt.runtime.clone(),
        }
    }
}

/// Fails the attempt if the other process is gone, or silent (with the error `silent`). Sends a
/// farewell when this process has finished.
async fn watch_over(
    process: u16,
    mut pulse: Pulse,
    silent: ClusterError,
    attempt: Arc<Attempt>,
    mut finished: watch::Receiver<bool>,
) {
    let gone = async {
        match pulse.hear().await {
            Ok(Message::Farewell) => std::future::pending().await,
            Ok(other) => ClusterError::Line {
                process,
                source: unexpected(&other),
            },
            Err(error) if error.kind() == io::ErrorKind::TimedOut => silent,
            Err(_) => ClusterError::Lost(process),
        }
    };

    tokio::select! {
        error = gone => if !attempt.is_over() { attempt.fail(error) },
        _ = finished.changed() => pulse.part().await,
    }
}

impl Carriers {
    /// Closes all links now, so that no other process waits for this one.
    pub fn cut(self) {
        // The threads have nothing more to carry; they end with the process.
        std::mem::forget(self.threads);
        for link in self.links {
            // A link that is already broken needs no shutdown.
            let _ = link.shutdown(Shutdown::Both);
        }
    }

    /// Waits until the others have read this process's last messages, or the time for it is over.
    pub fn finish(mut self) {
        let joining = thread::spawn(move || drop(self.threads));
        let until = std::time::Instant::now() + LAST_WORDS_WITHIN;
        while !joining.is_finished() && std::time::Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        self.has_finished.send_replace(true);

        let parting = async { while self.watches.join_next().await.is_some() {} };
        // A process that no longer reads is not waited for.
        let _ = self
            .runtime
            .block_on(async { timeout(LAST_WORDS_WITHIN, parting).await });
    }
}

/// A link to a known process, which tracks whether that process has sent its farewell.
struct Link {
    socket: TcpStream,
    process: u16,
    attempt: Arc<Attempt>,
    /// The number of zero bytes read last.
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
                    let zeros = buffer[..count]
                        .iter()
                        .rev()
                        .take_while(|byte| **byte == 0)
                        .count();

                    self.zeros = if zeros == count {
                        self.zeros + zeros
                    } else {
                        zeros
                    };
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
        // Workers that are torn down would send a farewell too, but only those that have finished
        // may.
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
        Ok(Self {
            socket,
            process: self.process,
            attempt: Arc::clone(&self.attempt),
            zeros: 0,
        })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        // A link that is already broken needs no shutdown.
        let _ = self.socket.shutdown(how);
        Ok(())
    }
}
