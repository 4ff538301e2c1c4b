//! The Lambda function, which S3 invokes for each created object. On a laptop, the `files` service
//! invokes it, for posted files and for those that a scan of the folder finds.
//!
//! A refused file is a result. A failure is returned to Lambda as an error; Lambda retries by its
//! own rules and then sends the notification to the dead-letter queue.

use std::time::{Duration, SystemTime};

use chassis::LogSettings;
use chassis::auth::AuthSettings;
use clap::Parser;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Serialize;
use uuid::Uuid;

use crate::{Config, File, Notification, Objects, Parts, Processor, Status};

/// The value of `TIDEMARK_DYNAMODB` that stands for AWS.
const AWS: &str = "aws";
/// The part of the function's time that is reserved for storing the refusal of a file that takes too
/// long.
const RESERVE: Duration = Duration::from_secs(5);

/// The settings of the function: environment variables.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "bootstrap",
    version,
    about = "The file processor as an AWS Lambda function"
)]
pub struct Settings {
    #[command(flatten)]
    config: Config,
    /// DynamoDB endpoint, or `aws` for AWS in the function's region.
    #[arg(long, env = "TIDEMARK_DYNAMODB", default_value = AWS, value_name = "URL")]
    dynamodb: String,
    /// Object store: `s3://bucket`, or `file:///folder`.
    #[arg(long, env = "TIDEMARK_OBJECTS", value_name = "URL")]
    objects: String,
    #[command(flatten)]
    access: AuthSettings,
    #[command(flatten)]
    logs: LogSettings,
}

/// The function's response.
#[derive(Debug, Serialize)]
struct Answer {
    files: Vec<Answered>,
}

#[derive(Debug, Serialize)]
struct Answered {
    id: Uuid,
    key: String,
    status: Status,
    kind: Option<String>,
    detail: Option<String>,
}

/// Runs until Lambda ends the process.
///
/// # Errors
/// When a setting is invalid or the Runtime API is unavailable.
pub async fn run(settings: Settings) -> Result<(), Error> {
    chassis::init_telemetry(&settings.logs);
    let endpoint = Some(settings.dynamodb.as_str()).filter(|endpoint| *endpoint != AWS);
    let dynamodb = chassis::dynamodb::client(endpoint).await;
    let objects = Objects::open(&settings.objects)?;
    let auth = settings.access.to_auth()?;

    let parts = Parts {
        dynamodb,
        objects,
        auth,
        function: None,
    };
    let processor = crate::processor(&settings.config, parts)?;
    lambda_runtime::run(service_fn(async |event| handle(&processor, event).await)).await
}

async fn handle(processor: &Processor, event: LambdaEvent<Notification>) -> Result<Answer, Error> {
    let deadline = event.context.deadline();
    let mut files = Vec::new();
    for upload in event.payload.uploads() {
        let left = deadline
            .duration_since(SystemTime::now())
            .unwrap_or_default()
            .saturating_sub(RESERVE);

        let file = processor
            .process(&upload, Some(left))
            .await
            .inspect_err(|error| {
                tracing::error!(key = upload.key, %error, "a file could not be processed");
            })?;
        files.extend(file.map(Answered::from));
    }

    Ok(Answer { files })
}

impl From<File> for Answered {
    fn from(file: File) -> Self {
        let File {
            id,
            key,
            status,
            kind,
            error,
            ..
        } = file;

        Self {
            id,
            key,
            status,
            kind,
            detail: error.map(|trouble| trouble.detail),
        }
    }
}
