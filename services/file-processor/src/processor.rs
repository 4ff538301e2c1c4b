//! Processes a file: the handler of the Lambda, on AWS and for the folder of a laptop.
//!
//! ```text
//! notification ─▶ find ─▶ finished? ─▶ kind (by head) ─▶ read ─▶ thumbnail, products ─▶ metadata
//! ```
//!
//! Invariants: a version of an object is finished once, with a finding or a refusal. An error that
//! may be temporary, such as an unavailable store or service, is a [`Failure`]: the file is not
//! finished then, and the whole processing is repeated. Each step is therefore idempotent. Memory is
//! bounded by the pieces in flight, the pixels of a picture or the products of an import, not by the
//! size of the file.

use std::time::{Duration, Instant};

use events::Timestamp;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::catalogue::{self, Products, RefusedProduct};
use crate::chunks::{Chunk, Stop};
use crate::csv::{self, Dialect, Rows, Table};
use crate::encoding::{Encoding, Utf8};
use crate::event::Upload;
use crate::file::{Done, File};
use crate::finding::{Finding, Reason, Refusal};
use crate::kind::{self, Kind};
use crate::objects::{BAD_ROWS, Object, Objects, THUMBNAILS};
use crate::products::{ProductsClient, ProductsError};
use crate::store::{Store, StoreError};
use crate::{json, picture};

/// Prefix of the CSV files that are imports.
const CATALOGUE: &str = "uploads/catalogue/";
const MIB: u64 = 1 << 20;

/// Processes files.
#[derive(Clone)]
pub struct Processor {
    /// The store of the files.
    pub objects: Objects,
    /// The store of the metadata.
    pub store: Store,
    /// The client for imports.
    pub products: ProductsClient,
    /// Size limit of a file, in bytes.
    pub max_bytes: u64,
}

