//! The links between all processes of an attempt, as timely's communication wants them.
//!
//! timely's threads panic when a link breaks. Here the attempt is failed instead, with the name of the process that went
//! away, and the thread is left waiting: the process ends with its attempt. A process that hangs breaks no link; it is
//! noticed by the pulse between it and process 0.

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

/// How long others may take to hear the last of a process that has finished.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(5);
/// timely ends a link with a message header of zeros.
const FAREWELL_BYTES: usize = 48;

/// One link to each other process, and the pulses between process 0 and all others.
pub struct Mesh {
    process: u16,
    silence_limit: Duration,
    links: BTreeMap<u16, TcpStream>,
    pulses: BTreeMap<u16, Pulse>,
}

/// The threads that carry messages between processes, and the tasks that watch over these.
pub struct Carriers {
    links: Vec<TcpStream>,
    threads: CommsGuard,
    watches: JoinSet<()>,
    has_finished: watch::Sender<bool>,
    runtime: Handle,
}

impl Mesh {
    /// The links and pulses of this process.
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

    /// How timely's workers of this process talk to each other and to those of the others.
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

/// Fails the attempt when the process at the other end is gone, or `silent`. Parts from it when this one has finished.
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
    /// Ends all links now, so that nobody waits for this process.
    pub fn cut(self) {
        // Threads that carry nothing any more end with the process.
        std::mem::forget(self.threads);
        for link in self.links {
            // A link that is broken already is as good as cut.
            let _ = link.shutdown(Shutdown::Both);
        }
    }

    /// Waits until the others have heard the last of this process, which has finished, or do not listen.
    pub fn finish(mut self) {
        let joining = thread::spawn(move || drop(self.threads));
        let until = std::time::Instant::now() + LAST_WORDS_WITHIN;
        while !joining.is_finished() && std::time::Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        self.has_finished.send_replace(true);

        let parting = async { while self.watches.join_next().await.is_some() {} };
        // Who does not listen is not waited for.
        let _ = self
            .runtime
            .block_on(async { timeout(LAST_WORDS_WITHIN, parting).await });
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
        // A link that is broken is as good as shut down.
        let _ = self.socket.shutdown(how);
        Ok(())
    }
}
