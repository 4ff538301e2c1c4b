//! Detects that a reader's topic was deleted and created again. librdkafka would read the new topic
//! from the old one's offset, without an error.
//!
//! Kafka gives each topic an id when it is created. The id is requested when the reader opens, and
//! at intervals while it lives. librdkafka sends the requests and receives the answers in the
//! background; nothing here waits. A topic that does not exist at the moment has no id. Nor does
//! one on brokers that are older than topic ids.
//!
//! Records of the new topic may be read before its id is known: for twice [`ASK_EVERY`] and the time of
//! an answer.
//!
//! The answers also name the leaders of partitions, which a reader names in its sentences.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

use super::client::{Client, last_error, millis, unavailable};
use crate::LogError;

/// The interval of the requests.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The time limit of an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A topic's id; all zeros where brokers give none.
type TopicId = [i64; 2];

/// The topic that a reader was opened on.
pub(super) struct Identity {
    queue: NonNull<sys::rd_kafka_queue_t>,
    topic: CString,
    asked_at: Option<Instant>,
    /// The first id that was found.
    known: Option<TopicId>,
    /// Another id, in the newest answer. A broker whose metadata lags may return an earlier id, so
    /// one answer proves nothing.
    other: Option<TopicId>,
    is_another: bool,
    /// The leader of each partition that has one, in the newest answer.
    leaders: BTreeMap<u32, i32>,
}

/// A topic in an answer.
struct Described {
    id: TopicId,
    leaders: BTreeMap<u32, i32>,
}

// SAFETY: librdkafka's queue handle may be used from any thread; the reader that owns this uses it
// from one at a time.
unsafe impl Send for Identity {}

impl Identity {
    pub(super) fn new(client: &Client, topic: CString) -> Result<Self, LogError> {
        // SAFETY: the client is live.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(client.raw()) });
        let mut identity = Self {
            queue: queue.ok_or_else(|| unavailable(last_error()))?,
            topic,
            asked_at: None,
            known: None,
            other: None,
            is_another: false,
            leaders: BTreeMap::new(),
        };

        identity.ask(client);
        Ok(identity)
    }

    /// Returns `true` if, by the answers so far, the topic of this name is not the one that the
    /// reader was opened on. Requests the id if the interval has passed.
    pub(super) fn is_another(&mut self, client: &Client) -> bool {
        let found = self.answers();
        for Described { id, leaders } in found {
            self.note(id);
            self.leaders = leaders;
        }

        if self.asked_at.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            self.ask(client);
        }
        self.is_another
    }

    /// Returns the broker that leads the partition, as far as answers have arrived.
    pub(super) fn leader(&self, partition: u32) -> Option<i32> {
        self.leaders.get(&partition).copied()
    }

    fn note(&mut self, found: TopicId) {
        let known = *self.known.get_or_insert(found);
        let other = Some(found).filter(|found| *found != known);
        self.is_another |= other.is_some() && self.other == other;
        self.other = other;
    }

    fn ask(&mut self, client: &Client) {
        self.asked_at = Some(Instant::now());
        let mut names = [self.topic.as_ptr()];

        // SAFETY: the client, the topic's name and the queue are live. librdkafka copies names and
        // options; both are destroyed here once. A refused option would leave its default.
        unsafe {
            let topics =
                sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            let options = sys::rd_kafka_AdminOptions_new(
                client.raw(),
                sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            );

            sys::rd_kafka_AdminOptions_set_request_timeout(
                options,
                millis(ANSWER_LIMIT),
                ptr::null_mut(),
                0,
            );

            sys::rd_kafka_DescribeTopics(client.raw(), topics, options, self.queue.as_ptr());
            sys::rd_kafka_AdminOptions_destroy(options);
            sys::rd_kafka_TopicCollection_destroy(topics);
        }
    }

    /// Takes the answers that have arrived.
    fn answers(&self) -> Vec<Described> {
        let mut found = Vec::new();
        // SAFETY: the queue is live; the event is ours until it is destroyed, and not used after.
        unsafe {
            while let Some(event) = NonNull::new(sys::rd_kafka_queue_poll(self.queue.as_ptr(), 0)) {
                found.extend(described_in(event.as_ptr()));
                sys::rd_kafka_event_destroy(event.as_ptr());
            }
        }

        found
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // SAFETY: the queue is live, used nowhere else, and not used after. Later answers have no
        // queue.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// Returns the topic in an answer; none if it does not exist or no broker answered.
///
/// # Safety
/// `event` is live.
unsafe fn described_in(event: *mut sys::rd_kafka_event_t) -> Option<Described> {
    // SAFETY: the event is live, and the data that is read lives as long.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() || sys::rd_kafka_event_error(event) != Code::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return None;
        }

        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if count != 1 {
            return None;
        }

        let topic = *topics;
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() && sys::rd_kafka_error_code(error) != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }

        let id = NonNull::new(sys::rd_kafka_TopicDescription_topic_id(topic).cast_mut())?;
        Some(Described {
            id: [
                sys::rd_kafka_Uuid_most_significant_bits(id.as_ptr()),
                sys::rd_kafka_Uuid_least_significant_bits(id.as_ptr()),
            ],
            leaders: leaders_of(topic),
        })
    }
}

/// # Safety
/// `topic` is live.
unsafe fn leaders_of(topic: *const sys::rd_kafka_TopicDescription_t) -> BTreeMap<u32, i32> {
    let mut leaders = BTreeMap::new();
    let mut count = 0;
    // SAFETY: the topic is live, and has as many partitions as it counts. One without a leader has none or a null one.
    unsafe {
        let partitions = sys::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        for place in 0..count {
            let partition = *partitions.add(place);
            let number = sys::rd_kafka_TopicPartitionInfo_partition(partition);
            let leader = sys::rd_kafka_TopicPartitionInfo_leader(partition);
            if !leader.is_null() {
                leaders.insert(number.cast_unsigned(), sys::rd_kafka_Node_id(leader));
            }
        }
    }

    leaders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::client::Role;
    use crate::kafka::settings::Settings;

    #[test]
    fn an_id_that_two_answers_in_a_row_give_is_another_topic() {
        let settings = Settings::new("127.0.0.1:1", &[]).unwrap();
        let client = Client::new(Role::Reader, &settings.reader(1)).unwrap();
        let mut identity = Identity::new(&client, c"orders".into()).unwrap();
        let mut is_another_after = |ids: &[i64]| {
            ids.iter().for_each(|id| identity.note([1, *id]));
            identity.is_another
        };

        assert!(!is_another_after(&[7, 7, 8, 7, 8, 9, 7]), "brokers lag");
        assert!(is_another_after(&[8, 8]));
        assert!(is_another_after(&[7]), "nothing brings the old one back");
    }
}
