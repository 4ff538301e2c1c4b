//! A log with one topic from another source. All other topics are those of an underlying log.
//!
//! ```text
//! source ──▶ reader of its topic ┐
//! other log: its topics, publishers, positions ┴──▶ one RecordLog
//! ```
//!
//! A job can read records that are in no log, and publish its results to the underlying log with
//! the same guarantee.

use std::sync::Arc;

use crate::membership::Alone;
use crate::{
    Cleanup, Delivery, LogError, LogTimeType, Membership, Offset, OffsetRange, Publisher, Reader,
    RecordLimit, RecordLog, Refusal, TopicDescription, TopicSpec,
};

/// The source of a topic.
pub trait TopicSource: Send + Sync {
    /// The end of a sentence that begins with the topic's name: "is read from files".
    const IS: &'static str;

    /// Returns the size of the largest record.
    fn record_limit(&self) -> RecordLimit;

    /// Returns the offsets of each partition.
    fn ranges(&self) -> Vec<OffsetRange>;

    /// Opens a reader of `topic`, which is this source, at these offsets.
    ///
    /// # Errors
    /// As [`RecordLog::reader`].
    fn reader(&self, topic: &str, from: &[(u32, Offset)]) -> Result<Box<dyn Reader>, LogError>;
}

/// A log whose topic `topic` has a source of its own. All other topics are those of another log.
pub struct Beside<S> {
    topic: String,
    pub(crate) source: S,
    rest: Arc<dyn RecordLog>,
}

impl<S> Beside<S> {
    pub(crate) fn new(topic: &str, source: S, rest: Arc<dyn RecordLog>) -> Self {
        Self {
            topic: topic.to_owned(),
            source,
            rest,
        }
    }
}

impl<S: TopicSource> RecordLog for Beside<S> {
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let others = topics.iter().filter(|spec| spec.name != self.topic);
        let others: Vec<TopicSpec> = others.cloned().collect();
        self.rest.ensure_topics(&others)
    }

    fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        if topic != self.topic {
            return self.rest.describe(topic);
        }

        Ok(TopicDescription {
            log_time_type: LogTimeType::Create,
            record_limit: self.source.record_limit(),
            cleanup: Cleanup::Delete,
            retention: None,
        })
    }

    fn obstacle(&self) -> Option<String> {
        self.rest.obstacle()
    }

    fn progress_topic(&self) -> Option<&str> {
        self.rest.progress_topic()
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        if topic != self.topic {
            return self.rest.partitions(topic);
        }
        Ok(u32::try_from(self.source.ranges().len()).unwrap_or(u32::MAX))
    }

    fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, LogError> {
        if topic != self.topic {
            return self.rest.offsets(topic);
        }
        Ok(self.source.ranges())
    }

    fn reader(&self, topic: &str, from: &[(u32, Offset)]) -> Result<Box<dyn Reader>, LogError> {
        if topic != self.topic {
            return self.rest.reader(topic, from);
        }
        self.source.reader(topic, from)
    }

    fn publisher(&self, id: &str, delivery: Delivery) -> Result<Box<dyn Publisher>, LogError> {
        self.rest.publisher(id, delivery)
    }

    fn publishers(
        &self,
        ids: &[&str],
        delivery: Delivery,
    ) -> Result<Vec<Box<dyn Publisher>>, LogError> {
        self.rest.publishers(ids, delivery)
    }

    /// The source keeps no positions of groups, so its topic has none.
    fn committed(&self, group: &str, topic: &str) -> Result<Vec<(u32, Offset)>, LogError> {
        if topic == self.topic {
            return Ok(Vec::new());
        }
        self.rest.committed(group, topic)
    }

    fn commit(&self, group: &str, topic: &str, next: &[(u32, Offset)]) -> Result<(), LogError> {
        if topic == self.topic {
            let sentence = format!("topic {topic:?} {}, and keeps no positions", S::IS);
            return Err(LogError::Refused(Refusal::new(sentence)));
        }
        self.rest.commit(group, topic, next)
    }

    fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Membership>, LogError> {
        if topic == self.topic {
            return Ok(Box::new(Alone));
        }
        self.rest.join(group, topic)
    }
}
