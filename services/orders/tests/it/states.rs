//! The states of an order: unpaid orders expire, each change publishes an event, and unpaid orders are limited.

use std::time::Duration;

use chassis::Shutdown;
use events::{OrderChanged, OrderCreated};
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::Row;

use crate::databases::on_each_database;
use crate::shop::Shop;

async fn check(test: impl AsyncFn(Shop)) {
    on_each_database(async |database| test(Shop::open(database).await).await).await;
}

/// Runs the test with a limit of unpaid orders and of their pieces.
async fn check_limited(orders: u32, pieces: u32, test: impl AsyncFn(Shop)) {
    on_each_database(async |database| {
        let limited = |config: &mut orders::Config| {
            config.orders_unpaid_orders = Some(orders);
            config.orders_unpaid_pieces = Some(pieces);
        };
        test(Shop::open_with(database, limited).await).await;
    })
    .await;
}

/// Returns the events in the outbox, in order.
async fn events(shop: &Shop) -> Vec<Value> {
    let rows = sqlx::query("SELECT type, payload FROM outbox ORDER BY seq")
        .fetch_all(shop.database.pool())
        .await
        .unwrap();
    rows.iter()
        .map(|row| {
            let event: Value = serde_json::from_str(row.get("payload")).unwrap();
            assert_eq!(row.get::<&str, _>("type"), event["event_type"]);
            event
        })
        .collect()
}

async fn types(shop: &Shop) -> Vec<String> {
    let events = events(shop).await;
    let kind = |event: &Value| event["event_type"].as_str().unwrap().to_owned();
    events.iter().map(kind).collect()
}

/// Makes this order due to expire.
async fn make_due(shop: &Shop, id: i64) {
    let mut transaction = shop.database.write().await.unwrap();
    sqlx::query("UPDATE orders SET expires_at_ms = 1 WHERE id = ?")
        .bind(id)
        .execute(transaction.connection())
        .await
        .unwrap();
    transaction.commit().await.unwrap();
}

async fn status(shop: &Shop, id: i64) -> String {
    let order = shop.get(&format!("/orders/{id}")).await.json();
    order["status"].as_str().unwrap().to_owned()
}

/// Runs the service's background work until the condition holds.
async fn work_until(shop: &Shop, holds: impl AsyncFn() -> bool) {
    let shutdown = Shutdown::new();
    let until = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        shutdown.request();
    };
    let work = async { tokio::join!(shop.service.work(&shutdown), until) };
    tokio::time::timeout(Duration::from_secs(30), work)
        .await
        .expect("the condition did not hold in time");
}

#[tokio::test]
async fn each_state_is_an_event_with_the_order_and_its_time() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 9);
        let id = shop.post(shop.order(&[(lamp, 2)])).await.id();
        for status in ["paid", "shipped", "delivered", "refunded"] {
            assert_eq!(shop.set_status(id, status).await.status, 200, "{status}");
        }

        let events = events(&shop).await;
        let _: OrderCreated = serde_json::from_value(events[0].clone()).unwrap();
        let expected = [
            "order.paid",
            "order.shipped",
            "order.delivered",
            "order.refunded",
        ];
        assert_eq!(events.len(), 1 + expected.len());
        let mut ids = vec![events[0]["event_id"].clone()];
        for (event, expected) in events[1..].iter().zip(expected) {
            ids.push(event["event_id"].clone());
            let change: OrderChanged = serde_json::from_value(event.clone()).unwrap();
            assert_eq!(change.event_type, expected);
            assert_eq!(
                (change.order_id as i64, change.user_id as i64),
                (id, shop.user_id)
            );
            assert_eq!(
                (change.total_cents, change.currency.as_str()),
                (3998, "USD")
            );
        }

        let order = shop.get(&format!("/orders/{id}")).await.json();
        assert_eq!(order["updated_at"], events[4]["changed_at"]);
        ids.sort_by_key(ToString::to_string);
        ids.dedup();
        assert_eq!(ids.len(), 5, "each event has an id of its own");
    })
    .await;
}

