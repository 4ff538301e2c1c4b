//! The demo catalogue: the products of the storefront until others are added.

use events::Timestamp;
use uuid::{Builder, Uuid};

use crate::product::{Details, Object, Product};
use crate::store::{Listing, Store, StoreError};

const CATALOGUE: &str = include_str!("demo.json");
/// The timestamp in the ids of demo products: earlier than that of any product a shop adds.
const MADE_AT_MS: u64 = 1_760_000_000_000;

/// Adds the demo products if the catalogue is empty. Their ids never change, so replicas that start
/// together add each of them once.
///
/// # Errors
/// Returns [`StoreError`] if the catalogue cannot be read or written.
pub async fn fill_if_empty(store: &Store) -> Result<(), StoreError> {
    let any = store.list(&Listing::default()).await?;
    if !any.items.is_empty() {
        return Ok(());
    }

    for product in catalogue(Timestamp::now()) {
        match store.create(&product).await {
            Ok(()) | Err(StoreError::Changed) => {}
            Err(error) => return Err(error),
        }
    }

    tracing::info!("the catalogue was empty: added demo products");
    Ok(())
}

/// Returns the demo products; the first of the file is the newest.
pub fn catalogue(now: Timestamp) -> Vec<Product> {
    let bodies: Vec<Object> = serde_json::from_str(CATALOGUE).expect("the file is tested");
    let numbered = bodies.into_iter().rev().enumerate();
    numbered
        .map(|(number, body)| Product::new(id(number), details(body), now))
        .collect()
}

fn details(body: Object) -> Details {
    Details::parse(body).expect("the file is tested")
}

fn id(number: usize) -> Uuid {
    let mut tail = [0; 10];
    tail[9] = u8::try_from(number).unwrap_or(u8::MAX);
    Builder::from_unix_timestamp_millis(MADE_AT_MS, &tail).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dozen_products_with_ids_that_never_change() {
        let products = catalogue(Timestamp::now());
        assert_eq!(products.len(), 12);
        assert_eq!(
            products[0].id.to_string(),
            "0199c82c-c000-7000-8000-000000000000"
        );

        assert!(
            products
                .iter()
                .all(|product| product.details.attributes.contains_key("art"))
        );
    }
}
