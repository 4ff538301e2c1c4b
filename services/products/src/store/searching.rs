//! Searches the catalogue: the index in memory, and how it follows the table.
//!
//! What this process writes is in the index at once. What others write is found by looking at the table now and then: the
//! keys of all products show which are new or gone, and a part of the known ones is read anew each time. What is shown is
//! always read from the table, so a price that another process changed may be sorted late, but is never shown wrong.

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

/// How often the table is looked at for what others wrote.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(30);
/// How many products are read at once.
const BATCH: usize = 100;
/// How many batches of known products are read anew each time.
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
    /// The index, to be changed. No change leaves it half done, so a panic elsewhere does not spoil it.
    pub(super) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.0.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.0.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Finds what is wanted, behind `after`; what was deleted meanwhile is left out of the products.
    ///
    /// # Errors
    /// [`StoreError`].
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
    /// [`StoreError`].
    pub async fn load(&self) -> Result<(), StoreError> {
        let load = || async {
            let ids = self.all_ids().await?;
            self.read_into_index(&ids).await
        };
        self.searched.0.loaded.get_or_try_init(load).await.map(drop)
    }

    /// Keeps the index up with what others write, until a shutdown is requested.
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

    /// Compares the index with the table. Returns the last of the products that were read anew.
    async fn catch_up(&self, read_last: Uuid) -> Result<Uuid, StoreError> {
        let known: HashSet<Uuid> = self.searched.index().ids().collect();
        let listed: HashSet<Uuid> = self.all_ids().await?.into_iter().collect();

        // What the list of keys does not have yet may still be in the table.
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

    /// The ids of all products, the newest first.
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
