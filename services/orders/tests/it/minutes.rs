//! Orders by minute.

use chassis::sql::Database;
use serde_json::{Value, json};

use crate::databases::on_each_database;
use crate::shop::Shop;

/// 2026-11-22T10:00:00Z.
const TEN_MS: i64 = 1_795_341_600_000;

async fn check(test: impl AsyncFn(Shop)) {
    on_each_database(async |database| test(Shop::open(database).await).await).await;
}

/// Moves the order to another time.
async fn accept_at(database: &Database, id: i64, ms: i64) {
    let mut transaction = database.write().await.unwrap();
    let update = sqlx::query("UPDATE orders SET created_at_ms = ? WHERE id = ?")
        .bind(ms)
        .bind(id);
    update.execute(transaction.connection()).await.unwrap();
    transaction.commit().await.unwrap();
}

fn minute(offset: i64, orders: u64, total_cents: u64) -> Value {
    let start_ms = TEN_MS + offset * 60_000;
    let start = format!("2026-11-22T10:{offset:02}:00.000Z");
    let totals = json!([{"currency": "USD", "minor_units": total_cents}]);
    json!({"id": start_ms, "minute": start, "orders": orders, "total_cents": total_cents, "totals": totals})
}

#[tokio::test]
async fn each_order_counts_in_the_minute_of_its_time() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 99);
        for ms in [-1, 0, 59_999, 60_000, 240_000] {
            let id = shop.post(shop.order(&[(lamp, 1), (lamp, 1)])).await.id();
            accept_at(&shop.database, id, TEN_MS + ms).await;
        }

        let page = shop
            .get("/orders/minutes?from=2026-11-22T10:00:30Z&to=2026-11-22T10:04:00Z")
            .await
            .json();

        assert_eq!(
            page,
            json!({"items": [minute(0, 2, 7996), minute(1, 1, 3998)], "next": null})
        );

        let page = shop
            .get("/orders/minutes?from=2026-11-22T10:04:00Z&to=2026-11-22T10:04:00.001Z")
            .await
            .json();
        assert_eq!(page["items"], json!([minute(4, 1, 3998)]));
    })
    .await;
}

#[tokio::test]
async fn orders_of_several_currencies_are_summed_by_currency() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1_999, "USD", 99);
        let cup = shop.catalogue.add(1_500, "JPY", 99);
        let rug = shop.catalogue.add(7, "KWD", 99);
        for (product, ms) in [(lamp, 0), (cup, 1), (lamp, 2), (rug, 3), (cup, 60_000)] {
            let id = shop.post(shop.order(&[(product, 1)])).await.id();
            accept_at(&shop.database, id, TEN_MS + ms).await;
        }

        let page = shop
            .get("/orders/minutes?from=2026-11-22T10:00:00Z&to=2026-11-22T10:02:00Z")
            .await
            .json();
        let totals = |minute: usize| page["items"][minute]["totals"].clone();

        assert_eq!(page["items"].as_array().unwrap().len(), 2, "{page}");
        assert_eq!(page["items"][0]["orders"], json!(4));
        assert_eq!(page["items"][0]["total_cents"], Value::Null);
        let expected = json!([
            {"currency": "JPY", "minor_units": 1_500},
            {"currency": "KWD", "minor_units": 7},
            {"currency": "USD", "minor_units": 3_998},
        ]);
        assert_eq!(totals(0), expected);

        assert_eq!(page["items"][1]["total_cents"], json!(1_500));
        assert_eq!(
            totals(1),
            json!([{"currency": "JPY", "minor_units": 1_500}])
        );
    })
    .await;
}

#[tokio::test]
async fn a_sum_beyond_64_bits_is_exact_or_at_the_limit() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 99);
        for (placed, sum) in [
            (1, i64::MAX.unsigned_abs()),
            (2, u64::MAX - 1),
            (3, u64::MAX),
        ] {
            let id = shop.post(shop.order(&[(lamp, 1)])).await.id();
            accept_at(&shop.database, id, TEN_MS).await;
            let mut transaction = shop.database.write().await.unwrap();
            let update = sqlx::query("UPDATE orders SET total_cents = ?").bind(i64::MAX);
            update.execute(transaction.connection()).await.unwrap();
            transaction.commit().await.unwrap();

            let page = shop
                .get("/orders/minutes?from=2026-11-22T10:00:00Z&to=2026-11-22T10:01:00Z")
                .await
                .json();
            assert_eq!(page["items"][0], minute(0, placed, sum));
        }
    })
    .await;
}

#[tokio::test]
async fn an_order_counts_at_the_time_that_its_event_carries() {
    check(async |shop| {
        let lamp = shop.catalogue.add(5, "USD", 9);
        let order = shop.post(shop.order(&[(lamp, 1)])).await.json();
        shop.set_status(order["id"].as_i64().unwrap(), "cancelled")
            .await;

        let payload: String = sqlx::query_scalar("SELECT payload FROM outbox")
            .fetch_one(shop.database.pool())
            .await
            .unwrap();
        let event: Value = serde_json::from_str(&payload).unwrap();
        let created_at: events::Timestamp = event["created_at"].as_str().unwrap().parse().unwrap();
        let after = events::Timestamp::from_ms(created_at.as_ms() + 1).unwrap();

        let page = shop
            .get(&format!("/orders/minutes?from={created_at}&to={after}"))
            .await
            .json();
        let found = &page["items"][0];

        assert_eq!(
            (found["orders"].as_u64(), found["total_cents"].as_u64()),
            (Some(1), Some(5)),
            "{page}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_range_that_is_missing_backwards_or_too_long_is_refused() {
    check(async |shop| {
        for (query, field) in [
            ("", "from"),
            ("?from=2026-11-22T10:00:00Z", "to"),
            ("?from=yesterday&to=2026-11-22T10:00:00Z", "from"),
            ("?from=2026-11-22T10:00:00Z&to=2026-11-22T09:00:00Z", "to"),
            ("?from=2026-11-22T10:00:00Z&to=2026-11-23T10:00:01Z", "from"),
        ] {
            shop.get(&format!("/orders/minutes{query}"))
                .await
                .assert_problem(400, Some(field));
        }
    })
    .await;
}
