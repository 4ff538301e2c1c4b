//! An open reader, and the result of polling its partitions once.

use record_log::{LogError, Reader, Record};

use crate::gate::Gate;
use crate::positions::Positions;
use crate::{Batch, Received};

/// An open reader and its positions.
pub(crate) struct Reading {
    pub(crate) reader: Box<dyn Reader>,
    /// The offset to be read next in each partition of the reader.
    pub(crate) next: Positions,
    /// Holds back records that the group has not consumed yet.
    pub(crate) gate: Option<Gate>,
}

/// The result of polling all partitions once.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) batch: Batch,
    pub(crate) next: Positions,
    pub(crate) is_at_end: bool,
    /// Whether records are held back until the group has consumed them.
    pub(crate) is_held: bool,
}

impl Reading {
    /// Polls every partition for its share of a batch.
    pub(crate) fn look(&mut self, batch: usize) -> Result<Found, LogError> {
        let mut found = Found {
            next: self.next.clone(),
            is_at_end: true,
            ..Found::default()
        };
        let share = (batch / found.next.len().max(1)).max(1);
        let records = &mut found.batch.records;

        for (partition, next) in &mut found.next {
            if self
                .gate
                .as_ref()
                .is_some_and(|gate| gate.holds(*partition))
            {
                continue;
            }

            let polled = self.reader.poll(*partition, share, &mut |record| {
                records.push(received(&record));
            })?;
            *next = polled.next_offset;
            found.is_at_end &= polled.is_at_end();
        }

        if let Some(gate) = &mut self.gate {
            let read = std::mem::take(&mut found.batch.records);
            found.batch.records = gate.pass(read, &mut found.next)?;
            found.is_held = !gate.is_empty();
            found.is_at_end &= !found.is_held;
        }
        Ok(found)
    }
}

fn received(record: &Record<'_>) -> Received {
    let mut headers = Vec::new();
    record
        .headers
        .for_each(&mut |name, value| headers.push((name.to_owned(), value.to_vec())));

    Received {
        partition: record.partition,
        offset: record.offset,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers,
    }
}
