//! Reserving and releasing stock.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use events::Timestamp;
use products::RESERVATIONS;
use serde_json::{Value, json};
use testbed::{Reply, TestClient};

use crate::{add, add_with_stock, service, stock};

/// The longest time that a test may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

testbed::on_both_dynamodbs!(
    a_reservation_takes_everything_at_the_price_of_the_moment,
    a_reservation_takes_nothing_when_one_product_is_short,
    the_same_key_reserves_once,
    a_release_gives_back_once,
    a_release_that_overtakes_its_reservation_wins,
    a_product_without_a_stock_never_runs_short,
    an_unknown_product_is_named,
    stock_never_goes_below_zero_however_many_want_it,
    each_of_200_buyers_of_one_product_is_served_or_told_that_it_is_sold_out,
    orders_of_many_products_do_not_wait_for_each_other,
    a_released_reservation_is_deleted_in_a_week_and_a_held_one_never,
    a_reservation_has_the_names_of_the_moment,
    a_sale_does_not_change_the_tag_and_an_edit_not_the_stock,
    edits_and_sales_at_the_same_time_all_count,
    a_changed_stock_is_not_overwritten_with_an_old_version,
);

async fn reserve(service: &TestClient, key: &str, items: &[(&str, u64)]) -> Reply {
    let line = |(id, quantity): &(&str, u64)| json!({"product_id": id, "quantity": quantity});
    let items: Vec<Value> = items.iter().map(line).collect();
    service
        .post(
            "/products/reservations",
            json!({"key": key, "items": items}),
        )
        .await
}

async fn release(service: &TestClient, key: &str) -> u16 {
    service
        .send(
            "DELETE",
            &format!("/products/reservations/{key}"),
            &[],
            None,
        )
        .await
        .status
        .as_u16()
}

async fn a_reservation_takes_everything_at_the_price_of_the_moment(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add_with_stock(&service, 5).await;
    let pen = add_with_stock(&service, 9).await;
    let reserved = reserve(&service, "order-1", &[(&lamp, 2), (&pen, 1), (&lamp, 1)]).await;

    assert_eq!(
        (reserved.status.as_u16(), &reserved.body["status"]),
        (201, &json!("held"))
    );

    let line = &reserved.body["items"][0];
    assert_eq!(
        [&line["product_id"], &line["quantity"]],
        [&json!(lamp), &json!(3)]
    );

    assert_eq!(
        [&line["unit_price_cents"], &line["currency"]],
        [&json!(1999), &json!("USD")]
    );

    assert_eq!(
        [stock(&service, &lamp).await, stock(&service, &pen).await],
        [json!(2), json!(8)]
    );

    assert_eq!(
        service.get("/products/reservations/order-1").await.body,
        reserved.body
    );
}

async fn a_reservation_takes_nothing_when_one_product_is_short(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add_with_stock(&service, 5).await;
    let pen = add_with_stock(&service, 1).await;
    let refused = reserve(&service, "order-1", &[(&lamp, 2), (&pen, 2)]).await;

    assert_eq!(
        (refused.status.as_u16(), refused.blamed()),
        (409, "items[1].quantity")
    );

    assert!(
        refused.body["detail"].as_str().unwrap().contains(&pen),
        "{}",
        refused.body
    );

    assert_eq!(
        [stock(&service, &lamp).await, stock(&service, &pen).await],
        [json!(5), json!(1)]
    );

    assert_eq!(
        service.get("/products/reservations/order-1").await.status,
        404
    );
}

async fn the_same_key_reserves_once(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add_with_stock(&service, 5).await;
    let first = reserve(&service, "order-1", &[(&lamp, 2)]).await;
    let again = reserve(&service, "order-1", &[(&lamp, 2)]).await;
    assert_eq!((again.status.as_u16(), again.body), (200, first.body));

    let other = reserve(&service, "order-1", &[(&lamp, 3)]).await;
    assert_eq!((other.status.as_u16(), other.blamed()), (422, "key"));
    assert_eq!(stock(&service, &lamp).await, json!(3));
}

async fn a_release_gives_back_once(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add_with_stock(&service, 5).await;
    reserve(&service, "order-1", &[(&lamp, 2)]).await;

    assert_eq!(
        [
            release(&service, "order-1").await,
            release(&service, "order-1").await
        ],
        [204, 204]
    );

    assert_eq!(stock(&service, &lamp).await, json!(5));
    assert_eq!(
        reserve(&service, "order-1", &[(&lamp, 2)]).await.status,
        409
    );

    reserve(&service, "order-2", &[(&lamp, 2)]).await;
    assert_eq!(
        service
            .send("DELETE", &format!("/products/{lamp}"), &[], None)
            .await
            .status,
        204
    );
    assert_eq!(release(&service, "order-2").await, 204);
}

