//! A librdkafka client with its callbacks. Only this module creates and destroys clients.
//!
//! The `rdkafka` crate's clients create an event object for each message and wait for delivery
//! reports in steps of 100 ms. Reader and publisher therefore use librdkafka directly; properties
//! and error codes are that crate's.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

use super::errors::{self, About};
use crate::{Cause, LogError, Refusal};

/// The shortest time between two warnings about failing connections, over all clients of the
/// process.
const WARNING_INTERVAL: Duration = Duration::from_secs(30);

/// The time limit for counting the replicas of a partition.
const METADATA_LIMIT: Duration = Duration::from_secs(2);

/// librdkafka's syslog levels.
const LOG_CRITICAL: c_int = 2;
const LOG_WARNING: c_int = 4;

/// The use of a client.
#[derive(Clone, Copy)]
pub(super) enum Role {
    Reader,
    Publisher,
}

/// A running client. Its threads end when it is dropped.
pub(super) struct Client {
    raw: NonNull<sys::rd_kafka_t>,
    /// librdkafka holds its address.
    events: Box<Events>,
}

/// The events that the callbacks noted since they were last read.
#[derive(Default)]
struct Events {
    all_brokers_down: AtomicBool,
    /// The first record that was not delivered.
    undelivered: Mutex<Option<Undelivered>>,
    /// The brokers reject the client's credentials.
    is_stranger: AtomicBool,
}

/// A record that was not delivered.
#[derive(Clone, Debug)]
pub(super) struct Undelivered {
    pub(super) code: RDKafkaErrorCode,
    topic: String,
    partition: i32,
    key: String,
    size_bytes: usize,
    /// The likely reason of a time-out.
    explanation: String,
}

impl Undelivered {
    /// Adds the likely reason to a record whose time was up. librdkafka sends a record again until then, and does not
    /// return why the brokers refused it.
    pub(super) fn explained(self, client: &Client) -> Self {
        if self.code != RDKafkaErrorCode::MessageTimedOut {
            return self;
        }
        if client.lacks(&self.topic) {
            let explanation = "; the topic does not exist, or was deleted: create it".to_owned();
            return Self {
                explanation,
                ..self
            };
        }

        let explanation = match client.replicas(&self.topic, self.partition) {
            Some((in_sync, all)) if in_sync < all => format!(
                "; {in_sync} of its {all} replicas are in sync, and if its min.insync.replicas is greater, brokers refuse \
                 records (NOT_ENOUGH_REPLICAS): start the brokers that are away"
            ),
            Some(_) => "; all its replicas are in sync: another partition of the transaction is away, the leader is slow, or \
                 a quota (producer_byte_rate) throttles this client"
                .to_owned(),
            None => String::new(),
        };
        Self {
            explanation,
            ..self
        }
    }

    /// Returns the refusal for this record's error; none if the error is transient.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let about = About::Topic {
            right: "WRITE",
            topic: &self.topic,
        };

        // librdkafka reports this code only after the topic was missing for the whole time limit.
        let code = match self.code {
            RDKafkaErrorCode::UnknownTopicOrPartition => RDKafkaErrorCode::UnknownTopic,
            code => code,
        };
        let reason = errors::refusal(code, about)?;
        Some(Refusal::new(format!("{reason}; {self}")))
    }
}

impl fmt::Display for Undelivered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            topic,
            partition,
            key,
            size_bytes,
            explanation,
        } = self;

        write!(
            formatter,
            "a record of {size_bytes} bytes with key {key:?} for partition {partition} of topic {topic:?} was not delivered: \
             {code}{explanation}"
        )
    }
}

impl std::error::Error for Undelivered {}

/// The number of bytes of a key that a message shows.
const KEY_SHOWN_BYTES: usize = 40;

// SAFETY: librdkafka's client handles may be used from any thread, several at a time; `Events` may
// too.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

