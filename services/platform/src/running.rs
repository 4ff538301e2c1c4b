//! The running parts of one process: started by name, watched, and stopped in order.
//!
//! Parts stop [stage](Stage) by stage. A stage begins when the one before has ended or used up its
//! time, so a part that serves others stops after its callers. If a part returns, fails or panics
//! before a shutdown is requested, the whole process stops with an error. The exception is a part
//! that may return, such as a stream job with `--until-end`. A process never continues with some of
//! its parts missing.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use chassis::{Shutdown, in_one_line};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::signals::StopSignals;

/// The error of a part.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The stage in which a part stops. Stages stop in the order of their declaration.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// The entry point for HTTP requests.
    Gateway,
    /// The services, with their background tasks.
    Services,
    /// The stream job.
    StreamJob,
    /// The stores that all other parts use.
    Stores,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Gateway, Self::Services, Self::StreamJob, Self::Stores];

    /// Returns the time by which this stage must have stopped, in tenths of the total.
    fn deadline_tenths(self) -> u32 {
        match self {
            Self::Gateway => 3,
            Self::Services => 6,
            Self::StreamJob => 8,
            Self::Stores => 10,
        }
    }
}

/// The parts of a process.
pub struct Running {
    tasks: JoinSet<Result<(), Failure>>,
    names: HashMap<Id, (&'static str, Stage)>,
    may_end: Vec<&'static str>,
    shutdowns: [Shutdown; Stage::ALL.len()],
    stop_within: Duration,
}

impl Running {
    /// Creates an empty set of parts, all of which together must stop within `stop_within`.
    pub fn new(stop_within: Duration) -> Self {
        Self {
            tasks: JoinSet::new(),
            names: HashMap::new(),
            may_end: Vec::new(),
            shutdowns: Default::default(),
            stop_within,
        }
    }

    /// Lets this part end by itself: if it succeeds, the process stops without an error.
    pub fn let_end(&mut self, name: &'static str) {
        self.may_end.push(name);
    }

    /// Starts a part.
    pub fn start<F, E>(
        &mut self,
        stage: Stage,
        name: &'static str,
        part: impl FnOnce(Shutdown) -> F,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Failure> + 'static,
    {
        let part = part(self.shutdowns[stage as usize].clone());
        let task = self
            .tasks
            .spawn(async move { part.await.map_err(Into::into) });
        self.names.insert(task.id(), (name, stage));
    }

    /// Starts a blocking part on a thread of its own.
    pub fn start_blocking<F, E>(&mut self, stage: Stage, name: &'static str, part: F)
    where
        F: FnOnce(Shutdown) -> Result<(), E> + Send + 'static,
        E: Into<Failure> + Send + 'static,
    {
        self.start(stage, name, |shutdown| async move {
            let ended = tokio::task::spawn_blocking(move || part(shutdown)).await;
            ended
                .map_err(|panic| Failure::from(describe(panic)))?
                .map_err(Into::into)
        });
    }

    /// Runs the parts until a signal arrives or one of them ends, then stops them. A second signal
    /// ends the process at once.
    ///
    /// # Errors
    /// [`PartError`] of the first part that ended before a shutdown was requested, or else of the
    /// first that failed while it stopped.
    pub async fn run_until_stopped(mut self, mut signals: StopSignals) -> Result<(), PartError> {
        let ended = tokio::select! {
            ended = self.first_to_end() => ended,
            () = signals.next() => Ok(()),
        };

        signals.end_process_on_next();
        let stopped = self.stop().await;
        ended.and(stopped)
    }

    /// Waits until a part ends, before any shutdown is requested. Pending for ever if there are no
    /// parts.
    ///
    /// # Errors
    /// [`PartError`], unless the part succeeded and [may end](Self::let_end).
    async fn first_to_end(&mut self) -> Result<(), PartError> {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };

        let (name, result) = self.forget(ended);
        match result {
            Ok(()) if self.may_end.contains(&name) => Ok(()),
            Ok(()) => Err(PartError {
                name,
                failure: "it returned".into(),
            }),
            Err(failure) => Err(PartError { name, failure }),
        }
    }

    /// Stops all parts, stage by stage. A part that misses its deadline is abandoned with a
    /// warning. This is safe because the state of every part survives a kill.
    ///
    /// # Errors
    /// [`PartError`] of the first part that failed while it stopped.
    async fn stop(mut self) -> Result<(), PartError> {
        let began = Instant::now();
        let mut outcome = Ok(());
        for stage in Stage::ALL {
            self.shutdowns[stage as usize].request();
            let deadline = began + self.stop_within * stage.deadline_tenths() / 10;
            while self.names.values().any(|(_, of)| *of <= stage) {
                let Ok(Some(ended)) = timeout_at(deadline, self.tasks.join_next_with_id()).await
                else {
                    break;
                };
                if let (name, Err(failure)) = self.forget(ended) {
                    outcome = outcome.and(Err(PartError { name, failure }));
                }
            }
        }

        for (name, _) in self.names.values() {
            tracing::warn!(part = name, "did not stop in time");
        }

        outcome
    }

    /// Removes a part from the list and returns its name and result.
    fn forget(
        &mut self,
        ended: Result<(Id, Result<(), Failure>), JoinError>,
    ) -> (&'static str, Result<(), Failure>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(panic) => (panic.id(), Err(describe(panic).into())),
        };

        let (name, _) = self
            .names
            .remove(&id)
            .expect("every task was given a name when it was spawned");
        (name, result)
    }
}

/// Describes a task that was cancelled or panicked.
fn describe(panic: JoinError) -> String {
    let Ok(payload) = panic.try_into_panic() else {
        return "it was cancelled".to_owned();
    };

    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());

