//! Steps without state: filter and map, and jobs without a window, which turn each record into any
//! number of records at once.

use std::sync::Arc;
use std::time::Duration;

use record_log::Record;

use super::sourced::{Event, Sourced};
use super::{Decode, Pipeline, Rejected};
use crate::emitted::{Emitted, SourcePartition};
use crate::error::JobError;
use crate::inputs::Inputs;
use crate::output::{Destination, Encode, Output};
use crate::pane::{EventTimeMs, InvalidWindows, Windows};

/// A job with a source and without a window. Its results are committed once every interval.
///
/// Nothing is late in such a job, and its rows are never corrected. Records of a partition keep
/// their order.
///
/// ```
/// use std::time::Duration;
/// use record_log::Record;
/// use stream::{Emitted, Job, Passing, Pipeline, Rejected, SourcePartition};
///
/// let passing: Passing<u64> = Job::new("payments")
///     .source("orders", |record: &Record<'_>| {
///         let text = std::str::from_utf8(record.value.unwrap_or_default()).map_err(Rejected::because)?;
///         Ok((record.log_time_ms, text.parse::<u64>().map_err(Rejected::because)?))
///     })
///     .filter(|cents| *cents > 0)
///     .without_window(Duration::from_millis(100))?;
///
/// // A record for each order, and the large ones in a topic of their own as well.
/// let job: Pipeline<SourcePartition, Emitted> = passing
///     .branch("large-payments", |cents, output| {
///         output.value.extend(cents.to_string().bytes());
///         if *cents < 100_000 {
///             output.skip();
///         }
///     })
///     .sink("payments", |cents, output| output.value.extend(cents.to_string().bytes()));
/// assert_eq!(job.name(), "payments");
/// # Ok::<(), stream::JobError>(())
/// ```
pub struct Passing<V> {
    name: String,
    inputs: Inputs,
    interval: Windows,
    flaw: Option<String>,
    values: Values<V>,
    branches: Vec<Destination<V>>,
}

/// Decodes a record to values of one event time.
type Values<V> =
    Arc<dyn Fn(&Record<'_>, &mut dyn FnMut(EventTimeMs, V)) -> Result<(), Rejected> + Send + Sync>;

/// The parts of a job that only a job without a window has.
pub struct PassThrough<A> {
    /// Returns the records that an aggregate consists of.
    pub(crate) emitted: fn(&A) -> &Emitted,
    /// The topics of sinks 1 and up. Sink 0 publishes to the topic of the results.
    pub(crate) branches: Vec<String>,
    /// The reason why the job cannot run; none if it can.
    pub(super) flaw: Option<String>,
}

impl<A> Clone for PassThrough<A> {
    fn clone(&self) -> Self {
        Self {
            emitted: self.emitted,
            branches: self.branches.clone(),
            flaw: self.flaw.clone(),
        }
    }
}

impl<V: 'static> Sourced<V> {
    /// Keeps the events for whose values `is_kept` returns true. The others are neither counted nor rejected, and do
    /// not move event time.
    #[must_use]
    pub fn filter(self, is_kept: impl Fn(&V) -> bool + Send + Sync + 'static) -> Self {
        let decode = self.decode;
        Self {
            decode: Arc::new(move |record, event| {
                decode(record, event)?;
                event.take_if(|event| !is_kept(&event.value));
                Ok(())
            }),
            ..self
        }
    }

    /// Turns each value into another one of the same event.
    #[must_use]
    pub fn map<W: 'static>(self, map: impl Fn(V) -> W + Send + Sync + 'static) -> Sourced<W> {
        let decode = self.decode;
        Sourced {
            name: self.name,
            inputs: self.inputs,
            decode: Arc::new(move |record, event| {
                let mut former = None;
                decode(record, &mut former)?;
                *event = former.map(|former| Event {
                    time_ms: former.time_ms,
                    id: former.id,
                    value: map(former.value),
                });
                Ok(())
            }),
            has_ids: self.has_ids,
        }
    }

    /// Publishes records for each event without a window. Results are committed every `interval`,
    /// which is their latency; a checkpoint is written as often. The interval cannot change while
    /// the job has a checkpoint.
    ///
    /// Each event is published exactly once, whatever its time is: no event is late, or rejected for its time. If the
    /// job falls back to an older checkpoint, it publishes the later results again.
    ///
    /// # Errors
    /// [`InvalidWindows::Zero`].
    pub fn without_window(self, interval: Duration) -> Result<Passing<V>, InvalidWindows> {
        let flaw = self.has_ids.then(|| {
            let name = &self.name;
            format!(
                "job {name:?} has no window, so it cannot hold the ids of events: remove identified_by, or add a window"
            )
        });
        let decode = self.decode;

        Ok(Passing {
            name: self.name,
            inputs: self.inputs,
            interval: Windows::tumbling(interval)?,
            flaw,
            values: Arc::new(move |record, each| {
                let mut event = None;
                decode(record, &mut event)?;
                if let Some(event) = event {
                    each(event.time_ms, event.value);
                }
                Ok(())
            }),
            branches: Vec::new(),
        })
    }
}