/// A failure because of topics that do not exist. The brokers' answer does not name them.
#[derive(Debug, thiserror::Error)]
#[error("topic {topics} does not exist, or was deleted: create it ({failure})")]
struct Missing {
    /// The topics' names, in quotes.
    topics: String,
    failure: Failure,
}

/// An error of librdkafka, with its own classification.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) code: RDKafkaErrorCode,
    pub(super) is_retriable: bool,
    pub(super) is_fatal: bool,
    pub(super) requires_abort: bool,
}

impl Client {
    pub(super) fn new(role: Role, config: &ClientConfig) -> Result<Self, LogError> {
        let events = Box::<Events>::default();
        let native = config
            .create_native_config()
            .map_err(|refused| LogError::Settings(Box::new(refused)))?;
        let mut reason: [c_char; 512] = [0; 512];

        let kind = match role {
            Role::Reader => sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
            Role::Publisher => sys::rd_kafka_type_t::RD_KAFKA_PRODUCER,
        };

        // SAFETY: the configuration is live. The callbacks match their C types and use the opaque
        // as `Events`, which is boxed and outlives the client. `rd_kafka_new` takes the
        // configuration over if and only if it succeeds.
        let raw = unsafe {
            sys::rd_kafka_conf_set_opaque(native.ptr(), ptr::from_ref(&*events).cast_mut().cast());
            sys::rd_kafka_conf_set_log_cb(native.ptr(), Some(on_log));
            sys::rd_kafka_conf_set_error_cb(native.ptr(), Some(on_error));
            if matches!(role, Role::Publisher) {
                sys::rd_kafka_conf_set_dr_msg_cb(native.ptr(), Some(on_delivery));
            }

            sys::rd_kafka_new(kind, native.ptr(), reason.as_mut_ptr(), reason.len())
        };

        match NonNull::new(raw) {
            Some(raw) => {
                std::mem::forget(native);
                Ok(Self { raw, events })
            }
            // SAFETY: librdkafka ended its reason with a zero byte.
            None => Err(LogError::Settings(
                text(unsafe { CStr::from_ptr(reason.as_ptr()) }).into(),
            )),
        }
    }

    pub(super) fn raw(&self) -> *mut sys::rd_kafka_t {
        self.raw.as_ptr()
    }

    /// Runs the callbacks that are due; waits at most `at_most` for one.
    pub(super) fn serve(&self, at_most: Duration) {
        // SAFETY: the client is live; its callbacks were set in `new`.
        unsafe { sys::rd_kafka_poll(self.raw(), millis(at_most)) };
    }

    /// Returns whether all brokers became unreachable since the last call.
    pub(super) fn take_all_brokers_down(&self) -> bool {
        self.events.all_brokers_down.swap(false, Ordering::Relaxed)
    }

    /// Returns whether the brokers rejected the client's credentials.
    pub(super) fn is_stranger(&self) -> bool {
        self.events.is_stranger.load(Ordering::Relaxed)
    }

    /// Returns the first record that was not delivered since the last call.
    pub(super) fn take_undelivered(&self) -> Option<Undelivered> {
        self.events
            .undelivered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Returns the error after which the client cannot be used, if there was one.
    pub(super) fn fatal_error(&self) -> Option<RDKafkaErrorCode> {
        // SAFETY: the client is live; no buffer is given for the reason.
        let code = unsafe { sys::rd_kafka_fatal_error(self.raw(), ptr::null_mut(), 0) };
        (code != Code::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| code.into())
    }

    /// Counts the replicas of a partition, those in sync and all; none if the brokers do not list it.
    fn replicas(&self, topic: &str, partition: i32) -> Option<(i32, i32)> {
        self.described(topic, |found| replicas_of(found, partition))?
    }

    /// Returns whether the brokers have no such topic.
    pub(super) fn lacks(&self, topic: &str) -> bool {
        let is_unknown = |found: &sys::rd_kafka_metadata_topic| {
            found.err == Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        };
        self.described(topic, is_unknown).unwrap_or(false)
    }

    /// Returns the metadata of a topic; none if no broker answers.
    fn described<T>(
        &self,
        topic: &str,
        read: impl FnOnce(&sys::rd_kafka_metadata_topic) -> T,
    ) -> Option<T> {
        let name = CString::new(topic).ok()?;
        let handle = self.topic(&name).ok()?.as_ptr();
        let limit = millis(METADATA_LIMIT);
        let mut list = ptr::null();

        // SAFETY: client and handle are live. The list is live until it is destroyed, and has as many topics as it counts.
        unsafe {
            let code = sys::rd_kafka_metadata(self.raw(), 0, handle, &raw mut list, limit);
            sys::rd_kafka_topic_destroy(handle);
            if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }

            let found = ((*list).topic_cnt == 1).then(|| read(&*(*list).topics));
            sys::rd_kafka_metadata_destroy(list);
            found
        }
    }

