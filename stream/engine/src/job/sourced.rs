//! Sources, in the definition of a job: topics, and the decoders of their records.

use std::sync::Arc;
use std::time::Duration;

use record_log::Record;

use super::{Admission, Either, Job, Rejected, Sessioned, Windowed};
use crate::inputs::{self, Inputs};
use crate::pane::{EventTimeMs, SessionWindows, Windows};
use crate::seen::EventId;

/// A job with sources, whose records are decoded to values of type `V`.
///
/// Several topics are read by [`and`](Self::and), if their values have the same type, and by
/// [`with`](Self::with), if they have different ones. Each topic has its own decoder, and may have a
/// disorder and topics of side outputs of its own. The job's event time is the least of those of all partitions of all
/// topics.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use record_log::{Record, RecordLog, simulated::SimulatedLog};
/// # use stream::{Count, Job, Rejected, Run, Settings, Sourced, Stop, Windows};
/// # fn visit(record: &Record<'_>) -> Result<(u64, String), Rejected> {
/// #     Ok((1000, String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned()))
/// # }
/// // The visits of two shops, whose events have the same form.
/// let south: Sourced<String> = Sourced::of("visits-south", visit)
///     .disorder(Duration::from_secs(60))
///     .side_outputs("late-south", "rejected-south");
///
/// let job = Job::new("visits")
///     .source("visits-north", visit)
///     .and(south)
///     .window(Windows::tumbling(Duration::from_secs(60))?)
///     .aggregate(|page: String| [(page, Count(1))])
///     .sink("visit-counts", |row, output| {
///         output.value.extend(format!("{} {}", row.key, row.aggregate.0).bytes());
///     });
/// #
/// # let log = SimulatedLog::default();
/// # let topic = |name: &str| record_log::TopicSpec {
/// #     name: name.to_owned(), partitions: 1, cleanup: record_log::Cleanup::Delete,
/// #     retention: Duration::from_secs(60),
/// # };
/// # log.ensure_topics(&[topic("visits-north"), topic("visits-south")]).unwrap();
/// # let mut publisher = log.publisher("visitors", record_log::Delivery::Transactional).unwrap();
/// # for topic in ["visits-north", "visits-south"] {
/// #     publisher.send(record_log::NewRecord {
/// #         topic, partition: None, key: None, value: Some(b"home"), headers: &[],
/// #     }).unwrap();
/// # }
/// # publisher.commit(&[]).unwrap();
/// # let settings = Settings { until_end: true, ..Settings::default() };
/// # Run::new(job, settings, Arc::new(log.clone()))?.run(&Stop::default())?;
/// # assert_eq!(log.records("visit-counts")[0].value.as_deref(), Some(&b"home 2"[..]));
/// # Ok::<(), stream::JobError>(())
/// ```
pub struct Sourced<V> {
    /// The job's name; empty for a source that is not part of a job yet.
    pub(super) name: String,
    pub(super) inputs: Inputs,
    pub(super) decode: DecodeFn<V>,
    pub(super) has_ids: bool,
}

/// A decoded record.
pub(super) struct Event<V> {
    pub(super) time_ms: EventTimeMs,
    pub(super) id: Option<EventId>,
    pub(super) value: V,
}

