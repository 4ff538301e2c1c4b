//! Opens the publishers of a job. This fences every earlier holder with any number of workers.
//!
//! 1. Publisher 0 is opened. Its progress contains the number of publishers that the job ever had.
//! 2. If the attempt has more workers, the new number is committed before any other publisher is
//!    opened.
//! 3. All other publishers are opened, also those that no worker of this attempt uses.
//!
//! An attempt whose number publisher 0 does not contain has opened no other publisher. If two
//! attempts open publisher 0 one after the other, the first can no longer commit its number. So a
//! start that has taken all steps has fenced every attempt that began before it.

use std::collections::BTreeMap;

use record_log::{Delivery, PublishError, Publisher, RecordLog};

use crate::checkpoint::recover::RecoverError;
use crate::error::JobError;
use crate::sink::progress::{
    Carried, FormerSlot, KnownPublishers, PublisherProgress, SinkProgress,
};

/// The default number of slots in versions that had a publisher for each slot.
const FORMER_SLOTS: u32 = 4;

/// Open publishers and their progress.
#[derive(Default)]
pub struct Publishers {
    /// The publishers, by number.
    pub open: BTreeMap<usize, Box<dyn Publisher>>,
    /// The progress that they carry.
    pub carried: Carried,
}

/// Opens publishers of one job.
pub struct Opening<'a> {
    /// The log.
    pub log: &'a dyn RecordLog,
    /// The job's name.
    pub job: &'a str,
    /// The delivery guarantee of the results.
    pub delivery: Delivery,
}

impl Opening<'_> {
    /// Opens publisher 0 of a job that has `workers` workers now, and commits the number of
    /// publishers.
    ///
    /// # Errors
    /// [`JobError`]. No other publisher may be opened then, because the number is not committed.
    pub fn register(&self, workers: usize, known: KnownPublishers) -> Result<Publishers, JobError> {
        let workers = u32::try_from(workers).expect("there are few workers");
        let (mut publisher, found) = self.open([0])?.remove(0);
        let mut progress = match found {
            Some(PublisherProgress::Sink(progress)) => *progress,
            Some(PublisherProgress::Slot(slot)) => self.former(slot, known.former_slots)?,
            None => self.former(FormerSlot::default(), known.former_slots)?,
        };

        let publishers = workers.max(known.publishers);
        if progress.publishers < publishers {
            progress.publishers = publishers;
            publisher.commit(&progress.to_bytes())?;
        }
        let mut carried = Carried::default();
        carried.note(0, progress);
        Ok(Publishers {
            open: BTreeMap::from([(0, publisher)]),
            carried,
        })
    }

    /// Opens the publishers of these numbers.
    ///
    /// # Errors
    /// [`JobError`].
    pub fn publishers(&self, numbers: impl Iterator<Item = usize>) -> Result<Publishers, JobError> {
        let numbers: Vec<usize> = numbers.collect();
        let mut all = Publishers::default();

        for (number, (publisher, found)) in numbers.iter().zip(self.open(numbers.clone())?) {
            // The progress of a former slot is in publisher 0 since the first attempt of this
            // version.
            let progress = match found {
                Some(PublisherProgress::Sink(progress)) if progress.is_kept => *progress,
                _ => SinkProgress::default(),
            };
            let own = u32::try_from(*number).expect("few publishers");
            all.carried.note(own, progress);
            all.open.insert(*number, publisher);
        }

        Ok(all)
    }

    /// Opens the slots of an earlier version and returns their progress. Slot 0 is open already and
    /// carries `first`.
    fn former(&self, first: FormerSlot, slots: Option<u32>) -> Result<SinkProgress, JobError> {
        let count = slots.unwrap_or(FORMER_SLOTS).max(1);
        let mut slots = vec![first];

        for (_, found) in self.open((1..count).map(|slot| slot as usize))? {
            slots.push(match found {
                Some(PublisherProgress::Slot(slot)) => slot,
                Some(PublisherProgress::Sink(_)) | None => FormerSlot::default(),
            });
        }

        let progress = SinkProgress::default();
        Ok(if slots.iter().all(|slot| *slot == FormerSlot::default()) {
            progress
        } else {
            progress.with_former_slots(slots)
        })
    }

    fn open(&self, numbers: impl IntoIterator<Item = usize>) -> Result<Vec<Opened>, JobError> {
        let ids: Vec<String> = numbers
            .into_iter()
            .map(|number| format!("{}-sink-{number}", self.job))
            .collect();
        let names: Vec<&str> = ids.iter().map(String::as_str).collect();
        let publishers = self.log.publishers(&names, self.delivery)?;
        let with_progress = |(id, publisher): (&String, Box<dyn Publisher>)| {
            let found = publisher
                .progress()
                .map(|bytes| PublisherProgress::from_bytes(id, bytes));
            let found = found.transpose().map_err(RecoverError::Progress)?;
            Ok((publisher, found))
        };

        ids.iter().zip(publishers).map(with_progress).collect()
    }
}

/// A publisher and the progress that it carries.
type Opened = (Box<dyn Publisher>, Option<PublisherProgress>);

impl Publishers {
    /// Adds other publishers to these.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.open.extend(others.open);
        self.carried.merge(others.carried);
        self
    }

    /// Commits a progress by each publisher that carries none. So if a later start finds no progress, the progress was
    /// lost.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn keep(&mut self, progress: &SinkProgress) -> Result<(), PublishError> {
        for number in &self.carried.without {
            if let Some(publisher) = self.open.get_mut(&(*number as usize)) {
                publisher.commit(&progress.to_bytes())?;
            }
        }
        Ok(())
    }
}