#[tokio::test]
async fn a_refused_change_is_no_event() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 9);
        let id = shop.post(shop.order(&[(lamp, 2)])).await.id();
        for status in ["pending", "shipped", "delivered", "expired", "refunded"] {
            shop.set_status(id, status)
                .await
                .assert_problem(409, Some("status"));
        }
        assert_eq!(types(&shop).await, ["order.created"]);

        shop.set_status(id, "cancelled").await;
        // It was not paid, so there is no money to return.
        shop.set_status(id, "refunded")
            .await
            .assert_problem(409, Some("status"));
        assert_eq!(types(&shop).await, ["order.created", "order.cancelled"]);
    })
    .await;
}

#[tokio::test]
async fn an_unpaid_order_expires_and_its_stock_goes_back_once() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 9);
        let [due, paid, open] = [
            shop.post(shop.order(&[(lamp, 3)])).await.id(),
            shop.post(shop.order(&[(lamp, 2)])).await.id(),
            shop.post(shop.order(&[(lamp, 1)])).await.id(),
        ];
        make_due(&shop, due).await;
        make_due(&shop, paid).await;
        assert_eq!(shop.set_status(paid, "paid").await.status, 200);

        work_until(&shop, async || {
            shop.catalogue.stock(lamp) == 6 && shop.count("stock_claims").await == 0
        })
        .await;
        assert_eq!(status(&shop, due).await, "expired");
        assert_eq!(status(&shop, paid).await, "paid");
        assert_eq!(status(&shop, open).await, "pending");

        let types = types(&shop).await;
        let expired = types.iter().filter(|kind| *kind == "order.expired").count();
        assert_eq!((types.len(), expired), (5, 1));
        shop.set_status(due, "paid")
            .await
            .assert_problem(409, Some("status"));
        shop.set_status(due, "cancelled")
            .await
            .assert_problem(409, Some("status"));
        assert_eq!(shop.count("stock_claims").await, 0);
    })
    .await;
}

#[tokio::test]
async fn more_orders_than_a_page_expire_in_one_round() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 200);
        for _ in 0..130 {
            shop.post(shop.order(&[(lamp, 1)])).await.id();
        }
        let mut transaction = shop.database.write().await.unwrap();
        sqlx::query("UPDATE orders SET expires_at_ms = 1")
            .execute(transaction.connection())
            .await
            .unwrap();
        transaction.commit().await.unwrap();

        work_until(&shop, async || shop.catalogue.stock(lamp) == 200).await;
        assert_eq!(shop.count("orders WHERE status = 'expired'").await, 130);
    })
    .await;
}

#[tokio::test]
async fn an_order_says_by_when_it_is_to_be_paid() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 9);
        let order = shop.post(shop.order(&[(lamp, 1)])).await.json();
        let instant = |field: &str| -> u64 {
            let text = order[field].as_str().unwrap();
            text.parse::<events::Timestamp>().unwrap().as_ms()
        };
        assert_eq!(instant("expires_at") - instant("created_at"), 30 * 60_000);

        let paid = shop.set_status(order["id"].as_i64().unwrap(), "paid").await;
        assert_eq!(paid.json()["expires_at"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn an_account_holds_only_so_many_unpaid_orders() {
    check_limited(2, 100, async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 99);
        let first = shop.post(shop.order(&[(lamp, 1)])).await.id();
        let second = shop.post(shop.order(&[(lamp, 1)])).await.id();
        let refused = shop.post(shop.order(&[(lamp, 1)])).await;
        refused.assert_problem(409, Some("user_id"));
        assert!(
            refused.text.contains("pay or cancel one"),
            "{}",
            refused.text
        );

        // The limit is that of one account.
        let mut others = shop.order(&[(lamp, 1)]);
        others["user_id"] = json!(shop.add_user("other@test.com").await);
        shop.post(others).await.id();

        shop.set_status(first, "paid").await;
        let third = shop.post(shop.order(&[(lamp, 1)])).await.id();
        shop.set_status(second, "cancelled").await;
        shop.post(shop.order(&[(lamp, 1)])).await.id();
        make_due(&shop, third).await;
        work_until(&shop, async || status(&shop, third).await == "expired").await;
        shop.post(shop.order(&[(lamp, 1)])).await.id();
        shop.post(shop.order(&[(lamp, 1)]))
            .await
            .assert_problem(409, Some("user_id"));
    })
    .await;
}

