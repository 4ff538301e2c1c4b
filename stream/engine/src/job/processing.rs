//! Process functions, in the definition of a job.

use std::sync::Arc;
use std::time::Duration;

use super::sourced::Sourced;
use super::{Decode, PassThrough, Pipeline};
use crate::aggregate::{Key, Value};
use crate::checkpoint::manifest::ProcessSettings;
use crate::error::JobError;
use crate::output::{Destination, Output};
use crate::pane::{InvalidWindows, Windows};
use crate::process::Processor;
use crate::process::function::ProcessFunction;
use crate::process::state::{FunctionPlan, KeyStates, Processed};

/// A job with a source, whose events have a key: see [`Sourced::key_by`].
pub struct Keyed<K, V> {
    source: Sourced<V>,
    key: Arc<dyn Fn(&V) -> K + Send + Sync>,
}

/// A job with a source and a process function.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use record_log::{Record, RecordLog, simulated::SimulatedLog};
/// use stream::{Job, Keyed, Pipeline, Processed, ProcessContext, ProcessFunction, Processing};
/// # use stream::{Rejected, Run, Settings, Stop};
/// # fn click(record: &Record<'_>) -> Result<(u64, String), Rejected> {
/// #     let text = std::str::from_utf8(record.value.unwrap_or_default()).map_err(Rejected::because)?;
/// #     let (user, time_ms) = text.split_once(' ').ok_or_else(|| Rejected::because("no time"))?;
/// #     Ok((time_ms.parse().map_err(Rejected::because)?, user.to_owned()))
/// # }
///
/// /// Emits each user with the number of clicks, ten seconds after the first one.
/// struct Clicks;
///
/// impl ProcessFunction for Clicks {
///     type Key = String;
///     type Event = String;
///     type State = u64;
///     type Out = (String, u64);
///
///     fn on_event(&self, _: String, user: &mut ProcessContext<'_, String, u64, (String, u64)>) {
///         let clicks = user.state().unwrap_or(0);
///         if clicks == 0 {
///             user.set_timer(user.time_ms() + 10_000);
///         }
///         *user.state() = Some(clicks + 1);
///     }
///
///     fn on_timer(&self, user: &mut ProcessContext<'_, String, u64, (String, u64)>) {
///         if let Some(clicks) = user.state().take() {
///             user.emit((user.key().clone(), clicks));
///         }
///     }
/// }
///
/// let keyed: Keyed<String, String> = Job::new("clicks").source("clicks", click).key_by(String::clone);
/// let processing: Processing<Clicks> = keyed.process(Duration::from_secs(1), Clicks)?;
/// let job: Pipeline<String, Processed<String, u64>> =
///     processing.sink("clicks-of-users", |(user, clicks), output| {
///         output.value.extend(format!("{user} {clicks}").bytes());
///     });
/// #
/// # let log = SimulatedLog::default();
/// # let topic = record_log::TopicSpec {
/// #     name: "clicks".to_owned(), partitions: 1, cleanup: record_log::Cleanup::Delete,
/// #     retention: Duration::from_secs(60),
/// # };
/// # log.ensure_topics(&[topic]).unwrap();
/// # let mut publisher = log.publisher("users", record_log::Delivery::Transactional).unwrap();
/// # for value in ["ann 1000", "bo 5000", "ann 11000", "ann 11001", "bo 30000"] {
/// #     publisher.send(record_log::NewRecord {
/// #         topic: "clicks", partition: None, key: None, value: Some(value.as_bytes()), headers: &[],
/// #     }).unwrap();
/// # }
/// # publisher.commit(&[]).unwrap();
/// # let settings = Settings { until_end: true, ..Settings::default() };
/// # Run::new(job, settings, Arc::new(log.clone()))?.run(&Stop::default())?;
/// # let mut values: Vec<_> = log.records("clicks-of-users").into_iter().map(|it| it.value.unwrap()).collect();
/// # values.sort();
/// # assert_eq!(values, [b"ann 1".to_vec(), b"ann 2".to_vec(), b"bo 1".to_vec()]);
/// # Ok::<(), stream::JobError>(())
/// ```
pub struct Processing<F: ProcessFunction> {
    keyed: Keyed<F::Key, F::Event>,
    function: Arc<F>,
    step: Windows,
    refresh: Duration,
    state_version: u32,
}

/// The default interval after which an unchanged key is written again.
const REFRESH: Duration = Duration::from_secs(3600);

impl<V: Value> Sourced<V> {
    /// Groups events by a key, for a [process function](Keyed::process).
    pub fn key_by<K: Key>(self, key: impl Fn(&V) -> K + Send + Sync + 'static) -> Keyed<K, V> {
        Keyed {
            source: self,
            key: Arc::new(key),
        }
    }
}

