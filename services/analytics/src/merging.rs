//! Merges the counts of past hours in the background (`store`). Every replica looks for hours to merge; a claim
//! in DynamoDB lets one of them do it.

use std::time::Duration;

use chassis::Shutdown;
use events::Timestamp;

use crate::store::{Store, StoreError};

/// The time between two looks for hours to merge, and until the first: while a new version is rolled out, replicas of
/// the version before write counts without a look at the closed hours.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// Merges past hours until a shutdown is requested.
pub(super) async fn regularly(store: &Store, shutdown: &Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }

        let merged = tokio::select! {
            () = shutdown.requested() => return,
            merged = past_hours(store, Timestamp::now()) => merged,
        };
        match merged {
            Ok(0) => {}
            Ok(hours) => tracing::info!(hours, "past hours were merged"),
            Err(error) => {
                tracing::warn!(%error, "past hours cannot be merged now; histories read their minutes");
            }
        }
    }
}

/// Merges the hours that are long over at `now`, and returns their number.
pub(super) async fn past_hours(store: &Store, now: Timestamp) -> Result<u64, StoreError> {
    let mut merged = 0;
    while store.merge_next_hour(now).await? {
        merged += 1;
    }
    Ok(merged)
}
