//! The stores of one process: those that the settings name, and embedded ones for the rest.
//!
//! A store is opened when a part first needs it. The data folder is created and locked with the
//! first embedded store, so a process whose stores are all named writes nothing to the disk.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use chassis::in_one_line;
use chassis::sql::{self, Database};
use record_log::{LogError, LogSettings, RecordLog};
use url::Url;

use crate::config::StoreSettings;
use crate::data_folder::{DataFolder, DataFolderError};
use crate::dynamodb_endpoint::{DynamoDbEndpoint, EndpointError};
use crate::running::{Running, Stage};

/// The value of `--dynamodb` that stands for AWS.
const AWS: &str = "aws";
/// Longest wait for the connections of the database when all parts have stopped.
const CLOSE_LIMIT: Duration = Duration::from_millis(300);

/// The stores of one process.
pub struct Stores {
    settings: StoreSettings,
    folder: Option<DataFolder>,
    database: Option<Database>,
    dynamodb: Option<Client>,
    embedded_dynamodb: Option<String>,
    log: Option<Arc<dyn RecordLog>>,
}

impl Stores {
    /// Creates the set of stores from the settings. No store is opened yet.
    pub fn new(settings: StoreSettings) -> Self {
        Self {
            settings,
            folder: None,
            database: None,
            dynamodb: None,
            embedded_dynamodb: None,
            log: None,
        }
    }

    /// Returns the SQL database.
    ///
    /// # Errors
    /// [`StoreError`] when its URL is invalid or the data folder is unavailable.
    pub fn database(&mut self) -> Result<Database, StoreError> {
        if let Some(open) = &self.database {
            return Ok(open.clone());
        }

        let url = match self.settings.mysql.clone() {
            Some(url) => url,
            None => file_url("sqlite", &self.folder()?.path().join("sql.sqlite")),
        };
        let database =
            sql::connect_with(&url, self.settings.mysql_connections).map_err(StoreError::Sql)?;
        Ok(self.database.insert(database).clone())
    }

    /// Returns a client of DynamoDB. An embedded endpoint is started as one of the parts.
    ///
    /// # Errors
    /// [`StoreError`] when the embedded endpoint cannot be opened.
    pub async fn dynamodb(&mut self, running: &mut Running) -> Result<Client, StoreError> {
        if let Some(open) = &self.dynamodb {
            return Ok(open.clone());
        }

        let address = self.dynamodb_address(running)?;
        let client =
            chassis::dynamodb::client(Some(address.as_str()).filter(|address| *address != AWS))
                .await;
        Ok(self.dynamodb.insert(client).clone())
    }

    /// Returns the address of DynamoDB in the form of `TIDEMARK_DYNAMODB`. Starts an embedded
    /// endpoint if the settings name none.
    ///
    /// # Errors
    /// [`StoreError`] when the data folder is unavailable or the embedded endpoint cannot be
    /// opened.
    pub fn dynamodb_address(&mut self, running: &mut Running) -> Result<String, StoreError> {
        if let Some(named) = self
            .settings
            .dynamodb
            .as_ref()
            .or(self.embedded_dynamodb.as_ref())
        {
            return Ok(named.clone());
        }

        let endpoint = DynamoDbEndpoint::open(&self.folder()?.path().join("dynamodb.sqlite"))?;
        let url = endpoint.url();
        running.start_blocking(Stage::Stores, "embedded DynamoDB", |shutdown| {
            endpoint.serve(shutdown)
        });

        Ok(self.embedded_dynamodb.insert(url).clone())
    }

    /// Returns the record log.
    ///
    /// # Errors
    /// [`StoreError`] when its settings are invalid or the data folder is unavailable.
    pub fn log(&mut self) -> Result<Arc<dyn RecordLog>, StoreError> {
        if let Some(open) = &self.log {
            return Ok(Arc::clone(open));
        }

        let settings = match self.settings.brokers.clone() {
            Some(brokers) => {
                let properties = self.settings.properties.clone();
                self.settings.client.settings(brokers, properties)
            }
            None => LogSettings::Embedded {
                folder: self.folder()?.path().join("log"),
            },
        };
        let log = record_log::open(&settings).map_err(StoreError::Log)?;

        Ok(Arc::clone(self.log.insert(log)))
    }