impl<K: Key, V: Value> Keyed<K, V> {
    /// Calls a function with the events of each key and with its timers. Event time advances in steps of `step`: the
    /// function is called, and its output committed, when a step has ended. So the step sets the latency. It cannot
    /// change while the job has a checkpoint.
    ///
    /// Events that come after their step has ended are late, and go to the late topic: no lateness is allowed
    /// beyond [`Settings::disorder`](crate::Settings::disorder). Timers after the end of what was read do not
    /// fire, also in a job that ends there; they stay in the checkpoint. If the job falls back to an older
    /// checkpoint, it publishes the later results again.
    ///
    /// # Errors
    /// [`InvalidWindows::Zero`].
    pub fn process<F: ProcessFunction<Key = K, Event = V>>(
        self,
        step: Duration,
        function: F,
    ) -> Result<Processing<F>, InvalidWindows> {
        Ok(Processing {
            keyed: self,
            function: Arc::new(function),
            step: Windows::tumbling(step)?,
            refresh: REFRESH,
            state_version: 0,
        })
    }
}

impl<F: ProcessFunction> Processing<F> {
    /// Sets the time after which a key that did not change is written to a checkpoint again; an hour if it is not
    /// set. A checkpoint has the changes of all keys within this time. The time cannot change while the job has a
    /// checkpoint.
    #[must_use]
    pub fn state_refresh(self, refresh: Duration) -> Self {
        Self { refresh, ..self }
    }

    /// Sets the version of the state; 0 by default. Increase it whenever the state's meaning changes and its type does
    /// not. A job does not continue from a checkpoint of another version.
    #[must_use]
    pub fn state_version(self, state_version: u32) -> Self {
        Self {
            state_version,
            ..self
        }
    }

    /// Publishes a record to `topic` for each value that the function emits. `encode` fills key, value and headers,
    /// or [skips](Output::skip) the value. Records of a key keep their order. Late records go to the source's topic
    /// with the suffix `-late`, rejected ones to the topic with the suffix `-dead-letter`.
    pub fn sink(
        self,
        topic: &str,
        encode: impl Fn(&F::Out, &mut Output) + Send + Sync + 'static,
    ) -> Pipeline<F::Key, Processed<F::Event, F::State>> {
        let windows = self.step;
        let pane_ms = windows.pane_ms();
        let refresh_ms = u64::try_from(self.refresh.as_millis()).unwrap_or(u64::MAX / 2);
        let refresh_ms = refresh_ms.max(1).next_multiple_of(pane_ms);
        let plan = Arc::new(FunctionPlan {
            function: self.function,
            encode: Arc::new(encode),
            pane_ms,
            refresh_ms,
        });
        let processor = Processor {
            keys: Arc::new(move || Box::new(KeyStates::new(Arc::clone(&plan)))),
            emitted: Processed::emitted_or_none,
            refresh_ms,
            state_version: self.state_version,
        };

        Pipeline {
            name: self.keyed.source.name.clone(),
            inputs: self.keyed.source.inputs.clone(),
            windows,
            extent: None,
            is_row: Some(|processed| processed.emitted_or_none().count() > 0),
            decode: keyed(self.keyed, windows),
            decoder: 0,
            results: Destination {
                topic: topic.to_owned(),
                // The records are encoded when they are emitted.
                encode: Arc::new(|_, output| output.skip()),
            },
            views: Vec::new(),
            stages: Vec::new(),
            pass_through: None,
            processor: Some(processor),
        }
    }
}

/// Returns the function that decodes a record to the event of a key.
fn keyed<K: Key, V: Value, S: Value>(
    keyed: Keyed<K, V>,
    windows: Windows,
) -> Decode<K, Processed<V, S>> {
    let Keyed { source, key } = keyed;
    Arc::new(move |record, admission| {
        if let Some((event_ms, value)) = source.admit(record, &windows, admission)? {
            let key = key(&value);
            let place = (record.partition, record.offset);
            admission.add(key, Processed::event(event_ms, place, value));
        }
        Ok(())
    })
}

impl<K, A> Pipeline<K, A> {
    /// Returns how this job's records are packed in aggregates; none if its rows are aggregates.
    pub(crate) fn packing(&self) -> Option<PassThrough<A>> {
        let of_processor = |processor: &Processor<K, A>| PassThrough {
            emitted: processor.emitted,
            branches: Vec::new(),
            flaw: None,
        };
        let pass_through = self.pass_through.clone();
        pass_through.or_else(|| self.processor.as_ref().map(of_processor))
    }

    /// Returns the longest time for which a key that did not change is in no newer part; 0 without a process function.
    pub(crate) fn refresh_ms(&self) -> u64 {
        self.processor.as_ref().map_or(0, |it| it.refresh_ms)
    }

    /// Returns the settings of the process function that a checkpoint keeps.
    pub(crate) fn process_settings(&self) -> Option<ProcessSettings> {
        let settings = |processor: &Processor<K, A>| ProcessSettings {
            refresh_ms: processor.refresh_ms,
            state_version: processor.state_version,
        };
        self.processor.as_ref().map(settings)
    }

    /// Checks that a job with a process function has nothing that needs rows.
    pub(super) fn validate_processor(&self) -> Result<(), JobError> {
        if self.processor.is_some() && self.views().next().is_some() {
            return Err(JobError::Settings(format!(
                "job {:?} has a process function, so it has no rows for totals, a ranking or a stage: remove summarize, top and stage",
                self.name
            )));
        }
        Ok(())
    }
}