    format!(
        "it panicked: {}",
        text.as_deref().unwrap_or("without a message")
    )
}

/// A part ended before a shutdown was requested, or failed while it stopped.
#[derive(Debug, thiserror::Error)]
#[error("{name} ended: {}", in_one_line(failure.as_ref()))]
pub struct PartError {
    name: &'static str,
    failure: Failure,
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn stages_stop_in_their_order_and_not_in_that_of_their_start() {
        let stopped = Arc::new(Mutex::new(Vec::new()));
        let mut running = Running::new(LIMIT);
        for (stage, name) in [
            (Stage::Stores, "tables"),
            (Stage::Gateway, "gateway"),
            (Stage::Services, "orders"),
        ] {
            let stopped = Arc::clone(&stopped);
            running.start(stage, name, |shutdown| async move {
                shutdown.requested().await;
                stopped.lock().unwrap().push(name);
                Ok::<_, Infallible>(())
            });
        }

        running.stop().await.unwrap();
        assert_eq!(*stopped.lock().unwrap(), ["gateway", "orders", "tables"]);
    }

    #[tokio::test]
    async fn a_part_that_panics_is_named_with_what_it_said() {
        let mut running = Running::new(LIMIT);
        running.start_blocking(
            Stage::StreamJob,
            "stream job",
            |_| -> Result<(), Infallible> { panic!("no way on") },
        );

        let error = running.first_to_end().await.unwrap_err().to_string();
        assert_eq!(error, "stream job ended: it panicked: no way on");
        running.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_part_that_returns_unasked_is_a_failure() {
        let mut running = Running::new(LIMIT);
        running.start(Stage::Services, "orders", |_| async {
            Ok::<_, Infallible>(())
        });

        assert_eq!(
            running.first_to_end().await.unwrap_err().to_string(),
            "orders ended: it returned"
        );
    }

    #[tokio::test]
    async fn a_part_that_may_end_ends_well_unless_it_fails() {
        let ended = async |result: Result<(), &'static str>| {
            let mut running = Running::new(LIMIT);
            running.let_end("job");
            running.start(Stage::StreamJob, "job", |_| async move { result });
            running
                .first_to_end()
                .await
                .map_err(|error| error.to_string())
        };

        assert_eq!(ended(Ok(())).await, Ok(()));
        let failed = ended(Err("no topic")).await;
        assert_eq!(failed, Err("job ended: no topic".to_owned()));
    }

    #[tokio::test]
    async fn a_part_that_does_not_stop_holds_up_nobody_for_ever() {
        let mut running = Running::new(Duration::from_millis(10));
        running.start(Stage::Stores, "stubborn", |_| {
            std::future::pending::<Result<(), Infallible>>()
        });
        running.stop().await.unwrap();
    }
}