impl<V: 'static> Passing<V> {
    /// Turns each value into any number of others.
    ///
    /// # Panics
    /// If a [branch](Self::branch) was added: its values are of another type.
    #[must_use]
    pub fn flat_map<W: 'static, I: IntoIterator<Item = W>>(
        self,
        map: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> Passing<W> {
        assert!(
            self.branches.is_empty(),
            "flat_map comes before the first branch"
        );
        let values = self.values;

        Passing {
            name: self.name,
            inputs: self.inputs,
            interval: self.interval,
            flaw: self.flaw,
            values: Arc::new(move |record, each| {
                values(record, &mut |time_ms, value| {
                    map(value)
                        .into_iter()
                        .for_each(|value| each(time_ms, value));
                })
            }),
            branches: Vec::new(),
        }
    }

    /// Also publishes records to `topic`. `encode` fills each, or [skips](Output::skip) the value.
    #[must_use]
    pub fn branch(
        mut self,
        topic: &str,
        encode: impl Fn(&V, &mut Output) + Send + Sync + 'static,
    ) -> Self {
        self.branches.push(destination(topic, encode));
        self
    }

    /// Publishes a record to `topic` for each value. `encode` fills key, value and headers, or
    /// [skips](Output::skip) the value. Rejected records go to the source's topic with the suffix
    /// `-dead-letter`.
    pub fn sink(
        self,
        topic: &str,
        encode: impl Fn(&V, &mut Output) + Send + Sync + 'static,
    ) -> Pipeline<SourcePartition, Emitted> {
        let branches = self.branches.iter().map(|branch| branch.topic.clone());
        let pass_through = PassThrough {
            emitted: |emitted| emitted,
            branches: branches.collect(),
            flaw: self.flaw,
        };

        let mut sinks = vec![destination(topic, encode)];
        sinks.extend(self.branches);
        let encoders = sinks.into_iter().map(|sink| sink.encode).collect();

        Pipeline {
            name: self.name,
            inputs: self.inputs,
            windows: self.interval,
            extent: None,
            is_row: None,
            decode: emitting(self.values, encoders),
            decoder: 0,
            results: Destination {
                topic: topic.to_owned(),
                // The records are encoded when they are read.
                encode: Arc::new(|_, output| output.skip()),
            },
            views: Vec::new(),
            stages: Vec::new(),
            pass_through: Some(pass_through),
            processor: None,
        }
    }
}

/// Returns the function that decodes a record and packs the records that the sinks make from its values.
fn emitting<V: 'static>(
    values: Values<V>,
    sinks: Vec<Encode<V>>,
) -> Decode<SourcePartition, Emitted> {
    Arc::new(move |record, admission| {
        let mut emitted = Emitted::at(record.offset);
        let mut output = Output::default();
        let mut event_ms = None;

        values(record, &mut |time_ms, value| {
            event_ms = Some(time_ms);
            for (number, encode) in (0..).zip(&sinks) {
                output.clear();
                encode(&value, &mut output);
                if !output.is_nothing(false) {
                    emitted.push(number, &output);
                }
            }
        })?;

        if event_ms.is_some_and(|event_ms| admission.pass(event_ms)) && emitted.count() > 0 {
            admission.add(SourcePartition(record.partition), emitted);
        }
        Ok(())
    })
}

fn destination<V>(
    topic: &str,
    encode: impl Fn(&V, &mut Output) + Send + Sync + 'static,
) -> Destination<V> {
    Destination {
        topic: topic.to_owned(),
        encode: Arc::new(encode),
    }
}

impl<K, A> Pipeline<K, A> {
    /// Returns the topics of branches, in a job without a window.
    pub(crate) fn branches(&self) -> &[String] {
        let branches = self.pass_through.as_ref().map(|it| &*it.branches);
        branches.unwrap_or_default()
    }

    /// Checks the rules that the types of the definition do not enforce.
    ///
    /// # Errors
    /// [`JobError::Settings`].
    pub(crate) fn validate(&self) -> Result<(), JobError> {
        self.inputs.validate(&self.name)?;
        self.validate_processor()?;
        let Some(pass_through) = &self.pass_through else {
            return Ok(());
        };
        let refuse = |reason: String| Err(JobError::Settings(reason));
        if let Some(flaw) = &pass_through.flaw {
            return refuse(flaw.clone());
        }

        if self.views().next().is_some() {
            return refuse(format!(
                "job {:?} has no window, so it has no totals, ranking or stage of one: remove summarize, top and stage, or add a window",
                self.name
            ));
        }
        if pass_through.branches.len() >= usize::from(u8::MAX) {
            return refuse(format!("job {:?} has more than 254 branches", self.name));
        }
        Ok(())
    }
}
