//! What each service is handed: of all stores those that it works with, and no others. The gateway owns no
//! data and is handed none.

use crate::RunError;
use crate::parts::Parts;
use crate::stores::Stores;
use crate::stream_job;

impl Stores {
    /// Users are kept in SQL.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_users(&mut self, _: &mut Parts) -> Result<users::Parts, RunError> {
        Ok(users::Parts { database: self.database()? })
    }

    /// Products are kept in DynamoDB.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_products(&mut self, parts: &mut Parts) -> Result<products::Parts, RunError> {
        Ok(products::Parts { dynamodb: self.dynamodb(parts).await? })
    }

    /// Orders are kept in SQL beside the users, and published to the log.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_orders(&mut self, _: &mut Parts) -> Result<orders::Parts, RunError> {
        Ok(orders::Parts { database: self.database()?, log: self.log()? })
    }

    /// Orders come from the log; what is said of them is kept in DynamoDB.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_notifications(&mut self, parts: &mut Parts) -> Result<notifications::Parts, RunError> {
        Ok(notifications::Parts { dynamodb: self.dynamodb(parts).await?, log: self.log()? })
    }

    /// Counts come from the log and are kept in DynamoDB.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_analytics(&mut self, parts: &mut Parts) -> Result<analytics::Parts, RunError> {
        Ok(analytics::Parts { dynamodb: self.dynamodb(parts).await?, log: self.log()? })
    }

    /// The stream job reads and writes the log. It opens its checkpoints itself.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_stream_job(&mut self, _: &mut Parts) -> Result<stream_job::Parts, RunError> {
        Ok(stream_job::Parts { log: self.log()? })
    }
}
