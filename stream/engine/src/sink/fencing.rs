//! Opening the publishers of a job: that fences every earlier holder, whatever number of workers it had.
//!
//! 1. Publisher 0 is opened. Its progress says how many publishers the job ever had.
//! 2. If the attempt has more, the number is committed: before any further publisher is opened.
//! 3. All others are opened, also those that no worker of this attempt uses.
//!
//! An attempt whose number is not in publisher 0 has opened none but that; and of two attempts that open publisher 0 one
//! after the other, the first cannot commit its number any more. So a start that has taken all steps has fenced all that
//! began before it.

use std::collections::BTreeMap;

use record_log::{Delivery, PublishError, Publisher, RecordLog};

use crate::checkpoint::recover::RecoverError;
use crate::error::JobError;
use crate::sink::progress::{
    Carried, FormerSlot, KnownPublishers, PublisherProgress, SinkProgress,
};

/// How many slots a job had by default in versions that had a publisher for each.
const FORMER_SLOTS: u32 = 4;

/// Publishers and what they carry together.
#[derive(Default)]
pub struct Publishers {
    /// The publishers by their number.
    pub open: BTreeMap<usize, Box<dyn Publisher>>,
    /// What they carry.
    pub carried: Carried,
}

/// What it takes to open publishers of a job.
pub struct Opening<'a> {
    /// The log.
    pub log: &'a dyn RecordLog,
    /// The job's name.
    pub job: &'a str,
    /// What is promised of results.
    pub delivery: Delivery,
}

impl Opening<'_> {
    /// Opens publisher 0 of a job that now has so many workers, and commits how many publishers there are.
    ///
    /// # Errors
    /// [`JobError`]; without the number committed no other publisher is to be opened.
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
        let without = if progress.is_kept { vec![] } else { vec![0] };
        Ok(Publishers {
            open: BTreeMap::from([(0, publisher)]),
            carried: Carried { progress, without },
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
            // What a former slot carries is in publisher 0 since its first attempt as a publisher of a worker.
            match found {
                Some(PublisherProgress::Sink(progress)) if progress.is_kept => {
                    all.carried.progress.merge(*progress);
                }
                _ => all
                    .carried
                    .without
                    .push(u32::try_from(*number).expect("few publishers")),
            }
            all.open.insert(*number, publisher);
        }
        Ok(all)
    }

    /// The progress of the slots of an earlier version, of which slot 0 carries `first`. It opens all others.
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

/// A publisher and what it carries.
type Opened = (Box<dyn Publisher>, Option<PublisherProgress>);

impl Publishers {
    /// Takes in others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.open.extend(others.open);
        self.carried.merge(others.carried);
        self
    }

    /// Has those that carry nothing commit a progress, so that a later start that finds none knows that it was lost.
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
