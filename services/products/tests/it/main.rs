//! Tests of the products service's contract, on the embedded DynamoDB and on DynamoDB Local.

#![allow(clippy::unwrap_used)]

mod catalogue;
mod demo;
mod enforced;
mod lost_replies;
mod openapi;
mod reservations;
mod search;

use aws_sdk_dynamodb::Client;
use chassis::Shutdown;
use chassis::auth::Auth;
use products::{Config, Parts};
use serde_json::{Value, json};
use testbed::TestClient;

/// Returns a client of the service on empty tables.
async fn service(dynamodb: Client) -> TestClient {
    let parts = Parts {
        dynamodb,
        auth: Auth::open(),
    };

    products::prepare(
        &Config {
            demo_products: false,
        },
        &parts,
        &Shutdown::new(),
    )
    .await;

    TestClient::new(products::router(&parts))
}

/// Adds a product, and returns the reply.
async fn add(service: &TestClient, body: Value) -> Value {
    let reply = service.post("/products", body).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.body
}

/// Adds a product with this stock, and returns its id.
async fn add_with_stock(service: &TestClient, stock: u64) -> String {
    let product = add(
        service,
        json!({"name": "Lamp", "price_cents": 1999, "stock": stock}),
    )
    .await;
    product["id"].as_str().unwrap().to_owned()
}

/// Returns the stock of a product.
async fn stock(service: &TestClient, id: &str) -> Value {
    service.get(&format!("/products/{id}")).await.body["stock"].clone()
}
