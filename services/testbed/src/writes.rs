//! A record of the items that a client puts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::put_item::PutItemInput;

/// The items that a client has put into a table, by an attribute. An item that is put again because
/// the answer was lost counts once. Clones share the record.
#[derive(Clone, Debug)]
pub struct Writes {
    table: &'static str,
    attribute: &'static str,
    put: Arc<Mutex<BTreeSet<String>>>,
}

impl Writes {
    /// Returns a client like `client`, and the record of the items that it puts into `table`, by
    /// `attribute`.
    pub fn of(client: &Client, table: &'static str, attribute: &'static str) -> (Client, Self) {
        let writes = Self {
            table,
            attribute,
            put: Arc::default(),
        };
        let config = client.config().to_builder().interceptor(writes.clone());
        (Client::from_conf(config.build()), writes)
    }

    /// Returns the values of the attribute.
    pub fn put(&self) -> BTreeSet<String> {
        self.put
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Intercept for Writes {
    fn name(&self) -> &'static str {
        "Writes"
    }

    fn read_before_execution(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let put = context.input().downcast_ref::<PutItemInput>();
        let put = put.filter(|put| put.table_name() == Some(self.table));
        let value = put.and_then(|put| put.item()?.get(self.attribute));

        if let Some(value) = value {
            let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
            put.insert(format!("{value:?}"));
        }
        Ok(())
    }
}
