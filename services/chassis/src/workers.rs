//! Threads that drive connections, each with a runtime of its own.
//!
//! A connection and all tasks that it spawns stay on one thread: no work moves between threads, and
//! no thread wakes another. A new connection goes to the thread with the fewest connections. This
//! suits an even load of short requests, like a proxy's; a busy thread gets no help from an idle one.

use std::future::Future;
use std::io;
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The threads that drive connections. They end when this is dropped.
pub(crate) struct Workers {
    all: Vec<Worker>,
}

struct Worker {
    connections: TaskTracker,
    own_thread: Option<Thread>,
}

/// A thread with a runtime of its own.
struct Thread {
    runtime: Handle,
    _end: DropGuard,
}

impl Workers {
    /// Returns workers that drive all connections on the current runtime.
    pub(crate) fn here() -> Self {
        Self {
            all: vec![Worker {
                connections: TaskTracker::new(),
                own_thread: None,
            }],
        }
    }

    /// Starts a thread for each core.
    pub(crate) fn of_their_own() -> io::Result<Self> {
        let threads = thread::available_parallelism()?.get();
        let start = |number| {
            Ok(Worker {
                connections: TaskTracker::new(),
                own_thread: Some(Thread::start(number)?),
            })
        };

        (0..threads)
            .map(start)
            .collect::<io::Result<_>>()
            .map(|all| Self { all })
    }

    /// Drives a connection by `drive`, on the worker with the fewest connections.
    pub(crate) fn drive<F>(
        &self,
        stream: TcpStream,
        drive: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let worker = self
            .all
            .iter()
            .min_by_key(|worker| worker.connections.len())
            .expect("there is a worker");

        match &worker.own_thread {
            None => worker.connections.spawn(drive(stream)),
            Some(thread) => {
                let _there = thread.runtime.enter();
                worker
                    .connections
                    .spawn(drive(TcpStream::from_std(stream.into_std()?)?))
            }
        };

        Ok(())
    }

    /// Returns the number of open connections.
    pub(crate) fn connections(&self) -> usize {
        self.all.iter().map(|worker| worker.connections.len()).sum()
    }

    /// Waits until there are no more connections.
    pub(crate) async fn idle(&self) {
        for worker in &self.all {
            worker.connections.close();
            worker.connections.wait().await;
        }
    }
}

impl Thread {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let end = CancellationToken::new();
        let ended = end.clone();
        let name = format!("connections-{number}");
        thread::Builder::new()
            .name(name)
            .spawn(move || runtime.block_on(ended.cancelled()))?;

        Ok(Self {
            runtime: handle,
            _end: end.drop_guard(),
        })
    }
}