#[tokio::test]
async fn an_account_holds_only_so_many_unpaid_pieces() {
    check_limited(99, 10, async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 99);
        shop.post(shop.order(&[(lamp, 6), (lamp, 5)]))
            .await
            .assert_problem(409, Some("user_id"));
        let seven = shop.post(shop.order(&[(lamp, 4), (lamp, 3)])).await.id();
        shop.post(shop.order(&[(lamp, 4)]))
            .await
            .assert_problem(409, Some("user_id"));
        shop.post(shop.order(&[(lamp, 3)])).await.id();

        shop.set_status(seven, "paid").await;
        shop.set_status(seven, "cancelled").await;
        shop.post(shop.order(&[(lamp, 7)])).await.id();
        shop.return_stock().await;
        assert_eq!(shop.catalogue.stock(lamp), 89);
    })
    .await;
}

#[tokio::test]
async fn orders_at_the_same_time_do_not_pass_the_limit() {
    check_limited(4, 100, async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 99);
        let replies = join_all((0..20).map(|_| shop.post(shop.order(&[(lamp, 1)])))).await;
        let placed = replies.iter().filter(|reply| reply.status == 201).count();
        let refused = replies.iter().filter(|reply| reply.status == 409).count();
        assert_eq!((placed, refused), (4, 16));

        shop.return_stock().await;
        assert_eq!(
            (shop.catalogue.stock(lamp), shop.count("orders").await),
            (95, 4)
        );
    })
    .await;
}

#[tokio::test]
async fn the_same_request_again_is_within_the_limit_of_the_first() {
    check_limited(1, 100, async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 99);
        let first = shop.post_with_key("a", shop.order(&[(lamp, 1)])).await.id();
        let again = shop.post_with_key("a", shop.order(&[(lamp, 1)])).await.id();
        assert_eq!(first, again);
    })
    .await;
}

#[tokio::test]
async fn an_order_keeps_where_it_is_delivered() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 9);
        let address = json!({"name": "Ada", "street": "12 Café Lane", "postcode": "10115", "city": "Berlin", "country": "DE"});
        let mut order = shop.order(&[(lamp, 1)]);
        order["delivery"] = address.clone();
        let placed = shop.post(order.clone()).await;
        assert_eq!(placed.json()["delivery"], address);
        let shown = shop.get(&format!("/orders/{}", placed.id())).await.json();
        assert_eq!(shown["delivery"], address);

        for (field, bad) in [("country", json!("Germany")), ("name", json!("")), ("city", json!("a\nb")), ("street", Value::Null)] {
            order["delivery"] = address.clone();
            order["delivery"][field] = bad;
            shop.post(order.clone()).await.assert_problem(422, Some(&format!("delivery.{field}")));
        }
        assert_eq!(shop.count("orders").await, 1);
    })
    .await;
}

#[tokio::test]
async fn orders_are_listed_by_their_state() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 9);
        let paid = shop.post(shop.order(&[(lamp, 1)])).await.id();
        let open = shop.post(shop.order(&[(lamp, 1)])).await.id();
        shop.set_status(paid, "paid").await;

        let listed = async |query: String| {
            let page = shop.get(&format!("/orders?{query}")).await.json();
            let orders = page["items"].as_array().unwrap().clone();
            orders
                .iter()
                .map(|order| order["id"].as_i64().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(listed("status=paid".into()).await, [paid]);
        assert_eq!(
            listed(format!("status=pending&user_id={}", shop.user_id)).await,
            [open]
        );
        assert!(listed("status=shipped".into()).await.is_empty());
        shop.get("/orders?status=lost")
            .await
            .assert_problem(400, Some("status"));
    })
    .await;
}
