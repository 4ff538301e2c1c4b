//! The metadata of a file: one version of one object.

use events::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::finding::{Finding, Refusal};

/// The metadata of a file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct File {
    /// The id, derived from key and version.
    pub id: Uuid,
    /// The key of the object in the store.
    pub key: String,
    /// The name for people: the end of the key.
    pub name: String,
    /// The version of the object: the store's version id, or the entity tag where the store keeps
    /// one version only.
    pub version: String,
    /// Its size.
    pub size_bytes: u64,
    /// The processing state.
    pub status: Status,
    /// The kind of the file, if it is known.
    pub kind: Option<String>,
    /// The findings. Each kind has its own fields.
    pub summary: Option<Value>,
    /// The reason why it was refused, or why it still waits.
    pub error: Option<Trouble>,
    /// The time of the upload.
    pub uploaded_at: Timestamp,
    /// The time at which it was processed or refused.
    pub processed_at: Option<Timestamp>,
    /// The duration of the processing.
    pub took_ms: Option<u64>,
}

/// The processing state of a file.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits to be processed. If it has an error, an attempt has failed.
    Waiting,
    /// It was processed, and its summary contains the findings.
    Processed,
    /// It was refused, and its error contains the reason.
    Refused,
}

/// An error, for people and for programs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Trouble {
    /// For programs: the reason for the refusal, or `unavailable`.
    pub reason: String,
    /// For people.
    pub detail: String,
}

/// The time and the duration of the processing.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// The end of the processing.
    pub at: Timestamp,
    /// The duration.
    pub took_ms: u64,
}

impl File {
    /// Creates a file that waits for processing.
    pub fn waiting(key: &str, version: &str, size_bytes: u64, uploaded_at: Timestamp) -> Self {
        Self {
            id: id(key, version),
            key: key.to_owned(),
            name: key.rsplit('/').next().unwrap_or(key).to_owned(),
            version: version.to_owned(),
            size_bytes,
            status: Status::Waiting,
            kind: None,
            summary: None,
            error: None,
            uploaded_at,
            processed_at: None,
            took_ms: None,
        }
    }

    /// Returns the key of its thumbnail, if it has one.
    pub fn thumbnail(&self) -> Option<&str> {
        self.summary.as_ref()?.pointer("/thumbnail/key")?.as_str()
    }

    /// Returns the key of the CSV of its bad rows, if it has any.
    pub fn bad_rows(&self) -> Option<&str> {
        self.summary
            .as_ref()?
            .pointer("/bad_rows_csv/key")?
            .as_str()
    }

    /// Returns `true` if the file will not change any more.
    pub fn is_finished(&self) -> bool {
        self.status != Status::Waiting
    }

    /// Returns the file with its findings.
    #[must_use]
    pub fn processed(self, finding: Finding, done: Done) -> Self {
        let kind = Some(finding.kind.to_owned());
        let summary = Some(finding.summary);
        Self {
            status: Status::Processed,
            kind,
            summary,
            error: None,
            ..self.done(done)
        }
    }

    /// Returns the file with the reason for its refusal.
    #[must_use]
    pub fn refused(self, refusal: &Refusal, done: Done) -> Self {
        let reason = match serde_json::to_value(refusal.reason) {
            Ok(Value::String(reason)) => reason,
            _ => unreachable!("a reason is written as a text"),
        };

        let error = Some(Trouble {
            reason,
            detail: refusal.detail.clone(),
        });

        Self {
            status: Status::Refused,
            error,
            ..self.done(done)
        }
    }

    /// Returns the file with the reason why it still waits.
    #[must_use]
    pub fn put_off(self, detail: &str) -> Self {
        Self {
            error: Some(Trouble {
                reason: "unavailable".to_owned(),
                detail: detail.to_owned(),
            }),
            ..self
        }
    }

    fn done(self, done: Done) -> Self {
        Self {
            processed_at: Some(done.at),
            took_ms: Some(done.took_ms),
            ..self
        }
    }
}

/// Returns the id of this version of this object; it is a function of the arguments alone.
pub fn id(key: &str, version: &str) -> Uuid {
    let digest = Sha256::new()
        .chain_update(key)
        .chain_update([0])
        .chain_update(version)
        .finalize();
    Builder::from_custom_bytes(*digest.first_chunk().expect("a digest has 32 bytes")).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_another_file() {
        assert_eq!(id("uploads/a.csv", "1"), id("uploads/a.csv", "1"));
        assert_ne!(id("uploads/a.csv", "1"), id("uploads/a.csv", "2"));
        assert_eq!(id("uploads/a.csv", "1").get_version_num(), 8);
    }
}
