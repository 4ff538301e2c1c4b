//! Reads from Kafka: a queue for each partition, drained by callback.
//!
//! `rd_kafka_consume_callback_queue` takes a whole queue under one lock and calls back for each
//! record in the memory of the fetched batch. `rd_kafka_yield` stops it, and puts the other records
//! back at the queue's head.
//!
//! The end of a partition is an event in its queue. librdkafka sends one for each end that it
//! reaches; its offset is the reader's position, after the markers of transactions and aborted
//! records. The event has no date: `ends` requests one from the brokers. librdkafka does not detect
//! that the topic was deleted and created again: `identity` does.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

use super::client::{Client, Role, c_string, last_error, unavailable};
use super::ends::{Answer, Ends};
use super::errors::{self, About};
use super::identity::Identity;
use super::settings::Settings;
use super::{to_kafka, to_kafka_partition};
use crate::refusal::throttled_reader;
use crate::{Headers, LogError, LogTimeType, Offset, Polled, Reader, Record, Wake};

pub(super) struct KafkaReader {
    topic: String,
    partitions: BTreeMap<u32, Cursor>,
    handle: NonNull<sys::rd_kafka_topic_t>,
    /// Boxed, because librdkafka holds its address.
    wake: Option<Box<Wake>>,
    ends: Ends,
    identity: Identity,
    client: Client,
}

/// The reader's position in a partition.
struct Cursor {
    queue: NonNull<sys::rd_kafka_queue_t>,
    next: Offset,
    /// `true` if librdkafka has reported the end, and no record has come since.
    at_end: bool,
    /// The newest answer about the log's end that is still ahead of the position.
    ahead: Option<Answer>,
    /// The newest moment as of which the log's end was at or below the position.
    end_as_of_ms: Option<u64>,
    /// An event behind the records of the last poll; the next poll returns it.
    found: Option<Found>,
}

/// The content of a queue other than records and ends.
#[derive(Clone, Copy)]
enum Found {
    /// The position is not in the log. librdkafka has stopped reading, so this state is final.
    Lost,
    Unknown,
    Failing(RDKafkaErrorCode),
}

// SAFETY: librdkafka's topic and queue handles may be used from any thread; the reader uses them
// from one at a time.
unsafe impl Send for KafkaReader {}

impl KafkaReader {
    pub(super) fn open(
        settings: &Settings,
        topic: &str,
        from: &[(u32, Offset)],
    ) -> Result<Self, LogError> {
        let client = Client::new(Role::Reader, &settings.reader(from.len()))?;
        let name: CString = c_string(topic)?;
        let ends = Ends::new(&client, name.clone())?;
        let identity = Identity::new(&client, name.clone())?;
        let handle = client.topic(&name).map_err(unavailable)?;

        let mut reader = Self {
            topic: topic.to_owned(),
            partitions: BTreeMap::new(),
            handle,
            wake: None,
            ends,
            identity,
            client,
        };

        for (partition, next) in from {
            reader.start(*partition, *next)?;
        }

        Ok(reader)
    }

    fn start(&mut self, partition: u32, next: Offset) -> Result<(), LogError> {
        // SAFETY: the client is live.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(self.client.raw()) });
        let queue = queue.ok_or_else(|| unavailable(last_error()))?;

        // From here on, dropping the reader destroys the queue.
        self.partitions.insert(
            partition,
            Cursor {
                queue,
                next,
                at_end: false,
                ahead: None,
                end_as_of_ms: None,
                found: None,
            },
        );

        // SAFETY: topic and queue are live handles of the same client.
        let started = unsafe {
            sys::rd_kafka_consume_start_queue(
                self.handle.as_ptr(),
                to_kafka_partition(partition),
                to_kafka(next),
                queue.as_ptr(),
            )
        };

        if started == -1 {
            Err(unavailable(last_error()))
        } else {
            Ok(())
        }
    }

    /// Runs the client's callbacks, and returns whether all brokers became unreachable.
    fn serve(&mut self) -> bool {
        self.client.serve(Duration::ZERO);
        for answer in self.ends.answers() {
            if let Some(cursor) = self.partitions.get_mut(&answer.partition) {
                cursor.ahead = Some(answer);
            }
        }

        let at_end = self.partitions.iter().filter(|(_, cursor)| cursor.at_end);
        self.ends
            .ask(&self.client, at_end.map(|(partition, _)| *partition));

        self.client.take_all_brokers_down()
    }

    fn error(&self, partition: u32, offset: Offset, found: Found) -> LogError {
        let topic = self.topic.clone();
        match found {
            Found::Lost => LogError::OffsetOutOfRange {
                topic,
                partition,
                offset,
            },
            Found::Unknown => LogError::UnknownTopic(topic),
            Found::Failing(code) => {
                let about = About::Topic {
                    right: "READ",
                    topic: &topic,
                };
                errors::log_error(Some(code), about, code)
            }
        }
    }
}

