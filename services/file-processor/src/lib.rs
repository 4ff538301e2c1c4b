//! The file processor: reads uploaded files of several kinds and stores its findings.
//!
//! It owns the DynamoDB table `files` and, in the object store, the prefixes `uploads/`,
//! `thumbnails/` and `bad-rows/`. It publishes and consumes no events; imports of the catalogue go
//! through the products service.
//!
//! The function [`lambda`] processes the files. On AWS, S3 invokes it for each created object. On a
//! laptop, the `folder` invokes it: the same [function](Function) runs as a process of its own, behind
//! a [Runtime API](RuntimeApi). The service itself ([`run`]) accepts uploads and serves their
//! metadata; it does not read their content.
//!
//! ```text
//! POST /files ─▶ http ─▶ objects/uploads/…  ─┬─ S3 ─▶ Lambda ──────────┐
//!                                            └─ folder ─▶ runtime_api ─┴─▶ lambda ─▶ processor ─▶ kind ─▶ csv, json, …
//! GET /files  ◀─ http ◀─ store (table `files`) ◀───────────────────────────────────────┘
//! ```

mod config;

mod event;
mod objects;
mod processor;

mod chunks;
mod encoding;
mod finding;
mod kind;

mod catalogue;
mod csv;
mod json;
mod picture;
mod products;

mod file;
mod store;

mod folder;
mod function;
mod http;
pub mod lambda;
mod runtime_api;

use aws_sdk_dynamodb::Client;
use axum::Router;
use chassis::auth::Auth;
use chassis::{Health, Limits, Listeners, Metrics, ServeError, Server, Shutdown, dynamodb, retry};
pub use config::Config;
pub use event::{Notification, Upload};
pub use file::{File, Status, Trouble};
use folder::Folder;
pub use function::{Function, InvocationError, Program};
use http::Files;
pub use objects::{AddressError, Objects};
pub use processor::{Failure, Processor};
use products::ProductsClient;
pub use runtime_api::{Outcome, RuntimeApi};
pub use store::FILES;
use store::Store;

/// Time limit of a reply, and so of an upload.
const UPLOAD_LIMIT: std::time::Duration = std::time::Duration::from_secs(600);

/// The stores and the authentication of the service.
#[derive(Clone)]
pub struct Parts {
    /// The client for the table.
    pub dynamodb: Client,
    /// The store of the files.
    pub objects: Objects,
    /// Authenticates callers, and this service to the products service.
    pub auth: Auth,
    /// The program that processes the files of a folder; `None` if Lambda processes them.
    pub function: Option<Program>,
}

/// The error if the system cannot provide an HTTP client.
#[derive(Debug, thiserror::Error)]
#[error("the products service cannot be called: {0}")]
pub struct NoClient(#[from] reqwest::Error);

/// The service, assembled but not started.
pub struct Service {
    store: Store,
    files: Files,
    auth: Auth,
    folder: Option<Folder>,
}

impl Service {
    /// Creates the service.
    pub fn new(config: &Config, parts: Parts) -> Self {
        let Parts {
            dynamodb,
            objects,
            auth,
            function,
        } = parts;
        let store = Store::new(dynamodb);

        let watch = |program| {
            let function = Function::new(config.told_to(program));
            Folder::new(objects.clone(), store.clone(), function)
        };
        let (folder, posted) = function
            .filter(|_| objects.folder().is_some())
            .map(watch)
            .unzip();

        let files = Files {
            objects,
            store: store.clone(),
            posted,
            max_upload_bytes: config.files_max_upload_bytes,
        };

        Self {
            store,
            files,
            auth,
            folder,
        }
    }

    /// Returns its routes, which expect the table to exist.
    pub fn router(&self) -> Router {
        self.auth.protect(http::router(self.files.clone()))
    }

    /// Creates the table if it is missing. Retries until it succeeds or a shutdown is requested.
    pub async fn prepare(&self, shutdown: &Shutdown) {
        retry(shutdown, "files: table", || self.store.ensure_table()).await;
    }

    /// Processes the files of the folder until a shutdown is requested. If the store is not a
    /// folder, it only waits.
    pub async fn watch(self, shutdown: &Shutdown) {
        match self.folder {
            Some(folder) => folder.watch(shutdown).await,
            None => shutdown.requested().await,
        }
    }
}

/// Creates the processor that the Lambda function calls.
///
/// # Errors
/// [`NoClient`].
pub fn processor(config: &Config, parts: Parts) -> Result<Processor, NoClient> {
    let products = ProductsClient::new(&config.products_url, parts.auth)?;
    let store = Store::new(parts.dynamodb);
    Ok(Processor {
        objects: parts.objects,
        store,
        products,
        max_bytes: config.files_max_bytes,
    })
}

/// Serves, and processes the files of a folder, until a shutdown is requested. Listens at once; is
/// ready when the table exists.
///
/// # Errors
/// When connections cannot be accepted.
pub async fn run(
    config: Config,
    parts: Parts,
    listeners: impl Into<Listeners>,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let health = Health::new();
    let metrics = Metrics::new("files");
    let client = parts.dynamodb.clone();

    health.register("dynamodb", move || {
        let client = client.clone();
        async move { dynamodb::ping(&client, FILES).await }
    });

    let hold = health.hold("table");
    let service = Service::new(&config, parts);
    let limits = Limits {
        reply: UPLOAD_LIMIT,
        ..Limits::default()
    };

    let server = Server {
        service: "files".to_owned(),
        router: service.router(),
        health,
        metrics,
        limits,
    };

    let work = async {
        service.prepare(&shutdown).await;
        drop(hold);
        service.watch(&shutdown).await;
    };
    let ((), served) = tokio::join!(work, server.run(listeners, shutdown.clone()));
    served
}
