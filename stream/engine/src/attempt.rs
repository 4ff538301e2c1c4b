//! One life of the job's processes: what its workers share, and how it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use timely::scheduling::activate::SyncActivator;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::checkpoint::recover::RecoverError;
use crate::checkpoint::store::StoreError;
use crate::cluster::ClusterError;
use crate::metrics::Metrics;
use record_log::{LogError, PublishError};

/// Why a job ended other than by having been asked to, or having read to the end.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The record log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A sink slot.
    #[error("cannot commit results: {0}")]
    Publish(#[from] PublishError),
    /// The object store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The checkpoint.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// A restored position that the log does not hold.
    #[error("{0}")]
    Position(String),
    /// Settings that cannot work.
    #[error("{0}")]
    Settings(String),
    /// timely dataflow could not start its workers, or one of them panicked.
    #[error("a worker died: {0}")]
    Worker(String),
    /// The other processes of the job.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl JobError {
    /// Going on from the checkpoint may help: by itself when the job is one process, with the others when it is several.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Log(error) => error.is_transient(),
            Self::Publish(error) => error.is_transient(),
            Self::Cluster(error) => error.is_passing(),
            _ => false,
        }
    }

    /// Another attempt of the same job has begun meanwhile: this one must not go on.
    pub fn is_superseded(&self) -> bool {
        matches!(
            self,
            Self::Publish(PublishError::Fenced { .. })
                | Self::Recover(RecoverError::Superseded { .. })
                | Self::Store(StoreError::Taken(_))
        )
    }

    /// The process is to be started again by whoever started it.
    pub fn is_for_a_new_start(&self) -> bool {
        matches!(self, Self::Worker(_)) || self.is_passing()
    }
}

/// How often it is looked whether somebody asks to stop.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Asks a job to stop. Clones ask the same job.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// The job is to stop; what is not committed will be repeated by the next attempt.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Has SIGINT and SIGTERM ask, from a thread of its own.
    ///
    /// # Errors
    /// When the system does not let signals be heard.
    pub fn request_on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let guard = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        drop(guard);

        let stop = self.clone();
        let listen = move || {
            runtime.block_on(async {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            });
            stop.request();
        };

        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)?;

        Ok(())
    }

    /// Waits so long, or until somebody asks.
    pub fn wait(&self, delay: Duration) {
        let until = Instant::now() + delay;
        while Instant::now() < until && !self.is_requested() {
            std::thread::sleep(LOOK_EVERY.min(delay));
        }
    }

    /// Somebody asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What the workers of one process share.
pub struct Attempt {
    /// Its number.
    pub number: u64,
    /// Where I/O on the object store runs.
    pub runtime: Handle,
    /// What is measured.
    pub metrics: Metrics,
    stop: Stop,
    failure: Mutex<Option<JobError>>,
}

impl Attempt {
    /// A new attempt.
    pub fn new(number: u64, runtime: Handle, metrics: Metrics, stop: Stop) -> Self {
        Self {
            number,
            runtime,
            metrics,
            stop,
            failure: Mutex::new(None),
        }
    }

    /// Ends the attempt on all workers. The first failure is the one that is told.
    pub fn fail(&self, error: impl Into<JobError>) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error.into());
        self.stop.request();
    }

    /// Ends the attempt on all workers without a failure.
    pub fn end(&self) {
        self.stop.request();
    }

    /// The attempt is over, for whatever reason.
    pub fn is_over(&self) -> bool {
        self.stop.is_requested()
    }

    /// What it failed of, if it failed.
    pub fn failure(&self) -> Option<JobError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Ends the attempt if the thread that holds the guard panics: nobody waits for the dead.
    pub fn guard(self: &Arc<Self>, thread: &'static str) -> Guard {
        Guard {
            attempt: Arc::clone(self),
            thread,
        }
    }

    /// Starts I/O in the background; the operator behind `activator` is scheduled when it is done.
    pub fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        activator: SyncActivator,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Pending<T> {
        let (sender, receiver) = oneshot::channel();
        let guard = self.guard("the checkpoints' I/O");
        self.runtime.spawn(async move {
            let _guard = guard;
            // A receiver or worker that is gone belongs to an attempt that is over: nobody wants to know.
            let _ = sender.send(work.await);
            let _ = activator.activate();
        });

        Pending(receiver)
    }
}

/// Ends an attempt when it is dropped by a panic.
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

/// Work that goes on in the background.
pub struct Pending<T>(oneshot::Receiver<T>);

impl<T> Pending<T> {
    /// What came of it, once it is done.
    pub fn poll(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}
