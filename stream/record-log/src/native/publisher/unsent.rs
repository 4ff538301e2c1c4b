//! A publisher without brokers: it makes batches of records, and passes them to its caller instead of a broker. The
//! harness measures a publisher's work with it.

use super::deadline::TimeLimit;
use super::session::Session;
use super::{Opening, Patience, Sending, Stop, Topics};
use crate::native::NativeLog;
use crate::{Delivery, LogError, NewRecord, PublishError};

/// The records of one topic, on their way into batches.
pub struct Unsent {
    sending: Sending,
    session: Session,
    limit: TimeLimit,
}

impl Unsent {
    /// Returns a publisher to a topic with this number of partitions. It opens no connection.
    ///
    /// # Errors
    /// [`LogError::Settings`].
    pub fn new(topic: &str, partitions: u32) -> Result<Self, LogError> {
        let log = NativeLog::new("127.0.0.1:9", &[])?;
        let opening = Opening {
            cluster: &log.cluster,
            admin: &log.admin,
            delivery: Delivery::Transactional,
            timeout: log.transaction_timeout,
            patience: Patience::default(),
        };

        let mut topics = Topics::new(opening.cluster, opening.admin);
        topics.assume(topic, partitions);

        Ok(Self {
            sending: Sending::new(opening.cluster, topics, opening.patience),
            session: opening.session("unsent"),
            limit: opening.time_limit(),
        })
    }

    /// Adds a record, and passes each batch that is full to `each`.
    ///
    /// # Errors
    /// [`PublishError`], for a record that no broker would accept.
    pub fn push(
        &mut self,
        record: &NewRecord<'_>,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<(), PublishError> {
        let pushed = self.sending.push(record, &mut self.session, &self.limit);
        self.sending.hand_over(each);
        pushed.map_err(|stop| match stop {
            Stop::Refused(refusal) => PublishError::Refused(refusal),
            other => PublishError::NotPublished(format!("{other:?}").into()),
        })
    }

    /// Makes batches of all records that wait, and passes them to `each`.
    pub fn finish(&mut self, each: &mut dyn FnMut(&[u8])) {
        self.sending.seal_all(&self.session);
        self.sending.hand_over(each);
    }
}
