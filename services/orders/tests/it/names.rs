//! The names of products on the lines of an order.

use events::OrderCreated;
use serde_json::{Value, json};
use sqlx::{Executor, Row};

use crate::databases::on_each_database;
use crate::shop::Shop;

/// Most lines of an order, and most characters of a product's name.
const MOST_LINES: usize = 50;
const MOST_CHARS: usize = 200;

async fn check(test: impl AsyncFn(Shop)) {
    on_each_database(async |database| test(Shop::open(database).await).await).await;
}

/// Returns the event of the newest order.
async fn event(shop: &Shop) -> OrderCreated {
    let rows = sqlx::query("SELECT payload FROM outbox ORDER BY seq")
        .fetch_all(shop.database.pool())
        .await
        .unwrap();
    serde_json::from_str(rows.last().unwrap().get(0)).unwrap()
}

#[tokio::test]
async fn a_line_keeps_the_name_of_the_moment() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 9);
        let pen = shop.catalogue.add(100, "USD", 9);
        shop.catalogue.set_name(pen, "Füller \"Łódź\" 🖋");
        let placed = shop.post(shop.order(&[(lamp, 2), (pen, 1)])).await;
        shop.catalogue.set_name(lamp, "Lantern");

        let names = |order: &Value| {
            let items = order["items"].as_array().unwrap().iter();
            items.map(|item| item["name"].clone()).collect::<Vec<_>>()
        };
        let kept = [json!("Lamp"), json!("Füller \"Łódź\" 🖋")];
        assert_eq!(names(&placed.json()), kept);
        let shown = shop.get(&format!("/orders/{}", placed.id())).await.json();
        assert_eq!(names(&shown), kept);

        let published = event(&shop).await.items;
        let published: Vec<Value> = published.iter().map(|item| json!(item.name)).collect();
        assert_eq!(published, kept);
    })
    .await;
}

#[tokio::test]
async fn the_largest_order_with_the_longest_names_is_stored_and_replayed() {
    check(async |shop| {
        for (key, name) in [("four-bytes", "🪔"), ("escaped", "\"")] {
            let products: Vec<_> = (0..MOST_LINES)
                .map(|_| shop.catalogue.add(u64::from(u32::MAX), "USD", 10_000))
                .collect();
            for id in &products {
                shop.catalogue.set_name(*id, &name.repeat(MOST_CHARS));
            }

            let items: Vec<_> = products.iter().map(|id| (*id, 10_000)).collect();
            let mut order = shop.order(&items);
            let line = "é".repeat(100);
            order["delivery"] = json!({"name": line, "street": line, "postcode": "1", "city": line, "country": "DE"});

            let placed = shop.post_with_key(key, order.clone()).await;
            placed.id();
            let kept = event(&shop).await.items;
            assert_eq!(json!(kept), placed.json()["items"]);
            let again = shop.post_with_key(key, order).await;
            assert_eq!((again.status, again.text), (placed.status, placed.text));
        }
    })
    .await;
}

#[tokio::test]
async fn an_order_of_an_earlier_version_has_lines_without_names() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 9);
        let id = shop.post(shop.order(&[(lamp, 1)])).await.id();
        let mut transaction = shop.database.write().await.unwrap();
        let forget = transaction
            .connection()
            .execute("UPDATE order_items SET name = NULL");
        forget.await.unwrap();
        transaction.commit().await.unwrap();

        let shown = shop.get(&format!("/orders/{id}")).await.json();
        assert_eq!(shown["items"][0]["name"], Value::Null);
        assert_eq!(shown["items"][0]["unit_price_cents"], 1999);
    })
    .await;
}
