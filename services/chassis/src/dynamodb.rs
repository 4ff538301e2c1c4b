//! DynamoDB: the client, the creation of missing tables at a service's start, and the error of a
//! store.

mod failure;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableStatus, TimeToLiveSpecification,
};

pub use failure::{StoreError, held};

use crate::in_one_line;

const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);
const OPERATION_LIMIT: Duration = Duration::from_secs(5);
const MADE_PAUSE: Duration = Duration::from_millis(200);
const MADE_TRIES: u32 = 150;

/// The key of a table or index: a partition key and perhaps a sort key, by name and type.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The partition key.
    pub partition: (&'static str, KeyKind),
    /// The sort key.
    pub sort: Option<(&'static str, KeyKind)>,
}

/// The type of a key attribute.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyKind {
    /// A string.
    Text,
    /// A number.
    Number,
}

/// A table that a service needs, billed by request.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its key.
    pub key: Key,
    /// Its global secondary indexes.
    pub indexes: &'static [Index],
    /// The attribute with an item's expiry, in seconds since 1970.
    pub expires_at: Option<&'static str>,
}

/// A global secondary index.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    /// Its name.
    pub name: &'static str,
    /// Its key.
    pub key: Key,
    /// The attributes of each item that it contains.
    pub projected: Projected,
}

/// The attributes of each item that an index contains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Projected {
    /// All attributes: every change of an item is written to the index as well.
    All,
    /// The keys of table and index: changes of other attributes do not touch the index.
    Keys,
}

/// The reason why a table could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// DynamoDB refused the request or was unavailable.
    #[error("table {table:?} cannot be made ready: {reason}")]
    Refused {
        /// The table.
        table: &'static str,
        /// The whole chain of errors.
        reason: String,
    },
    /// The table exists, but did not become active in time.
    #[error("table {0:?} does not become active")]
    NotActive(&'static str),
}

/// Returns a client of AWS, configured by the usual environment; or of `endpoint`, which replaces
/// AWS on a laptop and needs no real credentials.
pub async fn client(endpoint: Option<&str>) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_LIMIT)
        .operation_attempt_timeout(ATTEMPT_LIMIT)
        .operation_timeout(OPERATION_LIMIT)
        .build();

    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(3));

    if let Some(endpoint) = endpoint {
        loader = loader
            .endpoint_url(endpoint)
            .region(Region::new("local"))
            .credentials_provider(Credentials::new("local", "local", None, None, "tidemark"));
    }

    Client::new(&loader.load().await)
}

/// Checks that DynamoDB answers for the table; a check for [`crate::Health`].
///
/// # Errors
/// [`TableError::Refused`] when it does not, or has no such table.
pub async fn ping(client: &Client, table: &'static str) -> Result<(), TableError> {
    client
        .describe_table()
        .table_name(table)
        .send()
        .await
        .map_err(|error| refused(table, &error))?;
    Ok(())
}

/// Creates the table if it is missing, waits until it is active, and sets its expiry.
///
/// # Errors
/// [`TableError`].
pub async fn ensure_table(client: &Client, table: &Table) -> Result<(), TableError> {
    if let Err(error) = client.describe_table().table_name(table.name).send().await {
        let missing = error
            .as_service_error()
            .is_some_and(|error| error.is_resource_not_found_exception());
        if !missing {
            return Err(refused(table.name, &error));
        }

        create(client, table).await?;
    }

    wait_until_active(client, table.name).await?;
    match table.expires_at {
        Some(attribute) => expire_by(client, table.name, attribute).await,
        None => Ok(()),
    }
}

async fn create(client: &Client, table: &Table) -> Result<(), TableError> {
    let mut keys = vec![table.key];
    let mut request = client
        .create_table()
        .table_name(table.name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(
            schema(table.key).map_err(|error| unbuildable(table.name, &error))?,
        ));

    for secondary in table.indexes {
        keys.push(secondary.key);
        request = request.global_secondary_indexes(
            index(secondary).map_err(|error| unbuildable(table.name, &error))?,
        );
    }

    let attributes = attributes(&keys).map_err(|error| unbuildable(table.name, &error))?;
    match request
        .set_attribute_definitions(Some(attributes))
        .send()
        .await
    {
        Ok(_) => Ok(()),
        // Another replica created it first.
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|error| error.is_resource_in_use_exception()) =>
        {
            Ok(())
        }
        Err(error) => Err(refused(table.name, &error)),
    }
}

async fn wait_until_active(client: &Client, table: &'static str) -> Result<(), TableError> {
    for _ in 0..MADE_TRIES {
        let described = client
            .describe_table()
            .table_name(table)
            .send()
            .await
            .map_err(|error| refused(table, &error))?;

        if described.table.and_then(|table| table.table_status) == Some(TableStatus::Active) {
            return Ok(());
        }

        tokio::time::sleep(MADE_PAUSE).await;
    }
    Err(TableError::NotActive(table))
}

async fn expire_by(
    client: &Client,
    table: &'static str,
    attribute: &str,
) -> Result<(), TableError> {
    let described = client
        .describe_time_to_live()
        .table_name(table)
        .send()
        .await
        .map_err(|error| refused(table, &error))?;

    let set = described
        .time_to_live_description
        .and_then(|found| found.attribute_name);
    if set.as_deref() == Some(attribute) {
        return Ok(());
    }

    let expiry = TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name(attribute)
        .build();
    let expiry = expiry.map_err(|error| unbuildable(table, &error))?;

    let request = client
        .update_time_to_live()
        .table_name(table)
        .time_to_live_specification(expiry);

    request
        .send()
        .await
        .map_err(|error| refused(table, &error))?;

    Ok(())
}

fn schema(key: Key) -> Result<Vec<KeySchemaElement>, BuildError> {
    let element = |(name, _): (&str, KeyKind), kind| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
    };
    let partition = element(key.partition, KeyType::Hash)?;

    let sort = key
        .sort
        .map(|sort| element(sort, KeyType::Range))
        .transpose()?;
    Ok([Some(partition), sort].into_iter().flatten().collect())
}

fn index(index: &Index) -> Result<GlobalSecondaryIndex, BuildError> {
    let projected = match index.projected {
        Projected::All => ProjectionType::All,
        Projected::Keys => ProjectionType::KeysOnly,
    };

    GlobalSecondaryIndex::builder()
        .index_name(index.name)
        .set_key_schema(Some(schema(index.key)?))
        .projection(Projection::builder().projection_type(projected).build())
        .build()
}

/// Returns every attribute that any key names, once.
fn attributes(keys: &[Key]) -> Result<Vec<AttributeDefinition>, BuildError> {
    let mut named: Vec<(&str, KeyKind)> = keys
        .iter()
        .flat_map(|key| [Some(key.partition), key.sort])
        .flatten()
        .collect();
    named.sort_unstable_by_key(|(name, _)| *name);
    named.dedup_by_key(|(name, _)| *name);

    let definition = |(name, kind)| {
        let kind = match kind {
            KeyKind::Text => ScalarAttributeType::S,
            KeyKind::Number => ScalarAttributeType::N,
        };
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(kind)
            .build()
    };

    named.into_iter().map(definition).collect()
}

fn refused<E, R>(table: &'static str, error: &SdkError<E, R>) -> TableError
where
    E: std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    TableError::Refused {
        table,
        reason: in_one_line(error),
    }
}

fn unbuildable(table: &'static str, error: &BuildError) -> TableError {
    TableError::Refused {
        table,
        reason: error.to_string(),
    }
}
