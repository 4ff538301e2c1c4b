//! Searches the catalogue: owns the index in memory and keeps it consistent with the table.
//!
//! This process's own writes are in the index at once. To find writes by other processes, the index is compared with
//! the table at intervals. The keys of all products show which are new or deleted, and a part of the known products is
//! read again each time. A price that another process has changed may therefore be sorted by its old value for a
//! while. The returned price is always the current one, because products are read from the table.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use chassis::{Limit, Shutdown};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::tables::{BY_CATALOGUE, PRODUCTS};
use super::{Key, Store, StoreError, WHOLE_CATALOGUE, failed};
use crate::product::Product;
use crate::search::{Found, Index, Position, Wanted};

/// Interval between comparisons with the table.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(30);
/// Number of products per batch read.
const BATCH: usize = 100;
/// Number of batches of known products that each comparison reads again.
const BATCHES_ANEW: usize = 10;

/// The index that all clones of a store share.
#[derive(Clone, Debug, Default)]
pub(super) struct Searched(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    index: RwLock<Index>,
    loaded: OnceCell<()>,
}

impl Searched {
    /// Locks the index for writing. A panic while it is locked leaves it usable, so poisoning is
    /// ignored.
    pub(super) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.0.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.0.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Returns the matches that follow `after`, and the products of the page. Products deleted in
    /// the meantime are left out of the second part.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn search(
        &self,
        wanted: &Wanted,
        after: Option<&Position>,
        limit: Limit,
    ) -> Result<(Found, Vec<Product>), StoreError> {
        self.load().await?;
        let found = self.searched.index().find(wanted, after, limit.items());
        let shown: Vec<Uuid> = found
            .page
            .iter()
            .take(limit.items())
            .map(Position::id)
            .collect();
        let products = self.get_all(&shown).await?;

        Ok((found, products))
    }

    /// Reads the whole catalogue into the index, once.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn load(&self) -> Result<(), StoreError> {
        let load = || async {
            let ids = self.all_ids().await?;
            self.read_into_index(&ids).await
        };
        self.searched.0.loaded.get_or_try_init(load).await.map(drop)
    }

    /// Updates the index with other processes' writes, until a shutdown is requested.
    pub async fn follow(&self, shutdown: &Shutdown) {
        let mut read_last = Uuid::max();
        loop {
            tokio::select! {
                () = shutdown.requested() => return,
                () = tokio::time::sleep(LOOKED_AT_EVERY) => {}
            }
            match self.catch_up(read_last).await {
                Ok(last) => read_last = last,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        error = chassis::in_one_line(error),
                        "the index was not compared with the table"
                    );
                }
            }
        }
    }

    /// Compares the index with the table. Known products are read again in descending order of
    /// their ids, starting below `read_last`. Returns the last of them, or the highest UUID to
    /// start over.
    async fn catch_up(&self, read_last: Uuid) -> Result<Uuid, StoreError> {
        let known: HashSet<Uuid> = self.searched.index().ids().collect();
        let listed: HashSet<Uuid> = self.all_ids().await?.into_iter().collect();

        // The list of keys is eventually consistent: the table may still have the product.
        let unlisted: Vec<Uuid> = known.difference(&listed).copied().collect();
        for batch in unlisted.chunks(BATCH) {
            let there: HashSet<Uuid> = self
                .get_all(batch)
                .await?
                .iter()
                .map(|product| product.id)
                .collect();
            let gone = batch.iter().filter(|id| !there.contains(id));
            gone.for_each(|id| self.searched.index_mut().remove(*id));
        }

        let mut anew: Vec<Uuid> = known
            .intersection(&listed)
            .copied()
            .filter(|id| *id < read_last)
            .collect();
        anew.sort_unstable_by(|one, other| other.cmp(one));
        anew.truncate(BATCHES_ANEW * BATCH);

        let last = anew.last().copied().unwrap_or(Uuid::max());
        anew.extend(listed.difference(&known));
        self.read_into_index(&anew).await?;

        Ok(last)
    }

    async fn read_into_index(&self, ids: &[Uuid]) -> Result<(), StoreError> {
        for batch in ids.chunks(BATCH) {
            let products = self.get_all(batch).await?;
            let mut index = self.searched.index_mut();
            products.iter().for_each(|product| index.put(product));
        }
        Ok(())
    }

    /// Returns the ids of all products, newest first.
    async fn all_ids(&self) -> Result<Vec<Uuid>, StoreError> {
        let mut ids = Vec::new();
        let mut from = None;
        loop {
            let query = self
                .client
                .query()
                .table_name(PRODUCTS)
                .index_name(BY_CATALOGUE)
                .scan_index_forward(false)
                .key_condition_expression("#key = :value")
                .expression_attribute_names("#key", "catalogue")
                .expression_attribute_values(
                    ":value",
                    AttributeValue::S(WHOLE_CATALOGUE.to_owned()),
                )
                .set_exclusive_start_key(from);
            let found = query.send().await.map_err(failed)?;
            let keys: Vec<Key> = serde_dynamo::from_items(found.items.unwrap_or_default())?;
            ids.extend(keys.into_iter().map(|key| key.id));
            from = found.last_evaluated_key;

            if from.is_none() {
                return Ok(ids);
            }
        }
    }
}
