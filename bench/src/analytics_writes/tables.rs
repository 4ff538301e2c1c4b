//! Requests to DynamoDB Local that report the capacity they consumed.

use reqwest::blocking::Client;
use serde_json::{Value, json};

use super::failure::{AnalyticsWritesError, Result};

/// The signature of requests. Tables belong to its access key, which is the services'. DynamoDB
/// Local does not verify it.
const SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=local/20260101/local/dynamodb/aws4_request, SignedHeaders=host, Signature=00";

/// A client of DynamoDB Local.
pub(super) struct Tables {
    client: Client,
    url: String,
}

/// The write units of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Units {
    pub(super) table: f64,
    pub(super) indexes: f64,
}

impl Tables {
    pub(super) fn at(url: &str) -> Result<Self> {
        Ok(Self {
            client: Client::builder().no_proxy().build()?,
            url: url.to_owned(),
        })
    }

    /// Calls an operation.
    pub(super) fn call(&self, operation: &str, body: &Value) -> Result<Value> {
        let request = self
            .client
            .post(&self.url)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("authorization", SIGNATURE)
            .body(body.to_string());

        let answer = request.send()?;
        let status = answer.status();
        let text = answer.text()?;
        if !status.is_success() {
            let text = format!("{operation}: {status}: {text}");
            return Err(AnalyticsWritesError::Unexpected(text));
        }
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Calls an operation that writes, and returns its write units.
    pub(super) fn write(&self, operation: &str, mut body: Value) -> Result<Units> {
        body["ReturnConsumedCapacity"] = json!("INDEXES");
        let answer = self.call(operation, &body)?;
        let consumed = &answer["ConsumedCapacity"];
        let missing = || AnalyticsWritesError::Unexpected(format!("no capacity in {answer}"));
        let table = consumed["Table"]["CapacityUnits"].as_f64();

        let indexes = consumed["GlobalSecondaryIndexes"].as_object();
        let indexes = indexes.into_iter().flatten();
        Ok(Units {
            table: table.ok_or_else(missing)?,
            indexes: indexes
                .filter_map(|(_, index)| index["CapacityUnits"].as_f64())
                .sum(),
        })
    }
}
