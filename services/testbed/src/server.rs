//! A service that the one under test calls, on this machine.

use axum::Router;
use tokio::net::TcpListener;

/// Serves the router on a port of its own until the runtime ends, and returns its base address.
///
/// # Panics
/// If no port is free.
pub async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    tokio::spawn(async move { axum::serve(listener, router).await });

    format!("http://{address}")
}
