//! The authentication and the stores of each service. A service receives only the stores that it
//! uses. The gateway owns no data and receives none.

use chassis::auth::{Auth, AuthSettings, Secret};
use clap::ValueEnum;

use crate::RunError;
use crate::running::Running;
use crate::stores::Stores;
use crate::stream_job;

impl Stores {
    /// Returns the parts of the gateway, which needs no store.
    ///
    /// # Errors
    /// Never fails.
    pub async fn for_gateway(
        &mut self,
        _: &mut Running,
        auth: Auth,
    ) -> Result<gateway::Parts, RunError> {
        Ok(gateway::Parts { auth })
    }

    /// Returns the parts of the users service, which stores users in SQL.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_users(
        &mut self,
        _: &mut Running,
        auth: Auth,
    ) -> Result<users::Parts, RunError> {
        Ok(users::Parts {
            database: self.database()?,
            auth,
        })
    }

    /// Returns the parts of the products service, which stores products in DynamoDB.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_products(
        &mut self,
        running: &mut Running,
        auth: Auth,
    ) -> Result<products::Parts, RunError> {
        Ok(products::Parts {
            dynamodb: self.dynamodb(running).await?,
            auth,
        })
    }

    /// Returns the parts of the orders service, which stores orders in SQL beside the users and
    /// publishes them to the log.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_orders(
        &mut self,
        _: &mut Running,
        auth: Auth,
    ) -> Result<orders::Parts, RunError> {
        Ok(orders::Parts {
            database: self.database()?,
            log: self.log()?,
            auth,
        })
    }

    /// Returns the parts of the notifications service, which reads orders from the log and stores
    /// notifications in DynamoDB.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_notifications(
        &mut self,
        running: &mut Running,
        auth: Auth,
    ) -> Result<notifications::Parts, RunError> {
        Ok(notifications::Parts {
            dynamodb: self.dynamodb(running).await?,
            log: self.log()?,
            auth,
        })
    }

    /// Returns the parts of the analytics service, which reads counts from the log and stores them
    /// in DynamoDB.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_analytics(
        &mut self,
        running: &mut Running,
        auth: Auth,
    ) -> Result<analytics::Parts, RunError> {
        Ok(analytics::Parts {
            dynamodb: self.dynamodb(running).await?,
            log: self.log()?,
            auth,
        })
    }

    /// Returns the parts of the files service. It stores files in the object store and the findings
    /// about them in DynamoDB. Files are processed by this same program, started as another process
    /// with the command `function`.
    ///
    /// # Errors
    /// [`RunError::Store`], [`RunError::Files`], [`RunError::Itself`].
    pub async fn for_files(
        &mut self,
        running: &mut Running,
        auth: Auth,
        access: &AuthSettings,
    ) -> Result<file_processor::Parts, RunError> {
        let objects = self.objects_url()?;
        let mut environment = vec![
            ("TIDEMARK_DYNAMODB", self.dynamodb_address(running)?),
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
            dynamodb: self.dynamodb(running).await?,
            objects,
            auth,
            function: Some(function),
        })
    }

    /// Returns the parts of the stream job, which reads and writes the log. The job opens its
    /// checkpoints itself.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub async fn for_stream_job(
        &mut self,
        _: &mut Running,
        _: Auth,
    ) -> Result<stream_job::Parts, RunError> {
        Ok(stream_job::Parts { log: self.log()? })
    }
}
