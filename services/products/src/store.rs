//! The catalogue in DynamoDB.
//!
//! Each product is one item, keyed by id. Two global secondary indexes list products newest first
//! without a scan: `by-catalogue` (every product, under one constant key) and `by-category`
//! (sparse). Both project keys only, and an entry changes only with the product's category. Sales,
//! the one frequent write, therefore do not touch the single index partition of a popular category.
//! A page is one query for keys and one batch read of the items.
//!
//! Every write that was decided on a version is conditional on that version. The stock has a version
//! of its own, so sales and changes of the description do not wait for each other ([`replacing`]).
//! The indexes are eventually consistent: a product is found by id at once, and in a list soon after.
//!
//! `reservations` stores the units that orders took from the stock, by the order's key. Searches use an index
//! in memory, which is updated by this process's writes and by reading the table ([`searching`]).

mod replacing;
pub mod reservations;
mod searching;
pub mod tables;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use chassis::{Backoff, Limit, Page};
use events::Timestamp;
pub use replacing::NotChanged;
use replacing::Turns;
use searching::Searched;
use serde::{Deserialize, Serialize};
use tables::PRODUCTS;
use uuid::Uuid;

use crate::product::{Details, Object, Product};

/// The partition key under which every product is listed.
const WHOLE_CATALOGUE: &str = "all";
/// Maximum attempts when DynamoDB throttles or a transaction conflicts.
const ATTEMPTS: usize = 8;

/// Access to the tables of this service. Clones share the search index.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    searched: Searched,
    turns: Turns,
}

/// The products to list.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Only products of this category.
    pub category: Option<String>,
    /// Only products listed after this one: the last of the previous page.
    pub after: Option<Uuid>,
    /// Maximum number of products.
    pub limit: Limit,
}

