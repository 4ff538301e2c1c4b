//! An embedded DynamoDB endpoint over SQLite, for the same client code as in production.
//!
//! A request is answered on the thread that reads it, and a write waits for the disk there. The
//! endpoint has a thread and a runtime of its own, so that writes do not delay the other parts.
//! Like DynamoDB, it removes expired items in the background.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use chassis::Shutdown;
use dynoxide::Database;

/// Interval at which expired items are removed. Clients cannot rely on it: DynamoDB itself promises
/// removal only within days.
const EXPIRY_SWEEP: Duration = Duration::from_secs(60);

/// An endpoint with a bound listener and open tables that does not serve yet.
pub struct DynamoDbEndpoint {
    listener: TcpListener,
    address: SocketAddr,
    tables: Database,
}

impl DynamoDbEndpoint {
    /// Opens the tables in `file` and binds a free port of the loopback interface.
    ///
    /// # Errors
    /// [`EndpointError`] when the file cannot be opened or no port is available.
    pub fn open(file: &Path) -> Result<Self, EndpointError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let tables = Database::new(&file.to_string_lossy())?;

        Ok(Self {
            listener,
            address,
            tables,
        })
    }

    /// Returns the URL for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves until `shutdown`, then answers the remaining requests and closes the tables. Blocks.
    ///
    /// # Errors
    /// [`EndpointError`] when serving ends for any other reason.
    pub fn serve(self, shutdown: Shutdown) -> Result<(), EndpointError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;

        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(self.listener)?;
            let expiry = tokio::spawn(remove_expired(self.tables.clone()));
            let stop = async move { shutdown.requested().await };
            let served = dynoxide::server::serve_with_shutdown(listener, self.tables, stop).await;
            expiry.abort();
            served.map_err(EndpointError::Serve)
        })
    }
}

/// Removes expired items periodically, for ever.
async fn remove_expired(tables: Database) {
    let mut ticks = tokio::time::interval(EXPIRY_SWEEP);
    loop {
        ticks.tick().await;
        match tables.sweep_ttl() {
            Ok(removed) => tracing::debug!(removed, "removed expired items"),
            Err(error) => tracing::warn!(%error, "could not remove expired items"),
        }
    }
}

/// The reason why the embedded endpoint does not serve.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// No port or no thread is available.
    #[error("the embedded DynamoDB endpoint cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    /// The file is damaged or not a database of this endpoint.
    #[error("the embedded DynamoDB tables cannot be opened: {0}")]
    Open(#[from] dynoxide::DynoxideError),
    /// Serving failed.
    #[error("the embedded DynamoDB endpoint failed: {0}")]
    Serve(String),
}