    /// Returns a handle of the topic, which must be destroyed before the client.
    pub(super) fn topic(
        &self,
        name: &CStr,
    ) -> Result<NonNull<sys::rd_kafka_topic_t>, RDKafkaErrorCode> {
        // SAFETY: the client is live, the name ends with a zero byte, and a null configuration
        // means the client's.
        let topic = unsafe { sys::rd_kafka_topic_new(self.raw(), name.as_ptr(), ptr::null_mut()) };
        NonNull::new(topic).ok_or_else(last_error)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: nothing else holds the client; its topics and queues were destroyed before by
        // their owners.
        unsafe { sys::rd_kafka_destroy(self.raw()) };
    }
}

impl Failure {
    /// Takes the error that a call of librdkafka returned; null is no error.
    ///
    /// # Safety
    /// `error` is null or a live error that the caller owns.
    pub(super) unsafe fn check(error: *mut sys::rd_kafka_error_t) -> Result<(), Self> {
        if error.is_null() {
            return Ok(());
        }

        // SAFETY: the error is live until it is destroyed at the end, and not used after.
        let failure = unsafe {
            let failure = Self {
                message: text(CStr::from_ptr(sys::rd_kafka_error_string(error))),
                code: sys::rd_kafka_error_code(error).into(),
                is_retriable: sys::rd_kafka_error_is_retriable(error) != 0,
                is_fatal: sys::rd_kafka_error_is_fatal(error) != 0,
                requires_abort: sys::rd_kafka_error_txn_requires_abort(error) != 0,
            };

            sys::rd_kafka_error_destroy(error);
            failure
        };

        Err(failure)
    }

    /// Names those of the topics that are missing, if the failure is about some.
    pub(super) fn explained<'a>(
        self,
        client: &Client,
        topics: impl Iterator<Item = &'a String>,
    ) -> Cause {
        if self.code != RDKafkaErrorCode::UnknownTopicOrPartition {
            return self.into();
        }

        let missing = topics.filter(|topic| client.lacks(topic));
        let missing: Vec<String> = missing.map(|topic| format!("{topic:?}")).collect();
        if missing.is_empty() {
            return self.into();
        }
        Missing {
            topics: missing.join(" and "),
            failure: self,
        }
        .into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = errors::cause(self.code).map(|cause| format!(": {cause}"));
        write!(formatter, "{}{}", self.message, cause.unwrap_or_default())
    }
}

impl std::error::Error for Failure {}

/// Returns the transient error for this code of librdkafka.
pub(super) fn unavailable(code: RDKafkaErrorCode) -> LogError {
    LogError::Unavailable(Box::new(code))
}

/// Returns the code of the last call that returned nothing.
pub(super) fn last_error() -> RDKafkaErrorCode {
    // SAFETY: it reads a number of this thread.
    unsafe { sys::rd_kafka_last_error() }.into()
}

/// Converts a name to librdkafka's type.
pub(super) fn c_string(name: &str) -> Result<CString, LogError> {
    CString::new(name).map_err(|refused| LogError::Settings(Box::new(refused)))
}

/// Converts a duration to librdkafka's type.
pub(super) fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

