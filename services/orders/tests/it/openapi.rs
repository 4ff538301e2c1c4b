//! Tests that the service conforms to its OpenAPI description.

use axum::http::Request;
use serde_json::json;

use crate::databases::SqliteFile;
use crate::shop::Shop;
use testbed::description::{assert_fields, assert_guarded, assert_routes, description};

#[tokio::test]
async fn routes_and_replies_are_as_described() {
    let sqlite = SqliteFile::new();
    let shop = Shop::open(sqlite.open()).await;
    let document = description(shop.router()).await;
    assert_routes(shop.router(), &document).await;

    let lamp = shop.catalogue.add(1, "USD", 9);
    let mut new = shop.order(&[(lamp, 1)]);
    new["total_cents"] = json!(1);
    new["delivery"] =
        json!({"name": "Ada", "street": "1 Lane", "postcode": "1", "city": "B", "country": "DE"});
    assert_fields(&document, "Delivery", &new["delivery"]);
    assert_fields(&document, "NewOrder", &new);
    assert_fields(&document, "Line", &new["items"][0]);

    let order = shop.post(new).await;
    assert_fields(&document, "Order", &order.json());
    assert_fields(&document, "Item", &order.json()["items"][0]);
    assert_fields(&document, "OrderPage", &shop.get("/orders").await.json());

    let minutes = shop
        .get("/orders/minutes?from=2026-01-01T00:00:00Z&to=2026-01-01T00:01:00Z")
        .await
        .json();
    assert_fields(&document, "MinutePage", &minutes);
    let at = order.json()["created_at"].as_str().unwrap().to_owned();
    let at_ms = at.parse::<events::Timestamp>().unwrap().as_ms();
    let after = events::Timestamp::from_ms(at_ms + 1).unwrap();
    let sales = shop
        .get(&format!(
            "/orders/sales?from={at}&to={after}&step=1d&product={lamp}"
        ))
        .await
        .json();
    assert_fields(&document, "SalesPage", &sales);
    assert_fields(&document, "Sales", &sales["items"][0]);
    assert_fields(&document, "Problem", &shop.post(json!({})).await.json());

    let path = format!("/orders/{}/payments", order.id());
    let pay = json!({"token": "sim-approve"});
    assert_fields(&document, "NewPayment", &pay);
    let payment = shop.send(Request::post(&path), Some(pay)).await.json();
    assert_fields(&document, "Payment", &payment);
    assert_fields(&document, "PaymentPage", &shop.get(&path).await.json());
    let report = json!({"payment_id": payment["id"], "status": "captured", "reason": null});
    assert_fields(&document, "Report", &report);
    let reported = shop
        .send(Request::post("/orders/payments/events"), Some(report))
        .await;
    assert_eq!(reported.status, 204);

    for status in document["components"]["schemas"]["Status"]["enum"]
        .as_array()
        .unwrap()
    {
        let reply = shop.set_status(order.id(), status.as_str().unwrap()).await;
        assert!(
            reply.status == 200 || reply.status == 409,
            "{status}: {}",
            reply.text
        );
    }
}

#[tokio::test]
async fn only_routes_described_as_secured_need_credentials() {
    let sqlite = SqliteFile::new();
    let shop = Shop::open_enforced(sqlite.open(), &testbed::Identities::default().auth).await;
    let document = description(shop.router()).await;
    assert_guarded(shop.router(), &document).await;
}
