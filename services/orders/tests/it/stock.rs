//! Releases of the stock that no order needs.

use futures::future::join_all;
use uuid::Uuid;

use crate::databases::on_each_database;
use crate::shop::Shop;

async fn check(test: impl AsyncFn(Shop)) {
    on_each_database(async |database| test(Shop::open(database).await).await).await;
}

#[tokio::test]
async fn no_more_is_sold_than_there_is() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 5);
        let replies = join_all((0..12).map(|_| shop.post(shop.order(&[(lamp, 1)])))).await;
        let placed = replies.iter().filter(|reply| reply.status == 201).count();

        assert_eq!(
            (
                placed,
                shop.count("orders").await,
                shop.catalogue.stock(lamp)
            ),
            (5, 5, 0)
        );

        let refused = replies.iter().find(|reply| reply.status != 201).unwrap();
        refused.assert_problem(409, Some("items[0].quantity"));
        assert_eq!(shop.count("stock_claims").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_order_gives_its_stock_back_once() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 5);
        let id = shop.post(shop.order(&[(lamp, 3)])).await.id();
        assert_eq!(shop.set_status(id, "cancelled").await.status, 200);
        shop.return_stock().await;
        shop.set_status(id, "cancelled")
            .await
            .assert_problem(409, Some("status"));

        assert_eq!(
            (shop.catalogue.stock(lamp), shop.count("stock_claims").await),
            (5, 0)
        );
    })
    .await;
}

#[tokio::test]
async fn what_a_dead_request_reserved_goes_back_when_its_claim_is_old() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 5);
        let key = Uuid::now_v7().to_string();
        let mut transaction = shop.database.write().await.unwrap();
        let claim =
            "INSERT INTO stock_claims (reservation_key, releasing, created_at_ms) VALUES (?, 0, 0)";

        sqlx::query(claim)
            .bind(&key)
            .execute(transaction.connection())
            .await
            .unwrap();

        transaction.commit().await.unwrap();
        shop.catalogue.hold(&key, lamp, 4);
        shop.return_stock().await;

        assert_eq!(shop.catalogue.stock(lamp), 5);
    })
    .await;
}

/// Inserts claims to release that come before all others, and returns their keys.
async fn claims_in_front(shop: &Shop, count: usize) -> Vec<String> {
    let keys: Vec<String> = (0..count)
        .map(|n| format!("00000000-0000-7000-8000-{n:012}"))
        .collect();
    let mut transaction = shop.database.write().await.unwrap();

    for key in &keys {
        sqlx::query(
            "INSERT INTO stock_claims (reservation_key, releasing, created_at_ms) VALUES (?, 1, 0)",
        )
        .bind(key)
        .execute(transaction.connection())
        .await
        .unwrap();
    }

    transaction.commit().await.unwrap();
    keys
}

#[tokio::test]
async fn releases_that_are_never_answered_stop_no_other() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 5);
        for key in claims_in_front(&shop, 10).await {
            shop.catalogue.silence(&key);
        }

        let id = shop.post(shop.order(&[(lamp, 3)])).await.id();
        assert_eq!(shop.set_status(id, "cancelled").await.status, 200);
        shop.return_stock_but(10).await;
        assert_eq!(shop.catalogue.stock(lamp), 5);
    })
    .await;
}

#[tokio::test]
async fn releases_that_are_refused_stop_no_other() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 5);
        for key in claims_in_front(&shop, 120).await {
            shop.catalogue.poison(&key);
        }

        let id = shop.post(shop.order(&[(lamp, 3)])).await.id();
        assert_eq!(shop.set_status(id, "cancelled").await.status, 200);
        shop.return_stock_but(120).await;

        assert_eq!(shop.catalogue.stock(lamp), 5);
    })
    .await;
}