/// Decodes a record into the place of an event, where each step of the definition changes it. The place is none before,
/// and stays none if the record is not for this job. The record's partition is an [id](crate::inputs), whose source is
/// counted from the first of these sources.
type DecodeFn<V> =
    Arc<dyn Fn(&Record<'_>, &mut Option<Event<V>>) -> Result<(), Rejected> + Send + Sync>;

impl Job {
    /// Reads `topic`. `decode` returns each record's event time (milliseconds since the Unix epoch)
    /// and a value.
    pub fn source<V>(
        self,
        topic: &str,
        decode: impl Fn(&Record<'_>) -> Result<(EventTimeMs, V), Rejected> + Send + Sync + 'static,
    ) -> Sourced<V> {
        self.source_of_some(topic, move |record| decode(record).map(Some))
    }

    /// Reads a `topic` that has other records, too. `decode` returns none for them: they are neither
    /// counted nor rejected, and do not move event time.
    pub fn source_of_some<V>(
        self,
        topic: &str,
        decode: impl Fn(&Record<'_>) -> Result<Option<(EventTimeMs, V)>, Rejected>
        + Send
        + Sync
        + 'static,
    ) -> Sourced<V> {
        Sourced {
            name: self.name,
            ..Sourced::of_some(topic, decode)
        }
    }
}

impl<V> Sourced<V> {
    /// Creates a further source of a job, as [`Job::source`] creates the first one.
    pub fn of(
        topic: &str,
        decode: impl Fn(&Record<'_>) -> Result<(EventTimeMs, V), Rejected> + Send + Sync + 'static,
    ) -> Self {
        Self::of_some(topic, move |record| decode(record).map(Some))
    }

    /// Creates a further source of a job, as [`Job::source_of_some`] creates the first one.
    pub fn of_some(
        topic: &str,
        decode: impl Fn(&Record<'_>) -> Result<Option<(EventTimeMs, V)>, Rejected>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            name: String::new(),
            inputs: Inputs::of(topic),
            decode: Arc::new(move |record, event| {
                if let Some((time_ms, value)) = decode(record)? {
                    *event = Some(Event {
                        time_ms,
                        id: None,
                        value,
                    });
                }
                Ok(())
            }),
            has_ids: false,
        }
    }

    /// Sets the disorder of the events of these sources, in place of [`Settings::disorder`](crate::Settings::disorder).
    #[must_use]
    pub fn disorder(mut self, disorder: Duration) -> Self {
        for input in self.inputs.iter_mut() {
            input.disorder = Some(disorder);
        }
        self
    }

    /// Sets the topics of the side outputs of these sources: late records and dead letters.
    #[must_use]
    pub fn side_outputs(mut self, late_topic: &str, dead_letter_topic: &str) -> Self {
        self.inputs.side_outputs(late_topic, dead_letter_topic);
        self
    }
}

impl<V: 'static> Sourced<V> {
    /// Also reads other sources with values of the same type.
    ///
    /// Sources can be added to a job that has a checkpoint if they come last. Their records are then read from the
    /// oldest one on, and are late if their windows can no longer be corrected.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        let own = self.inputs.count();
        let decode = self.decode;
        let decode_other = others.decode;

        Self {
            name: self.name,
            inputs: self.inputs.and(others.inputs),
            decode: Arc::new(
                move |record, event| match inputs::after(own, record.partition) {
                    None => decode(record, event),
                    Some(partition) => {
                        let record = Record {
                            partition,
                            ..*record
                        };
                        decode_other(&record, event)
                    }
                },
            ),
            has_ids: self.has_ids || others.has_ids,
        }
    }

    /// Also reads other sources with values of another type, for a join: see [`Windowed::join`].
    #[must_use]
    pub fn with<W: 'static>(self, others: Sourced<W>) -> Sourced<Either<V, W>> {
        self.map(Either::Left).and(others.map(Either::Right))
    }

    /// Counts each event once: of records with the same id and event time in one partition, only the
    /// first is counted. Events in different partitions are different ones. An id is held while its window can change, if
    /// [`Settings::event_id_memory`](crate::Settings::event_id_memory) suffices.
    #[must_use]
    pub fn identified_by(
        self,
        identify: impl Fn(&V) -> Option<EventId> + Send + Sync + 'static,
    ) -> Self {
        let decode = self.decode;
        Self {
            decode: Arc::new(move |record, event| {
                decode(record, event)?;
                if let Some(event) = event {
                    event.id = identify(&event.value);
                }
                Ok(())
            }),
            has_ids: true,
            ..self
        }
    }

    /// Decodes a record, and lets the engine decide about the event. Returns none if the event is not to be counted.
    // The call would copy each event twice.
    #[inline(always)]
    pub(super) fn admit<K, A>(
        &self,
        record: &Record<'_>,
        windows: &Windows,
        admission: &mut dyn Admission<K, A>,
    ) -> Result<Option<(EventTimeMs, V)>, Rejected> {
        let mut event = None;
        (self.decode)(record, &mut event)?;
        let Some(event) = event else {
            admission.leave_out();
            return Ok(None);
        };

        let event_ms = event.time_ms;
        let first_ms = windows.offset_ms();
        if event_ms < first_ms {
            return Err(before_the_first_window(event_ms, first_ms));
        }

        let is_counted = admission.admit(event_ms, event.id)?;
        Ok(is_counted.then_some((event_ms, event.value)))
    }

    /// Groups events by windows.
    pub fn window(self, windows: Windows) -> Windowed<V> {
        Windowed {
            source: self,
            windows,
        }
    }

    /// Groups events by sessions. Each session is emitted as soon as it has ended, and again with
    /// the next revision when late records have changed it. A consumer keeps, for each key and
    /// start, the row with the highest revision, and drops rows that [are gone](crate::Row::is_gone). It
    /// then has each emitted event in exactly one session at any time. The totals of a summary
    /// cover all sessions between two cuts.
    pub fn sessions(self, sessions: SessionWindows) -> Sessioned<V> {
        Sessioned {
            source: self,
            sessions,
        }
    }
}

#[cold]
fn before_the_first_window(event_ms: EventTimeMs, first_ms: u64) -> Rejected {
    Rejected::because(format_args!(
        "the event's time {event_ms} is before the first window, which starts at {first_ms}"
    ))
}
