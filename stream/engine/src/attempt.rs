//! One attempt of the job: the state that the workers of a process share, and the attempt's end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use timely::scheduling::activate::SyncActivator;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::JobError;
use crate::metrics::Metrics;

/// The interval at which a waiting thread checks whether a stop is requested.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The sender of the signals that request a stop.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Sender {
    /// A person or a service manager: each SIGINT and SIGTERM is a request.
    Outside,
    /// A supervisor, and those who signal the whole group of processes.
    Supervisor,
}

/// A request to stop a job. Clones share the request.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicU8>);

impl Stop {
    /// Requests the stop: the job commits closed windows, and ends. A second request ends the job
    /// at once, and the next attempt repeats everything that is not committed.
    pub fn request(&self) {
        let more = |requests: u8| Some(requests.saturating_add(1));
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }

    /// Starts a thread that requests the stop on each SIGINT and SIGTERM.
    ///
    /// # Errors
    /// If the system cannot register the signal handlers or start the thread.
    pub fn request_on_signals(&self) -> std::io::Result<()> {
        self.listen_for_signals(Sender::Outside)
    }

    /// Starts a thread that requests the stop of a supervised process: SIGTERM is the first request, however often it comes,
    /// and SIGUSR1 is the second. A terminal, systemd and YARN signal all processes of a group or unit, and the supervisor
    /// passes the request on besides; together these are one request. SIGINT has no effect.
    ///
    /// # Errors
    /// If the system cannot register the signal handlers or start the thread.
    pub fn request_on_termination(&self) -> std::io::Result<()> {
        self.listen_for_signals(Sender::Supervisor)
    }

    fn listen_for_signals(&self, sender: Sender) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let guard = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut second = match sender {
            Sender::Supervisor => Some(signal(SignalKind::user_defined1())?),
            // A listener would take away the signal's usual effect.
            Sender::Outside => None,
        };
        drop(guard);

        let stop = self.clone();
        let listen = move || {
            while !stop.is_immediate() {
                runtime.block_on(async {
                    tokio::select! {
                        _ = interrupt.recv() => stop.interrupt(sender),
                        _ = terminate.recv() => stop.terminate(sender),
                        () = received(&mut second) => stop.end_at_once(),
                    }
                });
            }
        };

        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)?;

        Ok(())
    }

    fn interrupt(&self, sender: Sender) {
        if sender == Sender::Outside {
            self.request();
        }
    }

    fn terminate(&self, sender: Sender) {
        if sender == Sender::Outside || !self.is_requested() {
            self.request();
        }
    }

    fn end_at_once(&self) {
        self.request();
        self.request();
    }

    /// Waits for `delay`, or until a stop is requested.
    pub fn wait(&self, delay: Duration) {
        let until = Instant::now() + delay;
        while Instant::now() < until && !self.is_requested() {
            std::thread::sleep(LOOK_EVERY.min(delay));
        }
    }

    /// Returns whether a stop is requested.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    /// Returns whether the stop was requested more than once: the job ends at once.
    pub fn is_immediate(&self) -> bool {
        self.0.load(Ordering::Acquire) > 1
    }
}

/// Waits for a signal; forever if none is expected.
async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// The state that the workers of one process share.
pub struct Attempt {
    /// The attempt's number.
    pub number: u64,
    /// The runtime for I/O on the object store.
    pub runtime: Handle,
    /// The job's metrics.
    pub metrics: Metrics,
    stop: Stop,
    draining: AtomicBool,
    drained: AtomicBool,
    /// The furthest progress of results that each of the process's workers has committed.
    furthest: Mutex<BTreeMap<u32, u64>>,
    failure: Mutex<Option<JobError>>,
}

impl Attempt {
    /// Creates an attempt.
    pub fn new(number: u64, runtime: Handle, metrics: Metrics, stop: Stop) -> Self {
        Self {
            number,
            runtime,
            metrics,
            stop,
            draining: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            furthest: Mutex::default(),
            failure: Mutex::new(None),
        }
    }

    /// Ends the attempt on all workers. Only the first failure is kept.
    pub fn fail(&self, error: impl Into<JobError>) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error.into());
        self.stop.request();
    }

    /// Ends the attempt on all workers without a failure.
    pub fn end(&self) {
        self.stop.request();
    }

    /// Makes the workers stop reading, commit closed windows, and end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Returns whether the workers are to stop reading.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Ends the attempt on this process, after all workers have committed closed windows.
    pub fn end_drained(&self) {
        self.drained.store(true, Ordering::Release);
        self.end();
    }

    /// Returns whether all workers have committed closed windows.
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }

    /// Returns whether the attempt is over, with or without a failure.
    pub fn is_over(&self) -> bool {
        self.stop.is_requested()
    }

    /// Takes the failure, if there is one.
    pub fn failure(&self) -> Option<JobError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Notes the furthest progress of results that a worker has committed, as a number.
    pub fn note_committed(&self, worker: usize, furthest: u64) {
        let publisher = u32::try_from(worker).expect("there are few workers");
        let mut all = self.furthest.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(publisher, furthest);
    }

    /// Returns the furthest progress of results that each worker of this process has committed in this
    /// attempt.
    pub fn furthest(&self) -> BTreeMap<u32, u64> {
        let all = self.furthest.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }

    /// Returns a guard that ends the attempt if the thread that holds it panics. Otherwise the
    /// other threads would wait for that thread for ever.
    pub fn guard(self: &Arc<Self>, thread: &'static str) -> Guard {
        Guard {
            attempt: Arc::clone(self),
            thread,
        }
    }

    /// Starts I/O in the background and schedules the operator behind `activator` when it is done.
    pub fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        activator: SyncActivator,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Awaited<T> {
        let (sender, receiver) = oneshot::channel();
        let guard = self.guard("the checkpoints' I/O");
        self.runtime.spawn(async move {
            let _guard = guard;
            // A receiver or worker that is gone belongs to an attempt that is over: the result is
            // not needed.
            let _ = sender.send(work.await);
            let _ = activator.activate();
        });

        Awaited(receiver)
    }
}

/// Ends an attempt if it is dropped during a panic.
pub struct Guard {
    attempt: Arc<Attempt>,
    thread: &'static str,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.attempt
                .fail(JobError::Worker(format!("{} panicked", self.thread)));
        }
    }
}

/// The result of work in the background.
pub struct Awaited<T>(oneshot::Receiver<T>);

impl<T> Awaited<T> {
    /// Returns the result once it is there.
    pub fn poll(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}
