//! A request to stop, shared by all tasks that must obey it.

use tokio_util::sync::CancellationToken;

/// A request to shut down. Clones share it; once requested it stays requested.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Returns a shutdown that is not yet requested.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests the shutdown of everything that holds a clone.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Returns a child: it is requested together with this one, and can be requested alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Returns whether the shutdown is requested.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the shutdown is requested; returns at once if it already is.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }
}
