//! The metadata of a file: one version of one object.

use events::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::finding::{Finding, Refusal};

/// What is known of a file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct File {
    /// Follows from key and version.
    pub id: Uuid,
    /// Its object in the store.
    pub key: String,
    /// What its people call it: the end of the key.
    pub name: String,
    /// The version of the object: the store's id of it, or its entity tag where the store keeps one version only.
    pub version: String,
    /// Its size.
    pub size_bytes: u64,
    /// How far it is.
    pub status: Status,
    /// What it turned out to be.
    pub kind: Option<String>,
    /// What there is to say of it; each kind has fields of its own.
    pub summary: Option<Value>,
    /// Why it was refused, or why it still waits.
    pub error: Option<Trouble>,
    /// When it was put there.
    pub uploaded_at: Timestamp,
    /// When it was processed or refused.
    pub processed_at: Option<Timestamp>,
    /// How long that took.
    pub took_ms: Option<u64>,
}

/// How far a file is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is to be processed; with an error, it was tried.
    Waiting,
    /// It was, and what was found is in its summary.
    Processed,
    /// It will not do, and its error says why.
    Refused,
}

/// An error as people and programs read it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Trouble {
    /// For programs: why it was refused, or `unavailable`.
    pub reason: String,
    /// For people.
    pub detail: String,
}

/// What happened to a file, and when.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub took_ms: u64,
}

impl File {
    /// A file that waits.
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

    /// The key of its thumbnail, where one was made.
    pub fn thumbnail(&self) -> Option<&str> {
        self.summary.as_ref()?.pointer("/thumbnail/key")?.as_str()
    }

    /// The key of the CSV of its bad rows, where it has any.
    pub fn bad_rows(&self) -> Option<&str> {
        self.summary
            .as_ref()?
            .pointer("/bad_rows_csv/key")?
            .as_str()
    }

    /// Whether nothing will change any more.
    pub fn is_finished(&self) -> bool {
        self.status != Status::Waiting
    }

    /// The file with what was found in it.
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

    /// The file with why it was refused.
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

    /// The file with why it still waits.
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

/// The id of this version of this object: the same whoever asks, and however often.
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