    /// Returns the URL of the object store.
    ///
    /// # Errors
    /// [`StoreError`] when the data folder is unavailable.
    pub fn objects_url(&mut self) -> Result<String, StoreError> {
        match self.settings.objects.clone() {
            Some(url) => Ok(url),
            None => Ok(file_url("file", &self.folder()?.path().join("objects"))),
        }
    }

    /// Returns `true` if the SQL database is embedded: then only this process uses it.
    pub fn has_database_alone(&self) -> bool {
        self.settings.mysql.is_none()
    }

    /// Returns the data folder, if a store uses it.
    pub fn data_folder(&self) -> Option<&DataFolder> {
        self.folder.as_ref()
    }

    /// Checks that the servers named in the settings answer, as far as their stores have been
    /// opened. The person who starts the platform thus learns at once which server is unavailable.
    ///
    /// # Errors
    /// [`StoreError::Away`] for the first server that does not answer.
    pub async fn check(&self) -> Result<(), StoreError> {
        if let (Some(_), Some(database)) = (&self.settings.mysql, &self.database) {
            database
                .ping()
                .await
                .map_err(|error| StoreError::away("MySQL", "--mysql", &error))?;
        }

        if let (Some(_), Some(client)) = (&self.settings.dynamodb, &self.dynamodb) {
            let answered = client.list_tables().limit(1).send().await;
            answered.map_err(|error| StoreError::away("DynamoDB", "--dynamodb", &error))?;
        }

        if let (Some(_), Some(log)) = (&self.settings.brokers, &self.log) {
            check_brokers(Arc::clone(log)).await?;
        }

        Ok(())
    }

    /// Closes the stores after all parts have stopped. A part that was abandoned may still hold a
    /// connection, so the wait for connections is limited.
    pub async fn close(self) {
        let Some(database) = self.database else {
            return;
        };
        let closed = tokio::time::timeout(CLOSE_LIMIT, database.pool().close()).await;
        if closed.is_err() {
            tracing::warn!("connections to the database are left open");
        }
    }

    fn folder(&mut self) -> Result<&DataFolder, DataFolderError> {
        let folder = match self.folder.take() {
            Some(open) => open,
            None if self.settings.ephemeral => DataFolder::ephemeral()?,
            None => DataFolder::open(&self.settings.data)?,
        };
        Ok(self.folder.insert(folder))
    }
}

/// Checks that Kafka answers a request for a topic. An answer that the topic does not exist yet is
/// enough.
async fn check_brokers(log: Arc<dyn RecordLog>) -> Result<(), StoreError> {
    let asked = tokio::task::spawn_blocking(move || log.partitions(events::ORDERS)).await;
    match asked.expect("a request for partitions does not panic") {
        Err(LogError::Unavailable(cause)) => {
            Err(StoreError::away("Kafka", "--brokers", cause.as_ref()))
        }
        Err(other @ (LogError::Settings(_) | LogError::Refused(_))) => Err(StoreError::Log(other)),
        _ => Ok(()),
    }
}

/// Returns `path` as a URL. The path is absolute, because [`DataFolder`] canonicalizes it.
fn file_url(scheme: &str, path: &Path) -> String {
    let url = Url::from_file_path(path).expect("the path of the data folder is absolute");
    format!("{scheme}{}", url.as_str().trim_start_matches("file"))
}

/// The reason why a store is unavailable.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder of the embedded stores is unusable.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// The SQL database cannot be used.
    #[error("the SQL database cannot be used (--mysql): {0}")]
    Sql(#[source] sqlx::Error),
    /// The embedded tables cannot be served.
    #[error(transparent)]
    Tables(#[from] EndpointError),
    /// The record log cannot be used.
    #[error("the record log cannot be used (--brokers, --property): {0}")]
    Log(#[source] LogError),
    /// A server does not answer.
    #[error("{server} does not answer; is {flag} right? {reason}")]
    Away {
        /// The name of the server.
        server: &'static str,
        /// The setting that names it.
        flag: &'static str,
        /// The error that occurred.
        reason: String,
    },
}

impl StoreError {
    fn away(server: &'static str, flag: &'static str, error: &(dyn Error + 'static)) -> Self {
        Self::Away {
            server,
            flag,
            reason: in_one_line(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_spaces_and_question_marks_is_a_url() {
        assert_eq!(
            file_url("sqlite", Path::new("/a b/c?d")),
            "sqlite:///a%20b/c%3Fd"
        );
    }
}
