//! The same request under the same key: one order, one reply.

use axum::http::Request;
use futures::future::join_all;
use serde_json::json;

use crate::databases::on_each_database;
use crate::shop::Shop;

async fn check(test: impl AsyncFn(Shop)) {
    on_each_database(async |database| test(Shop::open(database).await).await).await;
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_reply_after_changes() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 9);
        let first = shop.post_with_key("a", shop.order(&[(lamp, 2)])).await;
        shop.catalogue.set_price(lamp, 1);
        shop.set_status(first.id(), "paid").await;

        let again = shop.post_with_key("a", shop.order(&[(lamp, 2)])).await;
        assert_eq!((again.status, &again.text), (first.status, &first.text));
        assert_eq!(again.headers["location"], first.headers["location"]);
        assert_eq!(again.headers["idempotency-replayed"], "true");
        assert!(!first.headers.contains_key("idempotency-replayed"));

        assert_eq!(
            (shop.count("orders").await, shop.catalogue.stock(lamp)),
            (1, 7)
        );
    })
    .await;
}

/// A reply holds the address, which has letters of any language.
#[tokio::test]
async fn a_reply_with_letters_of_any_language_is_kept() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 9);
        let mut order = shop.order(&[(lamp, 2)]);
        order["delivery"] =
            json!({"name": "王小明 🙂", "street": "Straße 1", "postcode": "50667", "city": "Köln", "country": "DE"});

        let first = shop.post_with_key("a", order.clone()).await;
        assert_eq!(first.status, 201, "{}", first.text);
        let again = shop.post_with_key("a", order).await;
        assert_eq!(again.text, first.text);
        assert_eq!(again.json()["delivery"]["name"], "王小明 🙂");
        assert_eq!((shop.count("orders").await, shop.catalogue.stock(lamp)), (1, 7));
    })
    .await;
}

#[tokio::test]
async fn another_request_under_the_key_is_a_422() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 9);
        shop.post_with_key("a", shop.order(&[(lamp, 2)])).await.id();
        let other = shop.post_with_key("a", shop.order(&[(lamp, 3)])).await;
        other.assert_problem(422, Some("Idempotency-Key"));
        shop.post_with_key("b", shop.order(&[(lamp, 3)])).await.id();
    })
    .await;
}

#[tokio::test]
async fn the_same_key_of_another_user_is_another_key() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 9);
        let mut order = shop.order(&[(lamp, 2)]);
        let first = shop.post_with_key("a", order.clone()).await.id();
        order["user_id"] = json!(shop.add_user("other@test.com").await);
        assert_ne!(shop.post_with_key("a", order).await.id(), first);
    })
    .await;
}

#[tokio::test]
async fn twins_at_the_same_time_do_not_double() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 1);
        let twins =
            join_all((0..12).map(|_| shop.post_with_key("a", shop.order(&[(lamp, 1)])))).await;
        let first = twins[0].id();
        assert!(twins.iter().all(|twin| twin.id() == first));

        assert_eq!(
            (
                shop.count("orders").await,
                shop.count("outbox").await,
                shop.catalogue.stock(lamp)
            ),
            (1, 1, 0)
        );
        assert_eq!(shop.count("stock_claims").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_refused_request_may_be_sent_again_under_its_key() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 1);
        let refused = shop.post_with_key("a", shop.order(&[(lamp, 2)])).await;
        refused.assert_problem(409, Some("items[0].quantity"));
        shop.return_stock().await;

        let chair = shop.catalogue.add(1, "USD", 1);
        shop.post_with_key("a", shop.order(&[(chair, 1)]))
            .await
            .id();
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_none_is_a_400() {
    check(async |shop| {
        for key in ["", "two words", &"x".repeat(129)] {
            shop.post_with_key(key, json!({}))
                .await
                .assert_problem(400, Some("Idempotency-Key"));
        }
    })
    .await;
}

#[tokio::test]
async fn two_keys_in_one_request_are_a_400() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 9);
        for second in ["a", "b"] {
            let request = Request::post("/orders")
                .header("idempotency-key", "a")
                .header("idempotency-key", second);
            let reply = shop.send(request, Some(shop.order(&[(lamp, 2)]))).await;
            reply.assert_problem(400, Some("Idempotency-Key"));
        }
        assert_eq!(shop.count("orders").await, 0);
    })
    .await;
}
