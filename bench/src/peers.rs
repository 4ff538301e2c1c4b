//! The programs that figures depend on, and their versions.
//!
//! Versions of fetched programs are read from the files that pin them. Versions of installed programs are printed by
//! these. A program that is not installed has no version, because it did not take part.

use std::process::{Command, Stdio};

use crate::counterparts;

const KAFKA: &str = include_str!("../counterparts/kafka/pom.xml");
const DYNAMODB: &str = include_str!("../counterparts/dynamodb/pom.xml");
const FLINK: &str = include_str!("../peers/flink/pom.xml");
const FLASK: &str = include_str!("../peers/flask/requirements.txt");

/// A program beside ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    /// Apache Kafka, and Java, which runs it.
    Kafka,
    /// Apache Flink.
    Flink,
    /// DynamoDB Local.
    DynamoDb,
    /// MariaDB.
    MariaDb,
    /// nginx and wrk.
    Nginx,
    /// Flask and gunicorn.
    Flask,
    /// Valgrind.
    Valgrind,
}

impl Peer {
    /// Returns the names and versions of the programs.
    pub fn versions(self) -> Vec<(String, String)> {
        let found = match self {
            Self::Kafka => vec![
                (
                    "Apache Kafka",
                    pinned(KAFKA, "<artifactId>kafka_2.13</artifactId>"),
                ),
                ("Java", printed("java", "-version")),
            ],
            Self::Flink => vec![
                ("Apache Flink", between(FLINK, "<flink.version>", "<")),
                ("Java", printed("java", "-version")),
            ],
            Self::DynamoDb => vec![
                (
                    "DynamoDB Local",
                    pinned(DYNAMODB, "<artifactId>DynamoDBLocal</artifactId>"),
                ),
                ("Java", printed("java", "-version")),
            ],
            Self::MariaDb => vec![("MariaDB", printed("mariadbd", "--version"))],
            Self::Nginx => vec![
                ("nginx", printed("nginx", "-v")),
                ("wrk", printed("wrk", "-v")),
            ],
            Self::Flask => vec![
                ("Flask", between(FLASK, "flask==", "\n")),
                ("gunicorn", between(FLASK, "gunicorn==", "\n")),
            ],
            Self::Valgrind => vec![("valgrind", printed("valgrind", "--version"))],
        };

        let known = found
            .into_iter()
            .filter_map(|(name, version)| Some((name, version?)));
        known
            .map(|(name, version)| (name.to_owned(), version))
            .collect()
    }
}

/// Returns the compiler's version, as it prints it.
pub fn compiler() -> Option<String> {
    printed("rustc", "--version")
}

/// Returns the version of an artifact in a pom.
fn pinned(pom: &str, artifact: &str) -> Option<String> {
    let (_, after) = pom.split_once(artifact)?;
    between(after, "<version>", "<")
}

fn between(text: &str, from: &str, to: &str) -> Option<String> {
    let (_, after) = text.split_once(from)?;
    let version = after.split(to).next()?.trim();
    (!version.is_empty()).then(|| version.to_owned())
}

/// Returns the first line that a program prints about its version, on either output.
fn printed(program: &str, flag: &str) -> Option<String> {
    let path =
        counterparts::find(program).or_else(|| (program == "rustc").then(|| program.into()))?;
    // rustup chooses the compiler by the folder.
    let output = Command::new(path)
        .arg(flag)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .ok()?;

    let texts =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let line = texts
        .iter()
        .flat_map(|text| text.lines())
        .find(|line| !line.trim().is_empty());
    line.map(|line| line.trim().to_owned())
}
