//! Dates the ends of partitions by requests to their brokers, because librdkafka's own ends have no
//! date.
//!
//! While a partition is at an end, the end of its log is requested from its leader every [`ASK_EVERY`],
//! with one request to each broker for all partitions. librdkafka sends the requests and receives
//! the answers in the background; nothing here waits. The requested end includes uncommitted
//! records: an open transaction holds readers back from committed records behind it, so the last
//! stable offset is not an end.
//!
//! A partition whose leader did not answer gets a request of its own until it does, because a
//! partition without a leader would fail the common request.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

use super::client::{Client, last_error, millis, unavailable};
use super::to_kafka_partition;
use crate::clock::system_now_ms;
use crate::{LogError, Offset};

/// The interval of the requests.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The time limit of an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The open requests, and the queue for their answers.
pub(super) struct Ends {
    queue: NonNull<sys::rd_kafka_queue_t>,
    topic: CString,
    sent: BTreeMap<usize, Request>,
    next_request: usize,
    asked_at: Option<Instant>,
    /// Partitions whose last request failed.
    silent: Vec<u32>,
}

/// A request for the ends of some partitions.
struct Request {
    /// The time at which it was sent, by this process's clock.
    sent_at_ms: u64,
    partitions: Vec<u32>,
}

/// An answer about one partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Answer {
    pub(super) partition: u32,
    /// The end of its log, committed or not.
    pub(super) log_end: Offset,
    /// The time at which the request was sent, by this process's clock.
    pub(super) as_of_ms: u64,
}

// SAFETY: librdkafka's queue handle may be used from any thread; the reader that owns this uses it
// from one at a time.
unsafe impl Send for Ends {}

impl Ends {
    pub(super) fn new(client: &Client, topic: CString) -> Result<Self, LogError> {
        // SAFETY: the client is live.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(client.raw()) });
        Ok(Self {
            queue: queue.ok_or_else(|| unavailable(last_error()))?,
            topic,
            sent: BTreeMap::new(),
            next_request: 1,
            asked_at: None,
            silent: Vec::new(),
        })
    }

    /// If the interval has passed, requests the ends of `partitions`, which the reader has read to
    /// an end.
    pub(super) fn ask(&mut self, client: &Client, partitions: impl Iterator<Item = u32>) {
        if self
            .asked_at
            .is_some_and(|asked_at| asked_at.elapsed() < ASK_EVERY)
        {
            return;
        }

        self.asked_at = Some(Instant::now());

        let is_waiting = |partition: &u32| {
            let mut sent = self.sent.values();
            sent.any(|request| request.partitions.contains(partition))
        };
        let due = partitions.filter(|partition| !is_waiting(partition));
        let (alone, together): (Vec<u32>, Vec<u32>) =
            due.partition(|partition| self.silent.contains(partition));

        if !together.is_empty() {
            self.send(client, together);
        }

        for partition in alone {
            self.send(client, vec![partition]);
        }
    }

    fn send(&mut self, client: &Client, partitions: Vec<u32>) {
        let number = self.next_request;
        self.next_request += 1;
        let sent_at_ms = system_now_ms();

        // SAFETY: the client, the topic's name and the queue are live. librdkafka copies list and
        // options; both are destroyed here once. The opaque is a number, never followed. A refused
        // option would leave its default.
        unsafe {
            let list = sys::rd_kafka_topic_partition_list_new(count_of(&partitions));
            for partition in &partitions {
                let partition = to_kafka_partition(*partition);
                let added =
                    sys::rd_kafka_topic_partition_list_add(list, self.topic.as_ptr(), partition);
                (*added).offset = sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64;
            }

            let options = sys::rd_kafka_AdminOptions_new(
                client.raw(),
                sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
            );

            sys::rd_kafka_AdminOptions_set_request_timeout(
                options,
                millis(ANSWER_LIMIT),
                ptr::null_mut(),
                0,
            );

            sys::rd_kafka_AdminOptions_set_opaque(options, ptr::without_provenance_mut(number));
            sys::rd_kafka_ListOffsets(client.raw(), list, options, self.queue.as_ptr());
            sys::rd_kafka_AdminOptions_destroy(options);
            sys::rd_kafka_topic_partition_list_destroy(list);
        }

        self.sent.insert(
            number,
            Request {
                sent_at_ms,
                partitions,
            },
        );
    }

    /// Takes the answers that have arrived.
    pub(super) fn answers(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        // SAFETY: the queue is live; the event is ours until it is destroyed, and not used after.
        unsafe {
            while let Some(event) = NonNull::new(sys::rd_kafka_queue_poll(self.queue.as_ptr(), 0)) {
                self.take(event.as_ptr(), &mut answers);
                sys::rd_kafka_event_destroy(event.as_ptr());
            }
        }

        answers
    }

    /// # Safety
    /// `event` is live.
    unsafe fn take(&mut self, event: *mut sys::rd_kafka_event_t, answers: &mut Vec<Answer>) {
        // SAFETY: the event is live; the opaque is the number of a request.
        let number = unsafe { sys::rd_kafka_event_opaque(event) }.addr();
        let Some(request) = self.sent.remove(&number) else {
            return;
        };

        // SAFETY: the event is live.
        let ends = unsafe { ends_of(event) };
        for partition in request.partitions {
            self.silent.retain(|silent| *silent != partition);
            match ends.get(&partition) {
                Some(log_end) => answers.push(Answer {
                    partition,
                    log_end: *log_end,
                    as_of_ms: request.sent_at_ms,
                }),
                None => self.silent.push(partition),
            }
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        // SAFETY: the queue is live, used nowhere else, and not used after. Later answers have no
        // queue.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

fn count_of(partitions: &[u32]) -> i32 {
    i32::try_from(partitions.len()).unwrap_or(i32::MAX)
}

/// Returns the ends in an answer, by partition, without those that failed.
///
/// # Safety
/// `event` is live.
unsafe fn ends_of(event: *mut sys::rd_kafka_event_t) -> BTreeMap<u32, Offset> {
    let mut ends = BTreeMap::new();
    // SAFETY: the event is live, and the data that is read lives as long.
    unsafe {
        let result = sys::rd_kafka_event_ListOffsets_result(event);
        if result.is_null() || sys::rd_kafka_event_error(event) != Code::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return ends;
        }

        let mut count = 0;
        let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        for index in 0..count {
            let end = sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index));
            // A part of the request that failed without an error of its own has a negative offset.
            if (*end).err == Code::RD_KAFKA_RESP_ERR_NO_ERROR
                && let Ok(offset) = Offset::try_from((*end).offset)
            {
                ends.insert((*end).partition.cast_unsigned(), offset);
            }
        }
    }

    ends
}
