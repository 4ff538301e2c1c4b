//! The wish to stop, shared by everything that must hear it.

use tokio_util::sync::CancellationToken;

/// A request to shut down. Clones share it; once requested it stays requested.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A shutdown nobody has requested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything that holds a clone to stop.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// A shutdown that is requested with this one, and can be requested alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Whether stopping was asked for.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns when stopping is asked for; at once when it was already.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }
}
