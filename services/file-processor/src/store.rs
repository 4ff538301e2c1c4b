//! The files' metadata in DynamoDB.
//!
//! Each version of an object is one item, keyed by an id derived from key and version. A write has
//! the condition that the item is not finished yet, so it cannot undo a result. If two processes
//! finish the same version, the first write wins, and the second process reads its result. The index
//! `by-time` lists the files, newest first.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
pub use chassis::dynamodb::StoreError;
use chassis::dynamodb::{Index, Key, KeyKind, Projected, Table, TableError, ensure_table, held};
use chassis::{Limit, Page};
use serde::Serialize;
use uuid::Uuid;

use crate::file::File;

/// The table.
pub const FILES: &str = "files";
/// The index that sorts all files by time.
const BY_TIME: &str = "by-time";
/// The partition key of all files in the index.
const ALL: &str = "all";
/// A position that sorts after all others.
const NEWEST: &str = "~";

const TABLE: Table = Table {
    name: FILES,
    key: Key {
        partition: ("id", KeyKind::Text),
        sort: None,
    },
    indexes: &[Index {
        name: BY_TIME,
        key: Key {
            partition: ("shelf", KeyKind::Text),
            sort: Some(("position", KeyKind::Text)),
        },
        projected: Projected::All,
    }],
    expires_at: None,
};

/// The table of files.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
}

/// A file in the form of an item.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    file: &'a File,
    shelf: &'static str,
    position: String,
}

impl Store {
    /// Creates a store on this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Creates the table if it is missing.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn ensure_table(&self) -> Result<(), TableError> {
        ensure_table(&self.client, &TABLE).await
    }

    /// Stores a file, unless its item exists already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn announce(&self, file: &File) -> Result<(), StoreError> {
        self.put(file, "attribute_not_exists(id)", &[])
            .await
            .map(drop)
    }

    /// Stores the metadata of a file, unless it is finished already. Returns `false` in that case.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep(&self, file: &File) -> Result<bool, StoreError> {
        self.put(
            file,
            "attribute_not_exists(id) OR #status = :waiting",
            &[(":waiting", "waiting")],
        )
        .await
    }

    async fn put(
        &self,
        file: &File,
        condition: &str,
        values: &[(&str, &str)],
    ) -> Result<bool, StoreError> {
        let row = Row {
            file,
            shelf: ALL,
            position: position(file),
        };

        let mut put = self
            .client
            .put_item()
            .table_name(FILES)
            .set_item(Some(serde_dynamo::to_item(row)?));
        put = put.condition_expression(condition);

        for (name, value) in values {
            put = put
                .expression_attribute_values(*name, text(value))
                .expression_attribute_names("#status", "status");
        }

        held(put.send().await)
    }

    /// Returns the file with this id, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: Uuid) -> Result<Option<File>, StoreError> {
        let get = self
            .client
            .get_item()
            .table_name(FILES)
            .key("id", text(&id.to_string()))
            .consistent_read(true);

        Ok(get
            .send()
            .await?
            .item
            .map(serde_dynamo::from_item)
            .transpose()?)
    }

    /// Returns a page of files, newest first, after the last position of the previous page.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, after: Option<&str>, limit: Limit) -> Result<Page<File>, StoreError> {
        let mut files: Vec<File> = Vec::new();
        let mut before = after.unwrap_or(NEWEST).to_owned();

        // DynamoDB ends a page early when its items are large.
        loop {
            let wanted = limit.items() + 1 - files.len();
            let (found, is_last) = self.newest_before(&before, wanted).await?;
            files.extend(found);

            if is_last || files.len() > limit.items() {
                return Ok(Page::cut(files, limit, position));
            }

            before = files.last().map_or(before, position);
        }
    }

    async fn newest_before(
        &self,
        before: &str,
        limit: usize,
    ) -> Result<(Vec<File>, bool), StoreError> {
        let query = self
            .client
            .query()
            .table_name(FILES)
            .index_name(BY_TIME)
            .scan_index_forward(false);
        let query = query.key_condition_expression("shelf = :all AND #position < :before");
        let query = query.expression_attribute_names("#position", "position");
        let query = query.expression_attribute_values(":all", text(ALL));
        let query = query.expression_attribute_values(":before", text(before));

        let found = query
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await?;

        Ok((
            serde_dynamo::from_items(found.items.unwrap_or_default())?,
            found.last_evaluated_key.is_none(),
        ))
    }
}

/// Returns a string that sorts by the time of the upload, then by id.
fn position(file: &File) -> String {
    format!("{:015}#{}", file.uploaded_at.as_ms(), file.id)
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}