impl Reader for KafkaReader {
    fn poll(
        &mut self,
        partition: u32,
        max: usize,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<Polled, LogError> {
        let are_all_down = self.serve();
        if self.identity.is_another(&self.client) {
            return Err(recreated(&self.topic));
        }

        let unknown = || LogError::UnknownPartition {
            topic: self.topic.clone(),
            partition,
        };
        let cursor = self.partitions.get_mut(&partition).ok_or_else(unknown)?;

        let records = if cursor.found.is_none() && max > 0 {
            cursor.drain(&self.client, max, each)
        } else {
            0
        };

        let polled = Polled {
            records,
            next_offset: cursor.next,
            end_as_of_ms: cursor.end_date_ms(),
        };

        let found = cursor.found.filter(|_| records == 0);
        if let Some(Found::Failing(_)) = found {
            cursor.found = None;
        }

        match found {
            Some(found) => Err(self.error(partition, polled.next_offset, found)),
            None if self.client.is_stranger() && records == 0 => {
                let found = Found::Failing(RDKafkaErrorCode::Authentication);
                Err(self.error(partition, polled.next_offset, found))
            }
            None if are_all_down && records == 0 => {
                Err(unavailable(RDKafkaErrorCode::AllBrokersDown))
            }
            None => Ok(polled),
        }
    }

    fn on_readable(&mut self, wake: Wake) {
        let wake = Box::new(wake);
        let opaque: *const Wake = &raw const *wake;
        for cursor in self.partitions.values() {
            // SAFETY: the queue is live, and calls back only under its lock, with the opaque set
            // last. The wake is kept until all queues have another one, or none since `drop`.
            unsafe {
                sys::rd_kafka_queue_cb_event_enable(
                    cursor.queue.as_ptr(),
                    Some(on_event),
                    opaque.cast_mut().cast(),
                );
            }
        }

        // Records that came before this call would not wake the caller.
        wake();
        self.wake = Some(wake);
    }

    fn obstacle(&self, partition: u32) -> Option<Arc<str>> {
        let leader = self.identity.leader(partition)?;
        let throttled_ms = self.client.throttled_ms(leader)?;
        Some(throttled_reader(leader, throttled_ms.unsigned_abs().into()).into())
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        for (partition, cursor) in &self.partitions {
            // SAFETY: the handles are live, used nowhere else, and not used after. A partition that
            // was never started is not stopped either.
            unsafe {
                sys::rd_kafka_queue_cb_event_enable(cursor.queue.as_ptr(), None, ptr::null_mut());
                sys::rd_kafka_consume_stop(self.handle.as_ptr(), to_kafka_partition(*partition));
                sys::rd_kafka_queue_destroy(cursor.queue.as_ptr());
            }
        }

        // SAFETY: as above. The client is dropped after this.
        unsafe { sys::rd_kafka_topic_destroy(self.handle.as_ptr()) };
    }
}

/// The state that the callback uses during one drain.
struct Drain<'a> {
    client: *mut sys::rd_kafka_t,
    cursor: &'a mut Cursor,
    wanted: usize,
    records: usize,
    each: &'a mut dyn FnMut(Record<'_>),
    /// A panic of `each` must not cross librdkafka's frames; it is stored and resumed after them.
    panic: Option<Box<dyn Any + Send>>,
}

impl Cursor {
    /// Passes at most `max` records of the queue to `each`, and returns their number.
    ///
    /// It is cheapest to take the whole queue under one lock. But librdkafka then sees an empty
    /// queue and fetches more, so records that are put back because they exceed `max` would pile up
    /// without bound. A queue that is longer than `max` is therefore taken message by message.
    fn drain(&mut self, client: &Client, max: usize, each: &mut dyn FnMut(Record<'_>)) -> usize {
        let queue = self.queue.as_ptr();
        let mut drain = Drain {
            client: client.raw(),
            cursor: self,
            wanted: max,
            records: 0,
            each,
            panic: None,
        };

        // SAFETY: the queue is live.
        if unsafe { sys::rd_kafka_queue_length(queue) } <= max {
            let opaque: *mut Drain<'_> = &raw mut drain;
            // SAFETY: the queue is live; the callback gets the drain, which lives until the call
            // returns, from this thread.
            unsafe {
                sys::rd_kafka_consume_callback_queue(queue, 0, Some(on_message), opaque.cast())
            };
        } else {
            drain.take_one_by_one(queue);
        }

        if let Some(panic) = drain.panic {
            resume_unwind(panic);
        }

        drain.records
    }
}

impl Cursor {
    /// Returns the date of the end at this position, if it is an end.
    fn end_date_ms(&mut self) -> Option<u64> {
        if let Some(answer) = self.ahead.take_if(|answer| answer.log_end <= self.next) {
            self.end_as_of_ms = self.end_as_of_ms.max(Some(answer.as_of_ms));
        }
        self.end_as_of_ms.filter(|_| self.at_end)
    }
}

impl Drain<'_> {
    /// Takes at most `wanted` messages, and leaves the others in the queue.
    fn take_one_by_one(&mut self, queue: *mut sys::rd_kafka_queue_t) {
        let mut messages = vec![ptr::null_mut(); self.wanted];
        // SAFETY: the queue is live, and there is room for as many messages.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(queue, 0, messages.as_mut_ptr(), messages.len())
        };

