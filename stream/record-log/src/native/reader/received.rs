//! A reader without brokers: it passes on the records of batches that its caller has. The harness measures the work of
//! a poll with it.

use super::record;
use crate::native::batch::walk::{Fetched, Scratch, Walk};
use crate::{LogError, Record};

/// Memory for batches that are unpacked one after another.
#[derive(Default)]
pub struct Received {
    scratch: Scratch,
    /// The number of answers that were read.
    answers: u64,
}

impl Received {
    /// Passes the records of an answer's batches to `each`, as a poll does, and returns their number.
    ///
    /// # Errors
    /// [`LogError::Unreadable`] if a batch cannot be read.
    pub fn poll(
        &mut self,
        batches: &[u8],
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<usize, LogError> {
        self.answers += 1;
        let fetched = Fetched {
            id: self.answers,
            bytes: batches,
            max: usize::MAX,
        };

        let mut walk = Walk::new(0, -1, Vec::new());
        let walked = walk.run(&fetched, &mut self.scratch, &mut |raw| {
            each(record(0, &raw));
        });
        walked.map_err(|unreadable| LogError::Unreadable {
            topic: "received".to_owned(),
            partition: 0,
            offset: unreadable.offset.cast_unsigned(),
            reason: Box::new(unreadable.source),
        })
    }
}