fn text(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

unsafe extern "C" fn on_error(
    _: *mut sys::rd_kafka_t,
    code: c_int,
    _: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque is the `Events` that `Client::new` set, which outlive the client.
    let events = unsafe { &*opaque.cast::<Events>() };
    if code == Code::RD_KAFKA_RESP_ERR__AUTHENTICATION as c_int
        || code == Code::RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED as c_int
    {
        events.is_stranger.store(true, Ordering::Relaxed);
    }

    // librdkafka repairs other errors of connections by itself, and logs them.
    if code == Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as c_int {
        events.all_brokers_down.store(true, Ordering::Relaxed);
    }
}

unsafe extern "C" fn on_delivery(
    _: *mut sys::rd_kafka_t,
    message: *const sys::rd_kafka_message_t,
    opaque: *mut c_void,
) {
    // SAFETY: the message is live during the call.
    let message = unsafe { &*message };
    let code = message.err;

    // Records that an abort purged did not fail by themselves.
    let is_purged = matches!(
        code,
        Code::RD_KAFKA_RESP_ERR__PURGE_QUEUE | Code::RD_KAFKA_RESP_ERR__PURGE_INFLIGHT
    );

    if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR && !is_purged {
        // SAFETY: the opaque is the `Events` that `Client::new` set, which outlive the client.
        let events = unsafe { &*opaque.cast::<Events>() };
        events
            .undelivered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| undelivered(message));
    }
}

/// Counts the replicas of a partition of a topic in a live list.
fn replicas_of(topic: &sys::rd_kafka_metadata_topic, partition: i32) -> Option<(i32, i32)> {
    let count = usize::try_from(topic.partition_cnt).ok()?;
    // SAFETY: a topic of a live list has as many partitions as it counts.
    let partition_at = |place| unsafe { &*topic.partitions.add(place) };

    let found = (0..count)
        .map(partition_at)
        .find(|found| found.id == partition)?;
    Some((found.isr_cnt, found.replica_cnt))
}

fn undelivered(message: &sys::rd_kafka_message_t) -> Undelivered {
    // SAFETY: the topic's handle lives during the callback, and its name ends with a zero byte.
    let topic = unsafe { text(CStr::from_ptr(sys::rd_kafka_topic_name(message.rkt))) };
    let key = if message.key.is_null() {
        &[][..]
    } else {
        // SAFETY: the key is of this length and lives during the callback.
        unsafe { std::slice::from_raw_parts(message.key.cast::<u8>(), message.key_len) }
    };

    Undelivered {
        code: message.err.into(),
        topic,
        partition: message.partition,
        key: String::from_utf8_lossy(&key[..key.len().min(KEY_SHOWN_BYTES)]).into_owned(),
        size_bytes: message.len,
        explanation: String::new(),
    }
}

/// Writes librdkafka's log lines to tracing. Unreachable brokers are logged at intervals, not at
/// every attempt.
unsafe extern "C" fn on_log(
    _: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    // SAFETY: both are texts that end with a zero byte and live during the call.
    let (facility, line) = unsafe { (CStr::from_ptr(facility), CStr::from_ptr(line)) };
    let facility = facility.to_string_lossy();
    let line = line.to_string_lossy();

    if level <= LOG_CRITICAL {
        tracing::error!(target: "librdkafka", %facility, "{line}");
    } else if level <= LOG_WARNING && !is_secondary(&facility, &line) && is_warning_due() {
        tracing::warn!(target: "librdkafka", %facility, "{line}");
    } else {
        tracing::debug!(target: "librdkafka", %facility, "{line}");
    }
}

/// Returns whether a warning is about nothing that somebody could change. Where one partition cannot be added to a
/// transaction, the brokers refuse the others without a reason, and librdkafka warns of these.
fn is_secondary(facility: &str, line: &str) -> bool {
    facility == "CONFWARN" || facility == "ADDPARTS" && line.contains("Operation not attempted")
}

fn is_warning_due() -> bool {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);

    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let is_due = last.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL);
    if is_due {
        *last = Some(Instant::now());
    }

    is_due
}