/// The reason why a file could not be processed this time.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file could not be read, or its thumbnail or bad rows could not be written.
    #[error("the object store failed: {0}")]
    Objects(#[from] object_store::Error),
    /// Its metadata could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its products could not be imported.
    #[error(transparent)]
    Products(#[from] ProductsError),
}

/// The reason why the reading of a file ended early.
enum Ended {
    Refused(Refusal),
    Failed(Failure),
}

impl Processor {
    /// Processes an upload, within `time` if that is given. A version that is finished already is
    /// left as it is. Returns `None` for an object that no longer exists and has no metadata.
    ///
    /// # Errors
    /// [`Failure`]; processing may be retried.
    pub async fn process(
        &self,
        upload: &Upload,
        time: Option<Duration>,
    ) -> Result<Option<File>, Failure> {
        let began = Instant::now();
        let Some(object) = self
            .objects
            .find(&upload.key, upload.version_id.as_deref())
            .await?
        else {
            return self.gone(upload).await;
        };

        if upload
            .version
            .as_ref()
            .is_some_and(|version| *version != object.version)
        {
            return self.gone(upload).await;
        }

        let file = File::waiting(
            &object.key,
            &object.version,
            object.size_bytes,
            object.uploaded_at,
        );
        let known = self.store.get(file.id).await?;

        if let Some(finished) = known.filter(File::is_finished) {
            return Ok(Some(finished));
        }

        let outcome = match time {
            Some(Duration::ZERO) => Err(too_slow(Duration::ZERO)),
            Some(time) => tokio::time::timeout(time, self.examine(&object))
                .await
                .unwrap_or_else(|_| Err(too_slow(time))),
            None => self.examine(&object).await,
        };

        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.conclude(
            file,
            outcome,
            Done {
                at: Timestamp::now(),
                took_ms,
            },
        )
        .await
        .map(Some)
    }

    /// Stores the outcome.
    async fn conclude(
        &self,
        file: File,
        outcome: Result<Finding, Ended>,
        done: Done,
    ) -> Result<File, Failure> {
        let file = match outcome {
            Ok(finding) => file.processed(finding, done),
            Err(Ended::Refused(refusal)) => file.refused(&refusal, done),
            Err(Ended::Failed(failure)) => {
                self.store.keep(&file.put_off(&failure.to_string())).await?;
                return Err(failure);
            }
        };
        tracing::info!(key = file.key, id = %file.id, status = ?file.status, took_ms = file.took_ms, "processed a file");
        if self.store.keep(&file).await? {
            return Ok(file);
        }

        // Another process finished the same version first.
        Ok(self.store.get(file.id).await?.unwrap_or(file))
    }

    /// Refuses an announced version that no longer exists, if it has metadata and is not finished.
    async fn gone(&self, upload: &Upload) -> Result<Option<File>, Failure> {
        let Some(version) = &upload.version else {
            return Ok(None);
        };

        match self
            .store
            .get(crate::file::id(&upload.key, version))
            .await?
        {
            Some(file) if !file.is_finished() => {
                let done = Done {
                    at: Timestamp::now(),
                    took_ms: 0,
                };
                self.conclude(file, Err(gone().into()), done)
                    .await
                    .map(Some)
            }
            known => Ok(known),
        }
    }

    async fn examine(&self, object: &Object) -> Result<Finding, Ended> {
        if object.size_bytes == 0 {
            return Err(Refusal::new(Reason::Empty, "there is nothing in it").into());
        }

        within(object, self.max_bytes, "a file")?;
        let name = object.key.rsplit('/').next().unwrap_or_default();
        let head = self.objects.head(object, kind::HEAD_BYTES).await?;

        let kind = kind::of(name, &head)?;
        if object.key.starts_with(CATALOGUE) {
            return match kind {
                Kind::Csv(dialect, encoding) => self.import(object, dialect, encoding).await,
                Kind::Image(_) => Err(not_a_catalogue("a picture").into()),
                Kind::Json(_) | Kind::Ndjson(_) => Err(not_a_catalogue("JSON").into()),
            };
        }

        match kind {
            Kind::Image(format) => self.picture(object, format).await,
            Kind::Csv(dialect, encoding) => {
                let read = move |chunks| table(chunks, dialect, encoding, &mut csv::Shape);
                let table = self.read(object, read).await?;
                self.finish(object, table).await
            }
            Kind::Json(encoding) => {
                self.read(object, move |chunks| {
                    json::read_document(Utf8::new(chunks, encoding))
                })
                .await
            }
            Kind::Ndjson(encoding) => {
                self.read(object, move |chunks| {
                    json::read_lines(Utf8::new(chunks, encoding))
                })
                .await
            }
        }
    }

    async fn picture(&self, object: &Object, format: kind::Format) -> Result<Finding, Ended> {
        within(object, picture::MAX_BYTES, "a picture")?;
        let bytes = self.objects.head(object, picture::MAX_BYTES).await?;
        let seen = spawn_blocking(move || picture::read(&bytes, format))
            .await
            .map_err(|_| broke_the_reader())??;
        let mut finding = seen.finding;
        let key = format!(
            "{THUMBNAILS}{}.{}",
            name_of_made(object),
            seen.thumbnail.ending
        );
        finding.summary["thumbnail"] = seen.thumbnail.summary(&key);
        self.objects.put(&key, seen.thumbnail.bytes).await?;

        Ok(finding)
    }

    async fn import(
        &self,
        object: &Object,
        dialect: Dialect,
        encoding: Encoding,
    ) -> Result<Finding, Ended> {
        within(object, catalogue::MAX_BYTES, "a catalogue")?;
        let read = move |chunks| {
            let mut products = Products::default();
            Ok((table(chunks, dialect, encoding, &mut products)?, products))
        };
        let (mut table, mut products) = self.read(object, read).await?;
        let skus_without_point = products.drop_points();

        let imported = self.products.import(products.found).await?;
        table.summary["products"] = imported.summary();
        table.summary["products"]["repeated_rows"] = products.repeated_rows.into();
        table.summary["products"]["skus_without_point"] = skus_without_point.into();
        let refused = imported.refused.into_iter();
        for (row, complaint) in refused.flat_map(RefusedProduct::bad_rows) {
            table.bad_rows.note(complaint, || row);
        }

        self.finish(object, table).await
    }

    /// Stores the bad rows of a table as a CSV for correction.
    async fn finish(&self, object: &Object, mut table: Table) -> Result<Finding, Ended> {
        if let Some(mend) = table.bad_rows.mend() {
            let key = format!("{BAD_ROWS}{}.csv", name_of_made(object));
            table.summary["bad_rows_csv"] = mend.summary(&key);
            self.objects.put(&key, mend.bytes).await?;
        }
        Ok(table.finding())
    }

    /// Reads the file on a thread of its own.
    async fn read<T: Send + 'static>(
        &self,
        object: &Object,
        reader: impl FnOnce(Blocking) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, Ended> {
        let pieces = self.objects.fetch(object);
        let _fetching = pieces.fetching;
        let chunks = Blocking(pieces.chunks);
        let read = spawn_blocking(move || reader(chunks))
            .await
            .map_err(|_| broke_the_reader())?;
        Ok(read?)
    }
}

/// Reads a table in any encoding and reports the encoding.
fn table(
    chunks: Blocking,
    dialect: Dialect,
    encoding: Encoding,
    rows: &mut impl Rows,
) -> Result<Table, Stop> {
    let mut text = Utf8::new(chunks, encoding);
    let mut table = csv::read(&mut text, dialect, rows)?;
    table.summary["encoding"] = text.encoding().name().into();
    Ok(table)
}

/// Returns the name of objects that are made of this version of an upload. Those of an earlier version stay, and the name
/// is short, however long the key of the upload is.
fn name_of_made(object: &Object) -> Uuid {
    crate::file::id(&object.key, &object.version)
}

/// The pieces of a file, for a thread that may block.
struct Blocking(tokio::sync::mpsc::Receiver<Chunk>);

impl Iterator for Blocking {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        self.0.blocking_recv()
    }
}

fn within(object: &Object, max_bytes: u64, what: &str) -> Result<(), Refusal> {
    if object.size_bytes <= max_bytes {
        return Ok(());
    }

    let detail = format!(
        "{what} may have {} MiB, and it has {}",
        max_bytes / MIB,
        object.size_bytes.div_ceil(MIB)
    );
    Err(Refusal::too_large(detail))
}

/// Returns the refusal of a file in the folder of catalogues that contains no table of products.
fn not_a_catalogue(what: &str) -> Refusal {
    Refusal::new(
        Reason::UnknownKind,
        format!(
            "a catalogue is a CSV, and this is {what}; save the products as CSV, or upload the file without a folder"
        ),
    )
}

fn too_slow(time: Duration) -> Ended {
    Refusal::new(
        Reason::TooSlow,
        format!("it could not be read within {} s", time.as_secs()),
    )
    .into()
}

fn gone() -> Refusal {
    Refusal::new(
        Reason::Gone,
        "it was replaced or deleted before it was read",
    )
}

/// A panic is a refusal, because the reader would panic again on the same file.
fn broke_the_reader() -> Refusal {
    Refusal::malformed("its content is damaged, and the reader failed on it")
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<object_store::Error> for Ended {
    /// A missing or replaced object is a refusal, not a failure of the store.
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. } => {
                gone().into()
            }
            error => Self::Failed(error.into()),
        }
    }
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(refusal) => refusal.into(),
            Stop::Objects(error) => error.into(),
        }
    }
}

impl From<ProductsError> for Ended {
    fn from(error: ProductsError) -> Self {
        Self::Failed(error.into())
    }
}
