//! A publisher whose transactions become files.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::rand;
use bytes::Bytes;
use record_log::{LogError, NewRecord, PROGRESS_MAX_BYTES, PublishError, Publisher, Refusal};

use super::RECORD_LIMIT;
use super::format::FileFormat;
use super::line;
use super::store::{SinkError, SinkStore};
use super::transaction::{FilePlace, FileTransaction};

/// The holder of a publisher's id.
pub struct FilePublisher {
    store: Arc<SinkStore>,
    format: FileFormat,
    id: String,
    /// A number that no other holder of the id has.
    holder: u64,
    /// The number of the newest transaction.
    number: u64,
    /// The order of the newest transaction with records.
    order: u64,
    /// True if this holder has committed records.
    has_records: bool,
    progress: Option<Vec<u8>>,
    /// The lines of each file since the last commit.
    files: BTreeMap<FilePlace, Vec<u8>>,
}

/// The outcome of a transaction that the store has answered.
enum Answer {
    Committed,
    Fenced,
}

impl FilePublisher {
    /// Opens the publisher `id`, and fences its earlier holders.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Refused`].
    pub fn open(store: &Arc<SinkStore>, format: FileFormat, id: &str) -> Result<Self, LogError> {
        let holder = own_number()?;
        let own_id = id.to_owned();
        let own_store = Arc::clone(store);
        let taken = store.wait(async move { take_over(&own_store, &own_id, holder).await });
        let (
            number,
            FileTransaction {
                order, progress, ..
            },
        ) = taken?;

        Ok(Self {
            store: Arc::clone(store),
            format,
            id: id.to_owned(),
            holder,
            number,
            order,
            has_records: false,
            progress,
            files: BTreeMap::new(),
        })
    }

    fn append(
        &mut self,
        window_start: Option<u64>,
        record: &NewRecord<'_>,
    ) -> Result<(), PublishError> {
        if record.size_bytes() > RECORD_LIMIT.bytes {
            self.files.clear();
            return Err(Refusal::too_large(record, RECORD_LIMIT).into());
        }

        let place = FilePlace {
            topic: record.topic.to_owned(),
            window_start,
        };
        line::append(record, self.files.entry(place).or_default());
        Ok(())
    }

    /// Returns the order of the next transaction with records. The first one of a holder follows those of all publishers:
    /// by now the holders of earlier attempts are fenced, and in these attempts other publishers may have owned its
    /// keys.
    fn next_order(&self) -> Result<u64, PublishError> {
        if self.has_records {
            return Ok(self.order + 1);
        }
        let store = Arc::clone(&self.store);
        let greatest = self.store.wait(async move { store.greatest_order().await });
        greatest.map(|order| order + 1).map_err(SinkError::before)
    }
}

impl Publisher for FilePublisher {
    fn progress(&self) -> Option<&[u8]> {
        self.progress.as_deref()
    }

    fn send(&mut self, record: NewRecord<'_>) -> Result<(), PublishError> {
        self.append(None, &record)
    }

    fn send_in_window(&mut self, start_ms: u64, record: NewRecord<'_>) -> Result<(), PublishError> {
        self.append(Some(start_ms), &record)
    }

    fn commit(&mut self, progress: &[u8]) -> Result<(), PublishError> {
        let files = std::mem::take(&mut self.files);
        if progress.len() > PROGRESS_MAX_BYTES {
            let sentence = format!(
                "a progress of {} bytes is larger than the {PROGRESS_MAX_BYTES} bytes that a log keeps",
                progress.len()
            );
            return Err(Refusal::new(sentence).into());
        }

        let has_records = !files.is_empty();
        let order = if has_records {
            self.next_order()?
        } else {
            self.order
        };
        let transaction = FileTransaction {
            order,
            holder: self.holder,
            progress: Some(progress.to_vec()),
            files: files
                .into_iter()
                .map(|(place, lines)| (place, self.format.content(lines)))
                .collect(),
        };

        let number = self.number + 1;
        let store = Arc::clone(&self.store);
        let id = self.id.clone();
        let commit = async move { commit(&store, &id, number, &transaction).await };
        match self.store.wait(commit).map_err(SinkError::after)? {
            Answer::Fenced => Err(PublishError::Fenced {
                id: self.id.clone(),
            }),
            Answer::Committed => {
                self.number = number;
                self.order = order;
                self.has_records |= has_records;
                self.progress = Some(progress.to_vec());
                Ok(())
            }
        }
    }
}

/// Creates the missing files of a publisher's newest transaction, then takes the next number with a transaction without
/// records. Returns both.
async fn take_over(
    store: &SinkStore,
    id: &str,
    holder: u64,
) -> Result<(u64, FileTransaction), SinkError> {
    loop {
        let numbers = store.numbers(id).await?;
        let newest = numbers.iter().copied().max();
        let before = match newest {
            Some(newest) => match store.transaction(id, newest).await? {
                Some(before) => Some(before),
                // A newer one has followed since.
                None => continue,
            },
            None => None,
        };
        if let Some(before) = &before {
            store.create_files(id, before).await?;
        }

        let number = newest.unwrap_or(0) + 1;
        let own = FileTransaction {
            order: before.as_ref().map_or(0, |before| before.order),
            holder,
            progress: before.and_then(|before| before.progress),
            files: Vec::new(),
        };
        let is_own = store
            .create_transaction(id, number, own.to_bytes().into())
            .await?;
        if is_own && is_newest(store, id, number).await? {
            return Ok((number, own));
        }
    }
}

/// Commits a transaction, and creates its files.
async fn commit(
    store: &SinkStore,
    id: &str,
    number: u64,
    transaction: &FileTransaction,
) -> Result<Answer, SinkError> {
    let bytes = Bytes::from(transaction.to_bytes());
    let is_own = store.create_transaction(id, number, bytes).await?;
    if !is_own || !is_newest(store, id, number).await? {
        return Ok(Answer::Fenced);
    }
    store.create_files(id, transaction).await?;
    Ok(Answer::Committed)
}

/// Returns whether a transaction that was created is the newest of its publisher, and deletes those before it. It is not
/// the newest if newer holders took its number before, and deleted it.
async fn is_newest(store: &SinkStore, id: &str, number: u64) -> Result<bool, SinkError> {
    let numbers = store.numbers(id).await?;
    if numbers.iter().any(|other| *other > number) {
        store.delete_transactions(id, std::iter::once(number)).await;
        return Ok(false);
    }

    let former = numbers.into_iter().filter(|other| *other < number);
    store.delete_transactions(id, former).await;
    Ok(true)
}

/// Draws a number that no other holder has.
fn own_number() -> Result<u64, LogError> {
    let mut bytes = [0; 8];
    let drawn = rand::fill(&mut bytes);
    drawn.map_err(|_| LogError::Settings("the system gives no random numbers".into()))?;
    Ok(u64::from_le_bytes(bytes))
}
