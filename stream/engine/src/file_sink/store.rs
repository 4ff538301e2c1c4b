//! The object store below a sink of files: creates, reads, lists and deletes objects, and waits for the store on a thread
//! of its own. An operation that the store does not answer is repeated until a limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use record_log::{LogError, PublishError, Refusal};
use tokio::runtime::{Builder, Runtime};

use super::format::extension;
use super::transaction::{FileTransaction, ORDER_RANGE, TransactionError, file_name, order_of};
use crate::checkpoint::store::failure::Failure;

/// The folder of transactions.
const TRANSACTIONS: &str = "_transactions";
/// The time for which a failing operation is repeated.
const LIMIT: Duration = Duration::from_secs(15);
/// The first and the last delay between two tries; the delay doubles in between.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(1);
/// The number of files that are created at a time.
const AT_A_TIME: usize = 8;

/// The store below a sink.
pub struct SinkStore {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    /// Taken when the store is dropped.
    runtime: Option<Runtime>,
    /// The time for which a failing operation is repeated.
    pub limit: Duration,
}

/// The reason why the store did not do an operation.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The store does not answer.
    #[error("the object store does not answer for {path}: {source}")]
    Unavailable {
        /// The object or folder.
        path: Path,
        /// The store's reason.
        source: Error,
    },
    /// The store refuses the operation: at once, or for as long as the limit.
    #[error("the object store refuses {path}: {source}")]
    Refused {
        /// The object or folder.
        path: Path,
        /// The store's reason.
        source: Error,
    },
    /// A file of the transaction has another content.
    #[error(
        "{0} exists with other content: its folder belongs to another job, or {TRANSACTIONS} was deleted; \
         name another --output, or delete the files of all topics as well"
    )]
    Taken(Path),
    /// An object cannot be read as a transaction.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The object.
        path: Path,
        /// The reason.
        source: TransactionError,
    },
}

impl SinkError {
    /// Converts an error that came before anything was published.
    pub fn before(self) -> PublishError {
        match self {
            Self::Unavailable { .. } => PublishError::NotPublished(Box::new(self)),
            refused => PublishError::Refused(Refusal::new(refused.to_string())),
        }
    }

    /// Converts an error that came when the transaction may have been committed.
    pub fn after(self) -> PublishError {
        match self {
            Self::Unavailable { .. } => PublishError::MayHaveHappened(Box::new(self)),
            refused => PublishError::Refused(Refusal::new(refused.to_string())),
        }
    }
}

impl From<SinkError> for LogError {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Unavailable { .. } => Self::Unavailable(Box::new(error)),
            refused => Self::Refused(Refusal::new(refused.to_string())),
        }
    }
}

impl SinkStore {
    /// Returns the store below `root`.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn new(objects: Arc<dyn ObjectStore>, root: Path) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("file sink")
            .enable_all()
            .build()?;