        for message in messages
            .into_iter()
            .take(usize::try_from(taken).unwrap_or(0))
        {
            if self.panic.is_none() {
                // SAFETY: the message is ours until it is destroyed.
                self.take(unsafe { &*message });
            }
            // SAFETY: the message is ours, and not used after.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
    }

    /// Returns `true` if more messages may follow.
    fn take(&mut self, message: &sys::rd_kafka_message_t) -> bool {
        // Absolute offsets are never negative.
        let offset = message.offset.cast_unsigned();
        match message.err {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR if offset >= self.cursor.next => {
                self.hand_over(message, offset);
                self.records < self.wanted && self.panic.is_none()
            }
            // A record before the requested position: librdkafka found it in the same batch.
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => true,
            Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                self.cursor.next = self.cursor.next.max(offset);
                self.cursor.at_end = true;
                true
            }
            code => {
                self.cursor.found = Some(Found::of(code));
                false
            }
        }
    }

    fn hand_over(&mut self, message: &sys::rd_kafka_message_t, offset: Offset) {
        let mut log_time_type = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is live; the place to write to is on this stack.
        let log_time_ms =
            unsafe { sys::rd_kafka_message_timestamp(message, &raw mut log_time_type) };

        let record = Record {
            partition: message.partition.cast_unsigned(),
            offset,
            log_time_ms: u64::try_from(log_time_ms).unwrap_or(0),
            log_time_type: match log_time_type {
                sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => {
                    LogTimeType::Append
                }
                _ => LogTimeType::Create,
            },
            // SAFETY: key and payload are null, or live for as long as the message, and of these
            // lengths.
            key: unsafe { bytes(message.key, message.key_len) },
            // SAFETY: as above.
            value: unsafe { bytes(message.payload, message.len) },
            headers: &MessageHeaders(message),
        };

        let each = &mut self.each;
        self.panic = catch_unwind(AssertUnwindSafe(|| each(record))).err();
        self.records += 1;
        self.cursor.next = offset + 1;
        self.cursor.at_end = false;
    }
}

fn recreated(topic: &str) -> LogError {
    LogError::Settings(
        format!(
            "topic {topic:?} was deleted and created again; start the job over to read the new one"
        )
        .into(),
    )
}

impl Found {
    fn of(code: Code) -> Self {
        match code {
            Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
            | Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE => Self::Lost,
            Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
            | Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => Self::Unknown,
            code => Self::Failing(code.into()),
        }
    }
}

unsafe extern "C" fn on_message(message: *mut sys::rd_kafka_message_t, opaque: *mut c_void) {
    // SAFETY: librdkafka calls back from within `Cursor::drain` with its drain, and the message
    // lives during the call.
    let (drain, message) = unsafe { (&mut *opaque.cast::<Drain<'_>>(), &*message) };
    if !drain.take(message) {
        // SAFETY: the client is live: the reader that drains holds it.
        unsafe { sys::rd_kafka_yield(drain.client) };
    }
}

unsafe extern "C" fn on_event(_: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the opaque is the wake that `on_readable` set, which lives for as long as it is set.
    let wake = unsafe { &*opaque.cast::<Wake>() };
    wake();
}

/// # Safety
/// `data` is null, or points to `length` bytes that live and do not change for `'a`.
unsafe fn bytes<'a>(data: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.cast(), length) })
}

/// The headers of a message, parsed when they are read.
struct MessageHeaders<'a>(&'a sys::rd_kafka_message_t);

impl Headers for MessageHeaders<'_> {
    fn for_each(&self, each: &mut dyn FnMut(&str, &[u8])) {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is live and keeps the headers that it parses here.
        let code = unsafe { sys::rd_kafka_message_headers(self.0, &raw mut headers) };
        if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }

        for index in 0.. {
            let mut name: *const c_char = ptr::null();
            let mut value: *const c_void = ptr::null();
            let mut length = 0_usize;

            // SAFETY: the headers live for as long as the message; the places to write to are on
            // this stack.
            let code = unsafe {
                sys::rd_kafka_header_get_all(
                    headers,
                    index,
                    &raw mut name,
                    &raw mut value,
                    &raw mut length,
                )
            };

            if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }

            // SAFETY: the name ends with a zero byte; name and value live for as long as the
            // message.
            let (name, value) = unsafe { (CStr::from_ptr(name), bytes(value, length)) };
            each(&name.to_string_lossy(), value.unwrap_or_default());
        }
    }
}
