//! Tables of DynamoDB: exported to files and restored, by its JSON protocol.
//!
//! In the cloud a table has point-in-time recovery; this module replaces it on a laptop.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::blocking::Client;
use serde_json::{Map, Value, json};

use super::{DrillError, Result};

/// DynamoDB Local needs a signature but does not verify it. Tables belong to the access key, so
/// this is the platform's key.
const SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=local/20260101/local/dynamodb/aws4_request, SignedHeaders=host, Signature=00";
/// The maximum number of writes in a batch.
const BATCH: usize = 25;
const ACTIVE_LIMIT: Duration = Duration::from_secs(30);

/// A server of tables.
pub(super) struct Tables<'a> {
    address: &'a str,
    client: Client,
}

impl<'a> Tables<'a> {
    pub(super) fn at(address: &'a str) -> Result<Self> {
        Ok(Self {
            address,
            client: Client::builder().no_proxy().build()?,
        })
    }

    /// Writes every wanted table into a file of the folder; returns the number of items.
    pub(super) fn export(&self, folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<usize> {
        fs::create_dir_all(folder)?;
        let names = self.ask("ListTables", &json!({}))?;
        let names = names["TableNames"].as_array().cloned().unwrap_or_default();
        let mut exported = 0;

        for name in names
            .iter()
            .filter_map(Value::as_str)
            .filter(|name| is_wanted(name))
        {
            let described = self.ask("DescribeTable", &json!({ "TableName": name }))?;
            let expiry = self.ask("DescribeTimeToLive", &json!({ "TableName": name }))?;
            let items = self.scan(name)?;
            exported += items.len();
            let table = json!({ "create": creation(&described["Table"]), "expiry": expiry, "items": items });
            fs::write(folder.join(format!("{name}.json")), table.to_string())?;
        }

        Ok(exported)
    }

    /// Creates the tables of the folder's files and fills them; returns the number of items.
    pub(super) fn import(&self, folder: &Path) -> Result<usize> {
        let mut imported = 0;
        for file in fs::read_dir(folder)? {
            let table: Value = serde_json::from_slice(&fs::read(file?.path())?)?;
            let name = &table["create"]["TableName"];
            self.ask("CreateTable", &table["create"])?;
            self.wait_until_active(name)?;

            if let Some(attribute) =
                table["expiry"]["TimeToLiveDescription"]["AttributeName"].as_str()
            {
                let expiry = json!({ "AttributeName": attribute, "Enabled": true });
                self.ask(
                    "UpdateTimeToLive",
                    &json!({ "TableName": name, "TimeToLiveSpecification": expiry }),
                )?;
            }

            let items = table["items"].as_array().map_or(&[][..], Vec::as_slice);
            items
                .chunks(BATCH)
                .try_for_each(|items| self.put(name, items))?;
            imported += items.len();
        }

        Ok(imported)
    }

    fn scan(&self, name: &str) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut from = Value::Null;
        loop {
            let mut request = json!({ "TableName": name, "ConsistentRead": true });
            if !from.is_null() {
                request["ExclusiveStartKey"] = from;
            }

            let mut page = self.ask("Scan", &request)?;
            items.extend(page["Items"].as_array().cloned().unwrap_or_default());
            from = page["LastEvaluatedKey"].take();

            if from.is_null() {
                return Ok(items);
            }
        }
    }

    fn put(&self, name: &Value, items: &[Value]) -> Result<()> {
        let name = name.as_str().unwrap_or_default();
        let puts: Vec<_> = items
            .iter()
            .map(|item| json!({ "PutRequest": { "Item": item } }))
            .collect();
        let mut left = json!({ name: puts });

        while left.as_object().is_some_and(|left| !left.is_empty()) {
            left =
                self.ask("BatchWriteItem", &json!({ "RequestItems": left }))?["UnprocessedItems"]
                    .take();
        }

        Ok(())
    }

    fn wait_until_active(&self, name: &Value) -> Result<()> {
        let started = Instant::now();
        while self.ask("DescribeTable", &json!({ "TableName": name }))?["Table"]["TableStatus"]
            != "ACTIVE"
        {
            if started.elapsed() > ACTIVE_LIMIT {
                return Err(DrillError::Table(
                    name.to_string(),
                    "does not become active".to_owned(),
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }

        Ok(())
    }

    fn ask(&self, operation: &str, request: &Value) -> Result<Value> {
        let asked = self
            .client
            .post(self.address)
            .header("content-type", "application/x-amz-json-1.0");
        let asked = asked.header("x-amz-target", format!("DynamoDB_20120810.{operation}"));

        let answer = asked
            .header("authorization", SIGNATURE)
            .body(request.to_string())
            .send()?;
        let status = answer.status();
        let said = answer.text()?;

        if !status.is_success() {
            return Err(DrillError::Table(
                request["TableName"].to_string(),
                format!("{operation}: {status} {said}"),
            ));
        }

        Ok(serde_json::from_str(&said)?)
    }
}

/// Returns the request that creates a table like the described one.
fn creation(described: &Value) -> Value {
    let kept = ["TableName", "KeySchema", "AttributeDefinitions"];
    let mut request: Map<String, Value> = kept
        .iter()
        .map(|name| ((*name).to_owned(), described[*name].clone()))
        .collect();
    request.insert("BillingMode".to_owned(), json!("PAY_PER_REQUEST"));

    if let Some(indexes) = described["GlobalSecondaryIndexes"].as_array() {
        let kept = ["IndexName", "KeySchema", "Projection"];
        let index = |described: &Value| -> Value {
            kept.iter()
                .map(|name| ((*name).to_owned(), described[*name].clone()))
                .collect::<Map<_, _>>()
                .into()
        };

        request.insert(
            "GlobalSecondaryIndexes".to_owned(),
            indexes.iter().map(index).collect(),
        );
    }

    request.into()
}
