//! The rights of callers if they must authenticate.

use axum::http::Method;
use serde_json::{Value, json};
use testbed::Identities;

use crate::databases::on_each_database;
use crate::shop::Shop;

/// A shop with two customers, each of whom has ordered once.
struct Customers {
    shop: Shop,
    identities: Identities,
    ada: String,
    bob: String,
    adas_order: i64,
    bobs_order: i64,
}

async fn check(test: impl AsyncFn(Customers)) {
    on_each_database(async |database| {
        let identities = Identities::default();
        let shop = Shop::open_enforced(database, &identities.auth).await;
        let other = shop.add_user("bob@test.com").await;
        let ada = identities.user(shop.user_id);
        let bob = identities.user(other);
        let lamp = shop.catalogue.add(1, "USD", 9);
        let mut order = shop.order(&[(lamp, 1)]);

        let adas_order = shop
            .send_as(&ada, Method::POST, "/orders", Some(order.clone()))
            .await
            .id();

        order["user_id"] = json!(other);
        let bobs_order = shop
            .send_as(&bob, Method::POST, "/orders", Some(order))
            .await
            .id();

        test(Customers {
            shop,
            identities,
            ada,
            bob,
            adas_order,
            bobs_order,
        })
        .await;
    })
    .await;
}

impl Customers {
    async fn get(&self, token: &str, path: &str) -> (u16, Value) {
        let reply = self.shop.send_as(token, Method::GET, path, None).await;
        (reply.status.as_u16(), reply.json())
    }

    async fn set_status(&self, token: &str, id: i64, status: &str) -> u16 {
        let body = Some(json!({ "status": status }));
        self.shop
            .send_as(token, Method::PATCH, &format!("/orders/{id}"), body)
            .await
            .status
            .as_u16()
    }
}

fn ids(list: &Value) -> Vec<i64> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|order| order["id"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_customer_orders_for_nobody_else() {
    check(async |at| {
        let order = at.shop.order(&[(at.shop.catalogue.add(1, "USD", 9), 1)]);
        at.shop.post(order.clone()).await.assert_problem(401, None);
        at.shop
            .send_as(&at.bob, Method::POST, "/orders", Some(order.clone()))
            .await
            .assert_problem(403, None);

        at.shop
            .send_as(
                &at.identities.service(),
                Method::POST,
                "/orders",
                Some(order.clone()),
            )
            .await
            .assert_problem(403, None);

        assert_eq!(at.shop.count("orders").await, 2);
        at.shop
            .send_as(&at.identities.admin(), Method::POST, "/orders", Some(order))
            .await
            .id();
    })
    .await;
}

#[tokio::test]
async fn a_customer_sees_its_own_orders_and_the_admin_all() {
    check(async |at| {
        let admin = at.identities.admin();
        assert_eq!(ids(&at.get(&at.ada, "/orders").await.1), [at.adas_order]);
        assert_eq!(
            ids(&at.get(&admin, "/orders").await.1),
            [at.bobs_order, at.adas_order]
        );

        let adas = format!("/orders?user_id={}", at.shop.user_id);
        assert_eq!(ids(&at.get(&at.ada, &adas).await.1), [at.adas_order]);
        assert_eq!(at.get(&at.bob, &adas).await.0, 403);

        let path = format!("/orders/{}", at.adas_order);
        assert_eq!(
            (
                at.get(&at.ada, &path).await.0,
                at.get(&admin, &path).await.0
            ),
            (200, 200)
        );

        let hidden = at.get(&at.bob, &path).await;
        let missing = at.get(&at.bob, "/orders/999999").await;
        assert_eq!(
            (hidden.0, &hidden.1),
            (404, &missing.1),
            "it must look as if it did not exist"
        );
    })
    .await;
}

#[tokio::test]
async fn a_customer_cancels_its_own_order_and_the_shop_says_the_rest() {
    check(async |at| {
        assert_eq!(
            at.set_status(&at.bob, at.adas_order, "cancelled").await,
            404
        );

        for status in ["paid", "shipped", "delivered"] {
            assert_eq!(
                at.set_status(&at.ada, at.adas_order, status).await,
                403,
                "{status}"
            );
        }

        assert_eq!(
            at.set_status(&at.ada, at.adas_order, "cancelled").await,
            200
        );

        assert_eq!(
            at.set_status(&at.identities.admin(), at.bobs_order, "paid")
                .await,
            200
        );
    })
    .await;
}

#[tokio::test]
async fn the_books_are_for_services_and_admins() {
    check(async |at| {
        let path = "/orders/minutes?from=2026-11-22T10:00:00.000Z&to=2026-11-22T10:01:00.000Z";
        assert_eq!(at.get(&at.ada, path).await.0, 403);
        assert_eq!(at.get(&at.identities.service(), path).await.0, 200);
        assert_eq!(at.get(&at.identities.admin(), path).await.0, 200);
    })
    .await;
}