/// The reason a call of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The product no longer has the version that the write was decided on, is gone, or (for a new
    /// one) exists already.
    #[error("the product was changed by someone else")]
    Changed,
    /// DynamoDB returned an error or did not reply; a write may have happened.
    #[error("DynamoDB failed")]
    DynamoDb(#[source] Box<aws_sdk_dynamodb::Error>),
    /// An item does not have the expected format.
    #[error("an item cannot be read")]
    Unreadable(#[from] serde_dynamo::Error),
    /// DynamoDB throttled every attempt, or other writes conflicted with every attempt.
    #[error("DynamoDB is too busy")]
    Busy,
}

/// A product as an item.
#[derive(Deserialize, Serialize)]
struct Row {
    id: Uuid,
    catalogue: String,
    name: String,
    price_cents: u64,
    currency: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    stock: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    category: Option<String>,
    attributes: Object,
    version: u64,
    /// Absent from products that earlier versions stored and that were not bought since.
    #[serde(default)]
    stock_version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Store {
    /// Creates a store that uses this client.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            searched: Searched::default(),
            turns: Turns::default(),
        }
    }

    /// Adds a product whose id is not in use.
    ///
    /// The AWS client repeats a request whose reply was lost. The repeated request finds the id in use by the same
    /// product, which counts as a success. So does the same product that another request adds in the same millisecond.
    ///
    /// # Errors
    /// Returns [`StoreError::Changed`] if the id is in use, or another [`StoreError`].
    pub async fn create(&self, product: &Product) -> Result<(), StoreError> {
        let item = serde_dynamo::to_item(Row::from(product.clone()))?;
        let put = self
            .client
            .put_item()
            .table_name(PRODUCTS)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(id)");

        match put.send().await.map_err(failed) {
            Ok(_) => {}
            Err(StoreError::Changed) if self.get(product.id).await?.as_ref() == Some(product) => {}
            Err(error) => return Err(error),
        }

        self.searched.index_mut().put(product);
        Ok(())
    }

    /// Returns the product, if it exists.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn get(&self, id: Uuid) -> Result<Option<Product>, StoreError> {
        let get = self
            .client
            .get_item()
            .table_name(PRODUCTS)
            .key("id", text(id))
            .consistent_read(true);
        let found = get.send().await.map_err(failed)?;

        Ok(found
            .item
            .map(serde_dynamo::from_item::<_, Row>)
            .transpose()?
            .map(Product::from))
    }

    /// Returns the existing products among these ids, in the order of `ids`. Takes at most a
    /// hundred ids.
    ///
    /// # Errors
    /// Returns [`StoreError::Busy`] if DynamoDB leaves keys unprocessed at every attempt.
    pub async fn get_all(&self, ids: &[Uuid]) -> Result<Vec<Product>, StoreError> {
        let mut wanted = ids.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let mut found = self.batch_get(&wanted).await?;
        found.sort_unstable_by_key(|product| ids.iter().position(|id| *id == product.id));
        Ok(found)
    }

    async fn batch_get(&self, ids: &[Uuid]) -> Result<Vec<Product>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        if ids.is_empty() {
            return Ok(found);
        }

        let mut keys: Vec<_> = ids
            .iter()
            .map(|id| [("id".to_owned(), text(*id))].into())
            .collect();

        let mut backoff = Backoff::default();
        for _ in 0..ATTEMPTS {
            let request = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true)
                .build();
            let request = request.expect("the keys are set");

            let batch = self
                .client
                .batch_get_item()
                .request_items(PRODUCTS, request)
                .send();
            let answer = batch.await.map_err(failed)?;

            let items = answer
                .responses
                .unwrap_or_default()
                .remove(PRODUCTS)
                .unwrap_or_default();

            found.extend(
                serde_dynamo::from_items::<_, Row>(items)?
                    .into_iter()
                    .map(Product::from),
            );

            let left = answer.unprocessed_keys.unwrap_or_default().remove(PRODUCTS);
            keys = left.map_or_else(Vec::new, |left| left.keys);
            if keys.is_empty() {
                return Ok(found);
            }

            pause(&mut backoff).await;
        }

        Err(StoreError::Busy)
    }

    /// Returns a page of products, newest first.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn list(&self, listing: &Listing) -> Result<Page<Product>, StoreError> {
        let page = Page::cut(self.list_ids(listing).await?, listing.limit, |id| *id);
        Ok(Page {
            items: self.get_all(&page.items).await?,
            next: page.next,
        })
    }

    /// Returns up to one id more than the page holds, which shows whether another page follows.
    async fn list_ids(&self, listing: &Listing) -> Result<Vec<Uuid>, StoreError> {
        let (index, key, value) = match &listing.category {
            Some(category) => (tables::BY_CATEGORY, "category", category.as_str()),
            None => (tables::BY_CATALOGUE, "catalogue", WHOLE_CATALOGUE),
        };

        let limit = i32::try_from(listing.limit.and_one()).unwrap_or(i32::MAX);
        let mut query = self
            .client
            .query()
            .table_name(PRODUCTS)
            .index_name(index)
            .limit(limit);

        query = query
            .scan_index_forward(false)
            .expression_attribute_names("#key", key);
        query = query.expression_attribute_values(":value", AttributeValue::S(value.to_owned()));

        query = match listing.after {
            None => query.key_condition_expression("#key = :value"),
            Some(after) => query
                .key_condition_expression("#key = :value AND id < :after")
                .expression_attribute_values(":after", text(after)),
        };

        let found = query.send().await.map_err(failed)?;
        let keys: Vec<Key> = serde_dynamo::from_items(found.items.unwrap_or_default())?;
        Ok(keys.into_iter().map(|key| key.id).collect())
    }

    /// Removes a product. If `version` is given, removes it only at that version. Returns whether
    /// the product existed.
    ///
    /// # Errors
    /// Returns [`StoreError::Changed`] if it has another version.
    pub async fn delete(&self, id: Uuid, version: Option<u64>) -> Result<bool, StoreError> {
        let mut delete = self
            .client
            .delete_item()
            .table_name(PRODUCTS)
            .key("id", text(id));
        delete = delete.return_values(aws_sdk_dynamodb::types::ReturnValue::AllOld);

        if let Some(version) = version {
            delete = delete.condition_expression("attribute_not_exists(id) OR version = :version");
            delete = delete.expression_attribute_values(":version", number(version));
        }

        let deleted = delete.send().await.map_err(failed)?;
        self.searched.index_mut().remove(id);
        Ok(deleted.attributes.is_some())
    }
}

/// The key of a product, as projected into an index.
#[derive(Deserialize)]
struct Key {
    id: Uuid,
}

impl From<Product> for Row {
    fn from(product: Product) -> Self {
        let Product {
            id,
            details,
            version,
            stock_version,
            created_at,
            updated_at,
        } = product;

        let Details {
            name,
            price_cents,
            currency,
            stock,
            category,
            attributes,
        } = details;

        let catalogue = WHOLE_CATALOGUE.to_owned();
        Self {
            id,
            catalogue,
            name,
            price_cents,
            currency,
            stock,
            category,
            attributes,
            version,
            stock_version,
            created_at,
            updated_at,
        }
    }
}

impl From<Row> for Product {
    fn from(row: Row) -> Self {
        let Row {
            id,
            name,
            price_cents,
            currency,
            stock,
            category,
            attributes,
            version,
            stock_version,
            ..
        } = row;

        let details = Details {
            name,
            price_cents,
            currency,
            stock,
            category,
            attributes,
        };

        Self {
            id,
            details,
            version,
            stock_version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

fn text(id: Uuid) -> AttributeValue {
    AttributeValue::S(id.to_string())
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn failed<E>(error: SdkError<E>) -> StoreError
where
    aws_sdk_dynamodb::Error: From<SdkError<E>>,
{
    match error.into() {
        aws_sdk_dynamodb::Error::ConditionalCheckFailedException(_) => StoreError::Changed,
        other => StoreError::DynamoDb(Box::new(other)),
    }
}

/// Waits before the next attempt, after a throttled batch or a failed transaction.
async fn pause(backoff: &mut Backoff) {
    tokio::time::sleep(backoff.next_wait(Uuid::new_v4().as_u64_pair().1)).await;
}