        Ok(Self {
            objects,
            root,
            runtime: Some(runtime),
            limit: LIMIT,
        })
    }

    /// Waits for work on the store, on this thread, which may belong to another runtime.
    pub fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let runtime = self.runtime.as_ref().expect("the store is not dropped yet");
        match futures::executor::block_on(runtime.spawn(work)) {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Creates a transaction. Returns false if the number has another one.
    pub async fn create_transaction(
        &self,
        publisher: &str,
        number: u64,
        bytes: Bytes,
    ) -> Result<bool, SinkError> {
        let path = self.transaction_path(publisher, number);
        Ok(self.create(&path, bytes.clone()).await? || self.read(&path).await? == Some(bytes))
    }

    /// Reads a transaction; none if it does not exist.
    pub async fn transaction(
        &self,
        publisher: &str,
        number: u64,
    ) -> Result<Option<FileTransaction>, SinkError> {
        let path = self.transaction_path(publisher, number);
        let Some(bytes) = self.read(&path).await? else {
            return Ok(None);
        };
        let read = FileTransaction::from_bytes(&bytes);
        read.map(Some)
            .map_err(|source| SinkError::Unreadable { path, source })
    }

    /// Returns the numbers of a publisher's transactions.
    pub async fn numbers(&self, publisher: &str) -> Result<Vec<u64>, SinkError> {
        let folder = self.transactions().join(publisher);
        let found = self.list(&folder).await?;
        Ok(found.iter().filter_map(number_of).collect())
    }

    /// Returns the greatest order of a transaction of any publisher.
    pub async fn greatest_order(&self) -> Result<u64, SinkError> {
        loop {
            if let Some(greatest) = self.greatest_listed().await? {
                return Ok(greatest);
            }
        }
    }

    /// Returns the greatest order of the transactions that are listed; none if one of them is deleted meanwhile, because
    /// the listing may not have the one that followed it.
    async fn greatest_listed(&self) -> Result<Option<u64>, SinkError> {
        let mut greatest = 0;
        for path in self.list(&self.transactions()).await? {
            let range = || async { self.objects.get_range(&path, ORDER_RANGE).await };
            let Some(first) = found(self.persist(&path, range).await)? else {
                return Ok(None);
            };
            let order = order_of(&first);
            let order = order.map_err(|source| SinkError::Unreadable { path, source })?;
            greatest = greatest.max(order);
        }
        Ok(Some(greatest))
    }

    /// Creates the missing files of a committed transaction.
    pub async fn create_files(
        &self,
        publisher: &str,
        transaction: &FileTransaction,
    ) -> Result<(), SinkError> {
        let create = |(place, content): &(super::transaction::FilePlace, Bytes)| {
            let name = file_name(transaction.order, publisher, extension(content));
            let folder = place
                .folders()
                .fold(self.root.clone(), |path, part| path.join(part));
            let path = folder.join(name.as_str());
            let content = content.clone();
            async move {
                let is_there = self.create(&path, content.clone()).await?
                    || self.read(&path).await?.is_none_or(|found| found == content);
                if is_there {
                    Ok(())
                } else {
                    Err(SinkError::Taken(path))
                }
            }
        };

        let creations: Vec<_> = transaction.files.iter().map(create).collect();
        stream::iter(creations)
            .buffer_unordered(AT_A_TIME)
            .try_collect()
            .await
    }

    /// Deletes transactions that newer ones have followed.
    pub async fn delete_transactions(&self, publisher: &str, numbers: impl Iterator<Item = u64>) {
        for number in numbers {
            let path = self.transaction_path(publisher, number);
            if let Err(error) = self.objects.delete(&path).await {
                // The next transaction tries again.
                tracing::debug!(%path, %error, "a former transaction was not deleted");
            }
        }
    }

    fn transactions(&self) -> Path {
        self.root.clone().join(TRANSACTIONS)
    }

    fn transaction_path(&self, publisher: &str, number: u64) -> Path {
        self.transactions()
            .join(publisher)
            .join(format!("{number:020}"))
    }

    /// Creates an object. Returns false if it exists.
    async fn create(&self, path: &Path, bytes: Bytes) -> Result<bool, SinkError> {
        let create = || async {
            let options = PutOptions::from(PutMode::Create);
            match self
                .objects
                .put_opts(path, bytes.clone().into(), options)
                .await
            {
                Ok(_) => Ok(true),
                Err(Error::AlreadyExists { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.persist(path, create).await
    }

    /// Reads an object; none if it does not exist.
    async fn read(&self, path: &Path) -> Result<Option<Bytes>, SinkError> {
        let read = || async { self.objects.get(path).await?.bytes().await };
        found(self.persist(path, read).await)
    }

    async fn list(&self, folder: &Path) -> Result<Vec<Path>, SinkError> {
        let list = || async {
            let found = self
                .objects
                .list(Some(folder))
                .map_ok(|object| object.location);
            found.try_collect::<Vec<_>>().await
        };
        self.persist(folder, list).await
    }

    /// Repeats an operation until the store answers, or the limit is reached.
    async fn persist<T, F: Future<Output = object_store::Result<T>>>(
        &self,
        path: &Path,
        operation: impl Fn() -> F,
    ) -> Result<T, SinkError> {
        let begun = Instant::now();
        let mut delay = FIRST_DELAY.min(self.limit);
        loop {
            let source = match operation().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };

            let path = path.clone();
            let is_over = begun.elapsed() >= self.limit;
            match Failure::of(&source) {
                Failure::Impossible => return Err(SinkError::Refused { path, source }),
                _ if matches!(source, Error::NotFound { .. }) => {
                    return Err(SinkError::Refused { path, source });
                }
                Failure::Forbidden if is_over => return Err(SinkError::Refused { path, source }),
                Failure::Unavailable if is_over => {
                    return Err(SinkError::Unavailable { path, source });
                }
                Failure::Forbidden | Failure::Unavailable => {}
            }

            tracing::warn!(%path, error = %source, delay_ms = delay.as_millis(), "cannot reach an object of the sink, trying again");
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(LAST_DELAY);
        }
    }
}

impl Drop for SinkStore {
    /// Ends the thread without waiting for it: a runtime must not wait within another one.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns none for an object that does not exist.
fn found<T>(answer: Result<T, SinkError>) -> Result<Option<T>, SinkError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(SinkError::Refused {
            source: Error::NotFound { .. },
            ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn number_of(path: &Path) -> Option<u64> {
    path.filename()?.parse().ok()
}
