//! The rights of callers, if they must authenticate.

use aws_sdk_dynamodb::Client;
use chassis::Shutdown;
use products::{Config, Parts};
use serde_json::json;
use testbed::{Identities, TestClient};

use crate::add_with_stock;

testbed::on_both_dynamodbs!(
    everybody_reads_the_catalogue_and_only_admins_write_it,
    stock_is_reserved_by_services_and_not_by_customers,
);

async fn enforced(dynamodb: Client) -> (TestClient, Identities) {
    let identities = Identities::default();
    let parts = Parts {
        dynamodb,
        auth: identities.auth.clone(),
    };

    products::prepare(
        &Config {
            demo_products: false,
        },
        &parts,
        &Shutdown::new(),
    )
    .await;

    (TestClient::new(products::router(&parts)), identities)
}

async fn everybody_reads_the_catalogue_and_only_admins_write_it(dynamodb: Client) {
    let (service, identities) = enforced(dynamodb).await;
    let admin = service.showing(identities.admin());
    let lamp = add_with_stock(&admin, 5).await;
    let path = format!("/products/{lamp}");
    assert_eq!(service.get(&path).await.body["stock"], 5);
    assert_eq!(service.get("/products").await.status, 200);

    let customer = service.showing(identities.user(7));
    for (caller, status) in [(&service, 401), (&customer, 403)] {
        let new = json!({"name": "Lamp", "price_cents": 1});
        assert_eq!(caller.post("/products", new.clone()).await.status, status);
        assert_eq!(
            caller.send("PATCH", &path, &[], Some(new)).await.status,
            status
        );
        assert_eq!(caller.send("DELETE", &path, &[], None).await.status, status);
    }

    assert_eq!(customer.get(&path).await.body["price_cents"], 1999);
    assert_eq!(
        admin
            .send("PATCH", &path, &[], Some(json!({"stock": 6})))
            .await
            .body["stock"],
        6
    );

    let import = service.showing(identities.service());
    assert_eq!(
        import
            .send("PATCH", &path, &[], Some(json!({"stock": 7})))
            .await
            .body["stock"],
        7
    );

    assert_eq!(import.send("DELETE", &path, &[], None).await.status, 403);
    assert_eq!(admin.send("DELETE", &path, &[], None).await.status, 204);
}

async fn stock_is_reserved_by_services_and_not_by_customers(dynamodb: Client) {
    let (service, identities) = enforced(dynamodb).await;
    let lamp = add_with_stock(&service.showing(identities.admin()), 5).await;
    let basket = json!({"key": "order-1", "items": [{"product_id": lamp, "quantity": 2}]});
    let held = "/products/reservations/order-1";
    let orders = service.showing(identities.service());

    assert_eq!(
        orders
            .post("/products/reservations", basket.clone())
            .await
            .status,
        201
    );

    for (caller, status) in [(&service, 401), (&service.showing(identities.user(7)), 403)] {
        assert_eq!(
            caller
                .post("/products/reservations", basket.clone())
                .await
                .status,
            status
        );

        assert_eq!(caller.get(held).await.status, status);
        assert_eq!(caller.send("DELETE", held, &[], None).await.status, status);
    }

    assert_eq!(orders.get(held).await.body["status"], "held");
}
