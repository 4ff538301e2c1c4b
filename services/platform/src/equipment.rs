//! What each service is handed: how it learns who calls, and of all stores those that it works with, and no others. The
//! gateway owns no data and is handed none.

use chassis::auth::{Auth, AuthSettings, Secret};
use clap::ValueEnum;

use crate::RunError;
use crate::parts::Parts;
use crate::stores::Stores;
use crate::stream_job;

impl Stores {
    /// The gateway needs no store.
    ///
    /// # Errors
    /// None.
    pub async fn for_gateway(
        &mut self,
        _: &mut Parts,
        auth: Auth,
    ) -> Result<gateway::Parts, RunError> {
        Ok(gateway::Parts { auth })
    }

    /// Users are kept in SQL.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_users(&mut self, _: &mut Parts, auth: Auth) -> Result<users::Parts, RunError> {
        Ok(users::Parts {
            database: self.database()?,
            auth,
        })
    }

    /// Products are kept in DynamoDB.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_products(
        &mut self,
        parts: &mut Parts,
        auth: Auth,
    ) -> Result<products::Parts, RunError> {
        Ok(products::Parts {
            dynamodb: self.dynamodb(parts).await?,
            auth,
        })
    }

    /// Orders are kept in SQL beside the users, and published to the log.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_orders(
        &mut self,
        _: &mut Parts,
        auth: Auth,
    ) -> Result<orders::Parts, RunError> {
        Ok(orders::Parts {
            database: self.database()?,
            log: self.log()?,
            auth,
        })
    }

    /// Orders come from the log; what is said of them is kept in DynamoDB.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_notifications(
        &mut self,
        parts: &mut Parts,
        auth: Auth,
    ) -> Result<notifications::Parts, RunError> {
        Ok(notifications::Parts {
            dynamodb: self.dynamodb(parts).await?,
            log: self.log()?,
            auth,
        })
    }

    /// Counts come from the log and are kept in DynamoDB.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_analytics(
        &mut self,
        parts: &mut Parts,
        auth: Auth,
    ) -> Result<analytics::Parts, RunError> {
        Ok(analytics::Parts {
            dynamodb: self.dynamodb(parts).await?,
            log: self.log()?,
            auth,
        })
    }

    /// Files are objects; what was found in them is kept in DynamoDB. What finds it is this program once more, as the
    /// function.
    ///
    /// # Errors
    /// [`RunError::Store`], [`RunError::Files`], [`RunError::Itself`].
    pub async fn for_files(
        &mut self,
        parts: &mut Parts,
        auth: Auth,
        access: &AuthSettings,
    ) -> Result<file_processor::Parts, RunError> {
        let objects = self.objects_url()?;
        let mut environment = vec![
            ("TIDEMARK_DYNAMODB", self.dynamodb_address(parts)?),
            ("TIDEMARK_OBJECTS", objects.clone()),
        ];

        environment.extend(
            access
                .auth
                .to_possible_value()
                .map(|mode| ("TIDEMARK_AUTH", mode.get_name().to_owned())),
        );

        let secret = access.service_secret.as_ref().map(Secret::expose);
        environment.extend(secret.map(|secret| ("TIDEMARK_SERVICE_SECRET", secret.to_owned())));
        let function = file_processor::Program {
            path: std::env::current_exe().map_err(RunError::Itself)?,
            arguments: vec!["function".to_owned()],
            environment,
        };

        let objects = file_processor::Objects::open(&objects)?;
        Ok(file_processor::Parts {
            dynamodb: self.dynamodb(parts).await?,
            objects,
            auth,
            function: Some(function),
        })
    }

    /// The stream job reads and writes the log. It opens its checkpoints itself.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_stream_job(
        &mut self,
        _: &mut Parts,
        _: Auth,
    ) -> Result<stream_job::Parts, RunError> {
        Ok(stream_job::Parts { log: self.log()? })
    }
}