async fn a_release_that_overtakes_its_reservation_wins(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add_with_stock(&service, 5).await;
    assert_eq!(release(&service, "order-1").await, 204);
    let late = reserve(&service, "order-1", &[(&lamp, 2)]).await;
    assert_eq!((late.status.as_u16(), late.blamed()), (409, "key"));
    assert_eq!(stock(&service, &lamp).await, json!(5));
}

async fn a_product_without_a_stock_never_runs_short(dynamodb: Client) {
    let service = service(dynamodb).await;
    let card = add(&service, json!({"name": "Gift Card", "price_cents": 5000})).await;
    let card = card["id"].as_str().unwrap();

    assert_eq!(
        reserve(&service, "order-1", &[(card, 1_000_000)])
            .await
            .status,
        201
    );

    assert_eq!(stock(&service, card).await, Value::Null);
    assert_eq!(release(&service, "order-1").await, 204);
    assert_eq!(stock(&service, card).await, Value::Null);
}

async fn an_unknown_product_is_named(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add_with_stock(&service, 5).await;
    let unknown = "00000000-0000-7000-8000-000000000000";
    let refused = reserve(&service, "order-1", &[(&lamp, 1), (unknown, 1)]).await;

    assert_eq!(
        (refused.status.as_u16(), refused.blamed()),
        (422, "items[1].product_id")
    );

    let refused = reserve(&service, "order-1", &[(&lamp, 0)]).await;
    assert_eq!(
        (refused.status.as_u16(), refused.blamed()),
        (422, "items[0].quantity")
    );
    assert_eq!(stock(&service, &lamp).await, json!(5));
}

async fn stock_never_goes_below_zero_however_many_want_it(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add_with_stock(&service, 10).await;
    let orders = (0..8).map(|number| {
        let service = service.clone();
        let lamp = lamp.clone();
        tokio::spawn(async move {
            reserve(&service, &format!("order-{number}"), &[(&lamp, 2)])
                .await
                .status
                .as_u16()
        })
    });

    let mut statuses = Vec::new();
    for order in orders.collect::<Vec<_>>() {
        statuses.push(order.await.unwrap());
    }
    statuses.sort_unstable();

    assert_eq!(statuses, [201, 201, 201, 201, 201, 409, 409, 409]);
    assert_eq!(stock(&service, &lamp).await, json!(0));
}

/// The buyers come to two processes, so that the turns of one are not enough.
async fn each_of_200_buyers_of_one_product_is_served_or_told_that_it_is_sold_out(dynamodb: Client) {
    let processes = [service(dynamodb.clone()).await, service(dynamodb).await];
    let lamp = add_with_stock(&processes[0], 150).await;
    let buyers = (0..200).map(|number| {
        let service = processes[number % 2].clone();
        let lamp = lamp.clone();
        tokio::spawn(async move {
            let key = format!("order-{number}");
            reserve(&service, &key, &[(&lamp, 1)]).await.status.as_u16()
        })
    });

    let mut statuses = BTreeMap::new();
    for buyer in buyers.collect::<Vec<_>>() {
        *statuses.entry(buyer.await.unwrap()).or_insert(0) += 1;
    }
    assert_eq!(statuses, BTreeMap::from([(201, 150), (409, 50)]));
    assert_eq!(stock(&processes[1], &lamp).await, json!(0));
}

/// With seventy products, some share a turn.
async fn orders_of_many_products_do_not_wait_for_each_other(dynamodb: Client) {
    let service = service(dynamodb).await;
    let mut products = Vec::new();
    for _ in 0..70 {
        products.push(add_with_stock(&service, 9).await);
    }

    let orders = (0..6).map(|number| {
        let service = service.clone();
        let mut products = products.clone();
        products.rotate_left(number * 11);
        tokio::spawn(async move {
            let items: Vec<_> = products.iter().map(|id| (id.as_str(), 1)).collect();
            let key = format!("order-{number}");
            let reserved = reserve(&service, &key, &items).await.status;
            let released = release(&service, &key).await;
            (reserved.as_u16(), released)
        })
    });
    for order in orders.collect::<Vec<_>>() {
        let answers = tokio::time::timeout(PATIENCE, order).await.unwrap();
        assert_eq!(answers.unwrap(), (201, 204));
    }
    assert_eq!(stock(&service, &products[7]).await, json!(9));
}

async fn a_released_reservation_is_deleted_in_a_week_and_a_held_one_never(dynamodb: Client) {
    let service = service(dynamodb.clone()).await;
    let lamp = add_with_stock(&service, 5).await;
    let expiry = async |key: &str| {
        let get = dynamodb.get_item().table_name(RESERVATIONS);
        let get = get.key("id", AttributeValue::S(key.to_owned()));
        let item = get.send().await.unwrap().item.unwrap();
        let at = item.get("expires_at")?.as_n().unwrap();
        Some(at.parse::<u64>().unwrap())
    };

    reserve(&service, "order-1", &[(&lamp, 2)]).await;
    assert_eq!(expiry("order-1").await, None);

    let now = Timestamp::now().as_ms() / 1000;
    for key in ["order-1", "never-reserved"] {
        assert_eq!(release(&service, key).await, 204);
        let week = expiry(key).await.unwrap() - now;
        assert!((604_800..604_860).contains(&week), "{week}");
    }
    assert_eq!(stock(&service, &lamp).await, json!(5));

    let described = dynamodb.describe_time_to_live().table_name(RESERVATIONS);
    let described = described.send().await.unwrap();
    let attribute = described.time_to_live_description.unwrap().attribute_name;
    assert_eq!(attribute.as_deref(), Some("expires_at"));
}

