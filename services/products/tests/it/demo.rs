//! The demo catalogue.

use aws_sdk_dynamodb::Client;
use chassis::Shutdown;
use chassis::auth::Auth;
use products::{Config, Parts};
use testbed::TestClient;

use crate::add_with_stock;

testbed::on_both_dynamodbs!(
    an_empty_catalogue_is_filled_once,
    a_catalogue_with_products_is_left_alone
);

async fn start(dynamodb: &Client) -> TestClient {
    let parts = Parts {
        dynamodb: dynamodb.clone(),
        auth: Auth::open(),
    };

    products::prepare(
        &Config {
            demo_products: true,
        },
        &parts,
        &Shutdown::new(),
    )
    .await;

    TestClient::new(products::router(&parts))
}

async fn count(service: &TestClient) -> usize {
    service.get("/products?limit=100").await.body["items"]
        .as_array()
        .unwrap()
        .len()
}

async fn an_empty_catalogue_is_filled_once(dynamodb: Client) {
    let (first, second) = tokio::join!(start(&dynamodb), start(&dynamodb));
    assert_eq!([count(&first).await, count(&second).await], [12, 12]);
    let newest = first.get("/products?limit=1").await.body;
    assert_eq!(newest["items"][0]["name"], "Tide Clock");

    let path = format!("/products/{}", newest["items"][0]["id"].as_str().unwrap());
    assert_eq!(first.send("DELETE", &path, &[], None).await.status, 204);
    assert_eq!(count(&start(&dynamodb).await).await, 11);
}

async fn a_catalogue_with_products_is_left_alone(dynamodb: Client) {
    let empty = crate::service(dynamodb.clone()).await;
    add_with_stock(&empty, 1).await;
    assert_eq!(count(&start(&dynamodb).await).await, 1);
}
