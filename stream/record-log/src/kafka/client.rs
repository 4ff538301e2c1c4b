//! A librdkafka client with its callbacks. Only this module creates and destroys clients.
//!
//! The `rdkafka` crate's clients create an event object for each message and wait for delivery
//! reports in steps of 100 ms. Reader and publisher therefore call librdkafka directly. Properties
//! and error codes are those of the crate.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

use super::errors;
use super::logged::on_log;
use super::undelivered::{InSync, Undelivered, undelivered};
use crate::{Cause, LogError};

/// The time limit for counting the replicas of a partition.
const METADATA_LIMIT: Duration = Duration::from_secs(2);

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
    /// `true` if the brokers reject the client's credentials.
    is_stranger: AtomicBool,
    /// The time for which each broker throttles the client, in milliseconds; without those that do not.
    throttles: Mutex<BTreeMap<i32, c_int>>,
}

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
            sys::rd_kafka_conf_set_throttle_cb(native.ptr(), Some(on_throttle));
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

    /// Returns `true` if all brokers became unreachable since the last call.
    pub(super) fn take_all_brokers_down(&self) -> bool {
        self.events.all_brokers_down.swap(false, Ordering::Relaxed)
    }

    /// Returns `true` if the brokers rejected the client's credentials.
    pub(super) fn is_stranger(&self) -> bool {
        self.events.is_stranger.load(Ordering::Relaxed)
    }

    /// Returns the time for which the broker throttles the client by its newest answer, in
    /// milliseconds; none if it does not.
    pub(super) fn throttled_ms(&self, broker: i32) -> Option<c_int> {
        let throttles = self.events.throttles.lock();
        let throttles = throttles.unwrap_or_else(PoisonError::into_inner);
        throttles.get(&broker).copied()
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

    /// Adds the likely reason to a record whose time limit has passed. Until then librdkafka sends a record again, and it
    /// does not return the brokers' reason. Looks at all the publisher's `topics`: one that is missing, or that lacks
    /// replicas, keeps the whole transaction waiting, and a record of another topic may time out first.
    pub(super) fn explained<'a>(
        &self,
        record: Undelivered,
        topics: impl Iterator<Item = &'a String> + Clone,
    ) -> Undelivered {
        if record.code != RDKafkaErrorCode::MessageTimedOut {
            return record;
        }
        if let Some(missing) = self.missing(topics.clone()) {
            return record.because(format!(
                "; topic {missing} does not exist, or was deleted: create it"
            ));
        }

        record.because(match self.thinnest(topics) {
            Some(thinnest) if thinnest.lacks_replicas() => format!(
                "; {thinnest}, and if its min.insync.replicas is greater, brokers refuse records (NOT_ENOUGH_REPLICAS): \
                 start the brokers that are away"
            ),
            Some(_) => "; all replicas of the transaction's topics are in sync: a leader is slow, or a quota \
                 (producer_byte_rate) throttles this client"
                .to_owned(),
            None => String::new(),
        })
    }

    /// Returns, of all partitions of these topics, the one that lacks replicas and has the fewest in sync; any if none
    /// lacks some, and none if no broker answers.
    fn thinnest<'a>(&self, topics: impl Iterator<Item = &'a String>) -> Option<InSync> {
        let mut thinnest: Option<InSync> = None;
        for topic in topics {
            // If no broker answers, the next topic would wait as long for nothing.
            let found = self.described(topic, in_sync)?;
            let all = thinnest.into_iter().chain(found);
            thinnest = all.min_by_key(InSync::order);
        }

        thinnest
    }

    /// Returns the names of those topics that the brokers do not have, in quotes; none if none is known to be missing.
    fn missing<'a>(&self, topics: impl Iterator<Item = &'a String>) -> Option<String> {
        let mut missing = Vec::new();
        for topic in topics {
            // If no broker answers, the next topic would wait as long for nothing.
            if self.lacks(topic)? {
                missing.push(format!("{topic:?}"));
            }
        }

        missing.sort_unstable();
        (!missing.is_empty()).then(|| missing.join(" and "))
    }

    /// Returns whether the brokers do not have the topic; none if no broker answers.
    fn lacks(&self, topic: &str) -> Option<bool> {
        self.described(topic, |found| {
            found.err == Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        })
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
    /// Converts the error that a call of librdkafka returned; null means success.
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

    /// Names the missing topics in the failure, if it is about missing topics.
    pub(super) fn explained<'a>(
        self,
        client: &Client,
        topics: impl Iterator<Item = &'a String>,
    ) -> Cause {
        if self.code != RDKafkaErrorCode::UnknownTopicOrPartition {
            return self.into();
        }

        match client.missing(topics) {
            Some(topics) => {
                let failure = self;
                Missing { topics, failure }.into()
            }
            None => self.into(),
        }
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

/// librdkafka calls this for the answer to each throttled request, and for the first answer after
/// these.
unsafe extern "C" fn on_throttle(
    _: *mut sys::rd_kafka_t,
    _: *const c_char,
    broker: i32,
    throttled_ms: c_int,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque is the `Events` that `Client::new` set, which outlive the client.
    let events = unsafe { &*opaque.cast::<Events>() };
    let throttles = events.throttles.lock();
    let mut throttles = throttles.unwrap_or_else(PoisonError::into_inner);
    match throttled_ms {
        0 => throttles.remove(&broker),
        throttled_ms => throttles.insert(broker, throttled_ms),
    };
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

/// Returns the partitions of a topic in a live list.
fn in_sync(topic: &sys::rd_kafka_metadata_topic) -> Vec<InSync> {
    let count = usize::try_from(topic.partition_cnt).unwrap_or_default();
    // SAFETY: a topic of a live list has as many partitions as it counts.
    let partition_at = |place| unsafe { &*topic.partitions.add(place) };
    // SAFETY: its name ends with a zero byte.
    let name = unsafe { text(CStr::from_ptr(topic.topic)) };

    (0..count)
        .map(partition_at)
        .map(|found| InSync {
            topic: name.clone(),
            partition: found.id,
            in_sync: found.isr_cnt,
            replicas: found.replica_cnt,
        })
        .collect()
}
