//! S3's notifications of created objects.
//!
//! Only the necessary fields of a notification are read.
//! See <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::objects::{Object, UPLOADS};

/// The characters that are percent-encoded in a key.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*');

/// A notification. The one that S3 sends to test a new configuration has no records.
#[derive(Clone, Debug, Deserialize)]
pub struct Notification {
    #[serde(rename = "Records", default)]
    records: Vec<Record>,
}

#[derive(Clone, Debug, Deserialize)]
struct Record {
    #[serde(rename = "eventName")]
    event_name: String,
    s3: S3,
}

#[derive(Clone, Debug, Deserialize)]
struct S3 {
    object: S3Object,
}

#[derive(Clone, Debug, Deserialize)]
struct S3Object {
    key: String,
    #[serde(rename = "versionId")]
    version_id: Option<String>,
    #[serde(rename = "eTag")]
    e_tag: Option<String>,
}

/// A version of an object that was created below `uploads/`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upload {
    /// The key of the object.
    pub key: String,
    /// Its version id, where the bucket has versioning.
    pub version_id: Option<String>,
    /// Its version id or entity tag. It identifies the announced version even after another one has
    /// replaced it.
    pub version: Option<String>,
}

impl Notification {
    /// Returns the objects that were created below `uploads/`.
    pub fn uploads(self) -> impl Iterator<Item = Upload> {
        let created = self
            .records
            .into_iter()
            .filter(|record| record.event_name.starts_with("ObjectCreated:"));
        created
            .map(|record| Upload::from(record.s3.object))
            .filter(|upload| upload.key.starts_with(UPLOADS))
    }
}

/// Returns the notification that S3 would send for this version of an object in a folder.
pub fn created(object: &Object) -> Value {
    json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "local",
        "eventTime": object.uploaded_at,
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": "local", "arn": "arn:aws:s3:::local"},
            "object": {"key": written(&object.key), "size": object.size_bytes, "eTag": object.version},
        },
    }]})
}

/// Encodes a key as S3 does: form encoding, except for slashes.
fn written(key: &str) -> String {
    utf8_percent_encode(key, ENCODED)
        .to_string()
        .replace("%20", "+")
}

impl From<S3Object> for Upload {
    /// Decodes the key, which is form-encoded: `+` for a space, the rest percent-encoded.
    fn from(object: S3Object) -> Self {
        let spaced = object.key.replace('+', " ");
        let key = percent_decode_str(&spaced).decode_utf8_lossy().into_owned();
        let version = object.version_id.clone().or(object.e_tag);

        Self {
            key,
            version_id: object.version_id,
            version,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn uploads(notification: Value) -> Vec<Upload> {
        serde_json::from_value::<Notification>(notification)
            .unwrap()
            .uploads()
            .collect()
    }

    fn record(name: &str, object: &Value) -> Value {
        json!({"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": name,
               "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": "uploads"}, "object": object}})
    }

    #[test]
    fn keys_are_decoded_and_versions_named() {
        let object = json!({"key": "uploads/my+file%2B%C3%BC.csv", "size": 1024, "eTag": "d41d", "versionId": "v1"});
        let upload = Upload {
            key: "uploads/my file+ü.csv".to_owned(),
            version_id: Some("v1".to_owned()),
            version: Some("v1".to_owned()),
        };

        assert_eq!(
            uploads(json!({"Records": [record("ObjectCreated:Put", &object)]})),
            [upload]
        );
    }

    #[test]
    fn keys_are_written_as_they_are_read() {
        for key in [
            "uploads/my file+ü.csv",
            "uploads/%20/100%.csv",
            "uploads/a*b-c_d.e~f",
        ] {
            let written = json!({"key": written(key)});
            assert_eq!(
                uploads(json!({"Records": [record("ObjectCreated:Put", &written)]}))[0].key,
                key
            );
        }

        assert_eq!(
            written("uploads/my file+ü.csv"),
            "uploads/my+file%2B%C3%BC.csv"
        );
    }

    #[test]
    fn what_is_not_an_upload_is_left_alone() {
        let upload = json!({"key": "uploads/a"});
        let thumbnail = json!({"key": "thumbnails/a"});
        let records = [
            record("ObjectRemoved:Delete", &upload),
            record("ObjectCreated:Put", &thumbnail),
        ];
        assert_eq!(uploads(json!({"Records": records})), []);

        assert_eq!(
            uploads(json!({"Service": "Amazon S3", "Event": "s3:TestEvent"})),
            []
        );
    }
}
