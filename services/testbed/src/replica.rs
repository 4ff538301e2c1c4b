//! The log of one replica among others: a handle on a log with topics and groups of the test's own,
//! which notes the partitions that the replica owns.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use record_log::{
    Delivery, LogError, LogSettings, Membership, NewRecord, Offset, OffsetRange, Owned,
    PublishError, Publisher, Reader, RecordLog, TopicDescription, TopicSpec, Wake,
};

const BROKERS: &str = "TIDEMARK_TEST_BROKERS";

/// A replica's handle on a log. Its names of topics, groups and publishers have an ending of their
/// own, because tests share a real Kafka.
#[derive(Clone)]
pub struct OwnTopics {
    log: Arc<dyn RecordLog>,
    ending: String,
    group: String,
    owned: Arc<Mutex<BTreeMap<String, Owned>>>,
}

/// A membership that notes what is owned.
struct Noted {
    member: Box<dyn Membership>,
    topic: String,
    owned: Arc<Mutex<BTreeMap<String, Owned>>>,
}

/// A publisher to topics with an ending of their own.
struct Ending {
    publisher: Box<dyn Publisher>,
    ending: String,
}

/// Returns the addresses of the Kafka that the environment names. If it names none, it reports so
/// loudly and returns none.
///
/// # Panics
/// If the report cannot be written.
pub fn broker_addresses(test: &str) -> Option<String> {
    let Ok(brokers) = std::env::var(BROKERS) else {
        let said = writeln!(
            std::io::stderr(),
            "SKIPPED: {test}: {BROKERS} does not name a Kafka"
        );
        said.expect("stderr takes a line");
        return None;
    };
    Some(brokers)
}

/// Returns a log on the Kafka that the environment names, by the client that services use. If it
/// names none, it reports so loudly and returns none.
///
/// # Panics
/// If the log cannot be opened.
pub fn brokers(test: &str) -> Option<Arc<dyn RecordLog>> {
    let brokers = broker_addresses(test)?;
    let settings = LogSettings::NativeKafka {
        brokers,
        properties: Vec::new(),
    };
    Some(record_log::open(&settings).expect("a log on Kafka"))
}

impl OwnTopics {
    /// Returns a handle on `log`, whose names end with `ending`.
    pub fn new(log: Arc<dyn RecordLog>, ending: &str) -> Self {
        Self {
            log,
            ending: ending.to_owned(),
            group: String::new(),
            owned: Arc::default(),
        }
    }

    /// Returns a handle with groups of its own, which owns all partitions. A replica that was paused may
    /// likewise act for a moment as the owner of partitions that it has lost.
    #[must_use]
    pub fn alone(self, group: &str) -> Self {
        Self {
            group: group.to_owned(),
            ..self
        }
    }

    /// Returns the partitions of the topic that the replica owned when it last looked.
    pub fn owned(&self, topic: &str) -> Vec<u32> {
        let owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        match owned.get(topic) {
            Some(Owned::Only(partitions)) => partitions.iter().copied().collect(),
            Some(Owned::All) | None => Vec::new(),
        }
    }

    /// Returns the name of a topic in the log itself.
    pub fn name(&self, topic: &str) -> String {
        format!("{topic}{}", self.ending)
    }

    fn group(&self, group: &str) -> String {
        format!("{group}{}{}", self.ending, self.group)
    }
}

impl RecordLog for OwnTopics {
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let own = topics.iter().map(|spec| TopicSpec {
            name: self.name(&spec.name),
            ..spec.clone()
        });
        self.log.ensure_topics(&own.collect::<Vec<_>>())
    }

    fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.log.describe(&self.name(topic))
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.log.partitions(&self.name(topic))
    }

    fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, LogError> {
        self.log.offsets(&self.name(topic))
    }

    fn reader(&self, topic: &str, from: &[(u32, Offset)]) -> Result<Box<dyn Reader>, LogError> {
        self.log.reader(&self.name(topic), from)
    }

    fn publisher(&self, id: &str, delivery: Delivery) -> Result<Box<dyn Publisher>, LogError> {
        let id = format!("{id}{}", self.ending);
        Ok(Box::new(Ending {
            publisher: self.log.publisher(&id, delivery)?,
            ending: self.ending.clone(),
        }))
    }

    fn committed(&self, group: &str, topic: &str) -> Result<Vec<(u32, Offset)>, LogError> {
        self.log.committed(&self.group(group), &self.name(topic))
    }

    fn commit(&self, group: &str, topic: &str, next: &[(u32, Offset)]) -> Result<(), LogError> {
        self.log.commit(&self.group(group), &self.name(topic), next)
    }

    fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Membership>, LogError> {
        let member = self.log.join(&self.group(group), &self.name(topic))?;
        Ok(Box::new(Noted {
            member,
            topic: topic.to_owned(),
            owned: Arc::clone(&self.owned),
        }))
    }
}

impl Publisher for Ending {
    fn progress(&self) -> Option<&[u8]> {
        self.publisher.progress()
    }

    fn send(&mut self, record: NewRecord<'_>) -> Result<(), PublishError> {
        let topic = format!("{}{}", record.topic, self.ending);
        self.publisher.send(NewRecord {
            topic: &topic,
            ..record
        })
    }

    fn commit(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        self.publisher.commit(progress)
    }
}

impl Membership for Noted {
    fn owned(&mut self) -> Result<Owned, LogError> {
        let found = self.member.owned()?;
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        owned.insert(self.topic.clone(), found.clone());
        Ok(found)
    }

    fn on_change(&mut self, wake: Wake) {
        self.member.on_change(wake);
    }
}