async fn a_reservation_has_the_names_of_the_moment(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add_with_stock(&service, 5).await;
    let reserved = reserve(&service, "order-1", &[(&lamp, 2)]).await;
    assert_eq!(reserved.body["items"][0]["name"], json!("Lamp"));

    let body = Some(json!({"name": "Lantern"}));
    service
        .send("PATCH", &format!("/products/{lamp}"), &[], body)
        .await;
    let again = reserve(&service, "order-1", &[(&lamp, 2)]).await;
    assert_eq!((again.status.as_u16(), again.body), (200, reserved.body));
}

async fn a_sale_does_not_change_the_tag_and_an_edit_not_the_stock(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add_with_stock(&service, 5).await;
    let path = format!("/products/{lamp}");
    let before = service.get(&path).await;
    reserve(&service, "order-1", &[(&lamp, 2)]).await;
    release(&service, "order-1").await;
    reserve(&service, "order-2", &[(&lamp, 1)]).await;

    let after = service.get(&path).await;
    assert_eq!(after.header("etag"), before.header("etag"));
    assert_eq!(after.body["version"], before.body["version"]);
    assert_eq!(after.body["stock_version"], json!(4));
    assert_eq!(
        after.header("cache-control"),
        "no-store",
        "a cache that compares only the tag would show an old stock"
    );

    let headers = [("if-match", before.header("etag"))];
    let body = Some(json!({"name": "Lantern", "category": "Light"}));
    let edited = service.send("PATCH", &path, &headers, body).await;
    assert_eq!(
        (edited.status.as_u16(), edited.header("etag")),
        (200, "\"2\"")
    );
    assert_eq!(
        [&edited.body["stock"], &edited.body["stock_version"]],
        [&json!(4), &json!(4)]
    );
    assert_eq!(service.get(&path).await.body, edited.body);

    let body = Some(json!({"category": null}));
    let edited = service.send("PATCH", &path, &[], body).await.body;
    assert_eq!(
        [&edited["category"], &edited["stock"]],
        [&Value::Null, &json!(4)]
    );
}

async fn edits_and_sales_at_the_same_time_all_count(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add_with_stock(&service, 50).await;
    let path = format!("/products/{lamp}");
    let edits = (0..20).map(|number| {
        let service = service.clone();
        let path = path.clone();
        let body = Some(json!({format!("attribute_{number}"): number}));
        tokio::spawn(async move { service.send("PATCH", &path, &[], body).await.status })
    });
    let edits: Vec<_> = edits.collect();
    let sales = (0..5).map(|number| {
        let service = service.clone();
        let lamp = lamp.clone();
        tokio::spawn(async move {
            let key = format!("order-{number}");
            reserve(&service, &key, &[(&lamp, 2)]).await.status
        })
    });

    for sale in sales.collect::<Vec<_>>() {
        assert_eq!(sale.await.unwrap(), 201);
    }
    for edit in edits {
        assert_eq!(edit.await.unwrap(), 200);
    }
    let shown = service.get(&path).await.body;
    assert_eq!(
        [&shown["stock"], &shown["version"], &shown["stock_version"]],
        [&json!(40), &json!(21), &json!(6)]
    );
}

async fn a_changed_stock_is_not_overwritten_with_an_old_version(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add_with_stock(&service, 5).await;
    let path = format!("/products/{lamp}");
    let restock = async |stock: Value, version: Value| {
        let body = Some(json!({"stock": stock, "stock_version": version}));
        service.send("PATCH", &path, &[], body).await
    };

    reserve(&service, "order-1", &[(&lamp, 2)]).await;
    let stale = restock(json!(50), json!(1)).await;
    assert_eq!(
        (stale.status.as_u16(), stale.blamed()),
        (412, "stock_version")
    );
    let odd = restock(json!(50), json!("2")).await;
    assert_eq!((odd.status.as_u16(), odd.blamed()), (422, "stock_version"));
    assert_eq!(stock(&service, &lamp).await, json!(3));

    let counted = restock(json!(50), json!(2)).await;
    assert_eq!(
        [&counted.body["stock"], &counted.body["stock_version"]],
        [&json!(50), &json!(3)]
    );
    let uncounted = restock(Value::Null, json!(3)).await;
    assert_eq!(uncounted.body["stock"], Value::Null);
    assert_eq!(restock(json!(1), json!(4)).await.body["stock"], json!(1));
}
