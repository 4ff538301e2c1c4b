//! A products service for tests, on a real port, with stock and reservations in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use axum::{Json, Router};
use chassis::Problem;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

#[derive(Clone, Default)]
pub struct Catalogue(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    products: HashMap<Uuid, Product>,
    /// Keys whose release is refused.
    poisoned: HashSet<String>,
    /// Keys whose release is never answered.
    silent: HashSet<String>,
    /// The items by key; none once released.
    reservations: HashMap<String, Option<BTreeMap<Uuid, u64>>>,
}

#[derive(Clone)]
struct Product {
    name: String,
    category: Option<String>,
    price_cents: u64,
    currency: &'static str,
    stock: u64,
}

#[derive(Deserialize)]
struct Request {
    key: String,
    items: Vec<Wanted>,
}

#[derive(Deserialize)]
struct Wanted {
    product_id: Uuid,
    quantity: u64,
}

impl Catalogue {
    /// Serves on a free port; returns the base address.
    pub async fn serve(&self) -> String {
        let router = Router::new()
            .route("/products/reservations", post(reserve))
            .route("/products/reservations/{key}", delete(release))
            .with_state(self.clone());

        testbed::serve(router).await
    }

    pub fn add(&self, price_cents: u64, currency: &'static str, stock: u64) -> Uuid {
        let id = Uuid::now_v7();
        self.0.lock().unwrap().products.insert(
            id,
            Product {
                name: "Lamp".to_owned(),
                category: None,
                price_cents,
                currency,
                stock,
            },
        );

        id
    }

    pub fn set_price(&self, id: Uuid, price_cents: u64) {
        self.0
            .lock()
            .unwrap()
            .products
            .get_mut(&id)
            .unwrap()
            .price_cents = price_cents;
    }

    pub fn set_name(&self, id: Uuid, name: &str) {
        let mut shelf = self.0.lock().unwrap();
        shelf.products.get_mut(&id).unwrap().name = name.to_owned();
    }

    pub fn set_category(&self, id: Uuid, category: &str) {
        let mut shelf = self.0.lock().unwrap();
        shelf.products.get_mut(&id).unwrap().category = Some(category.to_owned());
    }

    pub fn stock(&self, id: Uuid) -> u64 {
        self.0.lock().unwrap().products[&id].stock
    }

    /// Refuses the release of this key from now on.
    pub fn poison(&self, key: &str) {
        self.0.lock().unwrap().poisoned.insert(key.to_owned());
    }

    /// Never answers the release of this key from now on.
    pub fn silence(&self, key: &str) {
        self.0.lock().unwrap().silent.insert(key.to_owned());
    }

    /// Reserves stock, as a request would.
    pub fn hold(&self, key: &str, id: Uuid, quantity: u64) {
        let request = Request {
            key: key.to_owned(),
            items: vec![Wanted {
                product_id: id,
                quantity,
            }],
        };
        assert!(self.reserve(request).status().is_success());
    }

    fn reserve(&self, request: Request) -> Response {
        let mut shelf = self.0.lock().unwrap();
        let mut wanted = BTreeMap::new();
        for (index, item) in request.items.iter().enumerate() {
            let Some(product) = shelf.products.get(&item.product_id) else {
                let problem = Problem::unprocessable("there is no such product");
                return problem
                    .field(format!("items[{index}].product_id"))
                    .into_response();
            };

            let sum: &mut u64 = wanted.entry(item.product_id).or_default();
            *sum += item.quantity;
            if *sum > product.stock && !shelf.reservations.contains_key(&request.key) {
                return Problem::conflict("not enough left")
                    .field(format!("items[{index}].quantity"))
                    .into_response();
            }
        }

        match shelf.reservations.get(&request.key) {
            Some(None) => {
                return Problem::conflict("it was released")
                    .field("key")
                    .into_response();
            }
            Some(Some(held)) => assert_eq!(*held, wanted),
            None => {
                for (id, quantity) in &wanted {
                    shelf.products.get_mut(id).unwrap().stock -= quantity;
                }
                shelf.reservations.insert(request.key, Some(wanted.clone()));
            }
        }

        let items: Vec<_> = wanted
            .iter()
            .map(|(id, quantity)| shelf.held(*id, *quantity))
            .collect();
        (StatusCode::CREATED, Json(json!({ "items": items }))).into_response()
    }

    fn release(&self, key: String) {
        let mut shelf = self.0.lock().unwrap();
        for (id, quantity) in shelf
            .reservations
            .insert(key, None)
            .flatten()
            .unwrap_or_default()
        {
            shelf.products.get_mut(&id).unwrap().stock += quantity;
        }
    }
}

impl Shelf {
    fn held(&self, id: Uuid, quantity: u64) -> serde_json::Value {
        let product = &self.products[&id];
        json!({
            "product_id": id,
            "name": product.name,
            "category": product.category,
            "quantity": quantity,
            "unit_price_cents": product.price_cents,
            "currency": product.currency,
        })
    }
}

async fn reserve(State(catalogue): State<Catalogue>, Json(request): Json<Request>) -> Response {
    catalogue.reserve(request)
}

async fn release(State(catalogue): State<Catalogue>, Path(key): Path<String>) -> StatusCode {
    if catalogue.0.lock().unwrap().silent.contains(&key) {
        std::future::pending::<()>().await;
    }
    if catalogue.0.lock().unwrap().poisoned.contains(&key) {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    catalogue.release(key);
    StatusCode::NO_CONTENT
}
