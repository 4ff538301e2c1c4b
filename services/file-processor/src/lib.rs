//! The file processor: reads uploaded files of several kinds and stores its findings.
//!
//! It owns the DynamoDB table `files` and, in the object store, the prefixes `uploads/`,
//! `thumbnails/` and `bad-rows/`. It publishes and consumes no events; imports of the catalogue go
//! through the products service.
//!
//! The [`lambda`] processes the files. On AWS, S3 notifies it of each created object. On a laptop,
//! the `folder` does so, through a [Runtime API](RuntimeApi) that runs the same
//! [function](Function) as a process of its own. The service itself ([`run`]) accepts uploads and
//! serves their metadata; it never reads their content.
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

/// Time limit of an upload. Its size is limited too.
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
    /// The program that processes the files of a folder. `None` where Lambda does.
    pub function: Option<Program>,
}

/// The system cannot provide an HTTP client.
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
        let (folder, posted) = function.filter(|_| objects.is_folder()).map(watch).unzip();

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

    /// Has the files of the folder processed until a shutdown is requested. Only waits where the
    /// store is no folder.
    pub async fn watch(self, shutdown: &Shutdown) {
        match self.folder {
            Some(folder) => folder.watch(shutdown).await,
            None => shutdown.requested().await,
        }
    }
}

/// Creates the handler of the Lambda.
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

/// Serves, and has the files of a folder processed, until shut down. Listens at once; is ready when
/// the table exists.
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
