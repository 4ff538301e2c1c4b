//! The contract with clients.

use std::collections::HashSet;

use axum::http::{Request, StatusCode};
use chassis::auth::Auth;
use chassis::sql::Dialect;
use events::Timestamp;
use serde_json::{Value, json};
use testbed::CapturedLog;
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::databases::on_each_database;
use crate::shop::Shop;

async fn check(test: impl AsyncFn(Shop)) {
    on_each_database(async |database| test(Shop::open(database).await).await).await;
}

#[tokio::test]
async fn an_order_is_stored_at_the_prices_of_the_moment() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 9);
        let chair = shop.catalogue.add(5000, "USD", 9);
        let placed = shop.post(shop.order(&[(lamp, 2), (chair, 1)])).await;
        let id = placed.id();
        assert_eq!(placed.headers["location"], format!("/orders/{id}"));

        let order = placed.json();
        assert_eq!(
            (order["total_cents"].as_u64(), order["status"].as_str()),
            (Some(8998), Some("pending"))
        );

        assert_eq!(
            (order["currency"].as_str(), order["user_id"].as_i64()),
            (Some("USD"), Some(shop.user_id))
        );

        assert_eq!(
            order["items"][0],
            json!({"product_id": lamp, "quantity": 2, "unit_price_cents": 1999, "name": "Lamp"})
        );

        shop.catalogue.set_price(lamp, 1);
        let shown = shop.get(&format!("/orders/{id}")).await;
        assert_eq!((shown.status, shown.json()), (StatusCode::OK, order));

        assert_eq!(
            (shop.count("outbox").await, shop.count("stock_claims").await),
            (1, 0)
        );

        assert_eq!(
            (shop.catalogue.stock(lamp), shop.catalogue.stock(chair)),
            (7, 8)
        );
    })
    .await;
}

#[tokio::test]
async fn the_lines_of_an_order_are_one_statement() {
    check(async |shop| {
        let products = [1999, 5000, 25].map(|cents| (shop.catalogue.add(cents, "USD", 9), 2));
        let log = CapturedLog::begin();
        let placed = shop.post(shop.order(&products)).await;
        let statements = log.text().matches("INSERT INTO order_items").count();
        drop(log);

        // SQLite runs and logs its statements in another thread.
        let is_seen = shop.database.dialect() == Dialect::MySql;
        assert_eq!(statements > 0, is_seen);
        assert!(
            statements <= 2,
            "the statement and a summary of it: {statements}"
        );

        let shown = shop.get(&format!("/orders/{}", placed.id())).await.json();
        let lines = shown["items"].as_array().unwrap().iter();
        let lines: Vec<_> = lines
            .map(|line| line["unit_price_cents"].as_u64().unwrap())
            .collect();
        assert_eq!(lines, [1999, 5000, 25]);
    })
    .await;
}

#[tokio::test]
async fn the_number_of_an_order_does_not_count_the_orders_of_the_shop() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 99);
        let mut chances = HashSet::new();
        for _ in 0..5 {
            let order = shop.post(shop.order(&[(lamp, 1)])).await.json();
            let number = order["id"].as_u64().unwrap();

            // It contains only the time of the order, from 2020 on, and twelve random bits.
            let accepted: Timestamp = serde_json::from_value(order["created_at"].clone()).unwrap();
            assert_eq!((number >> 12) + 1_577_836_800_000, accepted.as_ms());
            chances.insert(number & 0xfff);
        }
        assert!(chances.len() > 1, "{chances:?}");
    })
    .await;
}

#[tokio::test]
async fn a_product_on_two_lines_is_one_reservation_and_two_items() {
    check(async |shop| {
        let lamp = shop.catalogue.add(10, "USD", 5);
        let order = shop.post(shop.order(&[(lamp, 2), (lamp, 3)])).await.json();
        assert_eq!(
            (
                order["total_cents"].as_u64(),
                order["items"].as_array().unwrap().len()
            ),
            (Some(50), 2)
        );
        assert_eq!(shop.catalogue.stock(lamp), 0);
    })
    .await;
}

#[tokio::test]
async fn an_invalid_order_is_a_4xx_with_its_field_and_stores_nothing() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1999, "USD", 9);
        for quantity in [0, -1, 10_001] {
            shop.post(shop.order(&[(lamp, 1), (lamp, quantity)])).await.assert_problem(422, Some("items[1].quantity"));
        }
        shop.post(shop.order(&[])).await.assert_problem(422, Some("items"));
        shop.post(shop.order(&[(lamp, 1); 51])).await.assert_problem(422, Some("items"));

        let unknown = shop.order(&[(lamp, 1), (Uuid::now_v7(), 1)]);
        shop.post(unknown).await.assert_problem(422, Some("items[1].product_id"));
        let items = json!([{"product_id": lamp, "quantity": 1}]);
        shop.post(json!({"user_id": 999_999, "items": items})).await.assert_problem(422, Some("user_id"));
        shop.post(json!({"user_id": "me", "items": items})).await.assert_problem(422, Some("user_id"));
        shop.post(json!({ "items": items })).await.assert_problem(422, Some("user_id"));

        let priced =
            json!({"user_id": shop.user_id, "items": [{"product_id": lamp, "quantity": 1, "unit_price_cents": 1}]});
        shop.post(priced).await.assert_problem(422, Some("items[0].unit_price_cents"));
        for table in ["orders", "order_items", "outbox", "stock_claims"] {
            assert_eq!(shop.count(table).await, 0, "{table}");
        }

        assert_eq!(shop.catalogue.stock(lamp), 9);
    })
    .await;
}

#[tokio::test]
async fn an_order_at_a_changed_total_is_refused_with_the_new_total() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1000, "USD", 9);
        let stating = |total: Value| {
            let mut order = shop.order(&[(lamp, 2)]);
            order["total_cents"] = total;
            order
        };

        shop.catalogue.set_price(lamp, 9000);
        for shown in [2000, 0, 17_999, 18_001] {
            let refused = shop.post(stating(json!(shown))).await;
            refused.assert_problem(409, Some("total_cents"));
            assert_eq!(refused.json()["total_cents"], 18_000);
        }

        for nonsense in [json!(-1), json!("18000"), json!(1.5)] {
            shop.post(stating(nonsense))
                .await
                .assert_problem(422, Some("total_cents"));
        }

        shop.return_stock().await;
        assert_eq!(
            (shop.catalogue.stock(lamp), shop.count("orders").await),
            (9, 0)
        );

        assert_eq!(
            shop.post(stating(json!(18_000))).await.status,
            StatusCode::CREATED
        );

        assert_eq!(
            shop.post(stating(Value::Null)).await.status,
            StatusCode::CREATED
        );
        assert_eq!(shop.catalogue.stock(lamp), 5);
    })
    .await;
}

#[tokio::test]
async fn too_large_totals_and_mixed_currencies_release_the_stock() {
    check(async |shop| {
        let palace = shop.catalogue.add(u64::MAX / 2, "USD", 9);
        let hut = shop.catalogue.add(5, "EUR", 9);
        shop.post(shop.order(&[(palace, 2)]))
            .await
            .assert_problem(422, Some("items"));

        let lamp = shop.catalogue.add(5, "USD", 9);
        shop.post(shop.order(&[(lamp, 1), (hut, 1)]))
            .await
            .assert_problem(422, Some("items[1].product_id"));
        shop.return_stock().await;

        assert_eq!(
            [palace, hut, lamp].map(|id| shop.catalogue.stock(id)),
            [9, 9, 9]
        );
        assert_eq!(shop.count("orders").await, 0);
    })
    .await;
}

#[tokio::test]
async fn when_the_catalogue_is_away_orders_are_refused_with_a_503() {
    on_each_database(async |database| {
        let nobody = "http://127.0.0.1:9".to_owned();
        let shop = Shop::open_at(database, Catalogue::default(), nobody).await;
        let refused = shop.post(shop.order(&[(Uuid::now_v7(), 1)])).await;
        refused.assert_problem(503, None);
        assert!(refused.headers.contains_key("retry-after"));
        assert_eq!(shop.count("orders").await, 0);
    })
    .await;
}

#[tokio::test]
async fn the_list_shows_the_newest_first_and_by_user() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 99);
        let other = shop.add_user("other@test.com").await;
        let mut ids = Vec::new();
        let mut of_other = Vec::new();

        for number in 0..5 {
            let user_id = if number % 2 == 0 { shop.user_id } else { other };
            let mut order = shop.order(&[(lamp, 1), (lamp, 1)]);
            order["user_id"] = json!(user_id);
            let id = shop.post(order).await.id();
            ids.push(id);
            if user_id == other {
                of_other.push(id);
            }
        }

        // Orders of the same millisecond are sorted by their numbers, which are random.
        for list in [&mut ids, &mut of_other] {
            list.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
        }
        assert_eq!(walk(&shop, "/orders?limit=2").await, ids);
        assert_eq!(
            walk(&shop, &format!("/orders?limit=1&user_id={other}")).await,
            of_other
        );

        assert_eq!(
            shop.get("/orders?user_id=999").await.json(),
            json!({"items": [], "next": null})
        );

        shop.get("/orders?user_id=x")
            .await
            .assert_problem(400, Some("user_id"));
        shop.get("/orders?limit=0")
            .await
            .assert_problem(400, Some("limit"));
        for counted in [0, 1, 5] {
            shop.get(&format!("/orders/{counted}"))
                .await
                .assert_problem(404, None);
        }
        shop.get("/orders/x").await.assert_problem(400, Some("id"));
    })
    .await;
}

/// Returns the ids of the orders on all pages; each must have both of its items.
async fn walk(shop: &Shop, path: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = shop.get(&format!("{path}{cursor}")).await.json();
        for order in page["items"].as_array().unwrap() {
            assert_eq!(order["items"].as_array().unwrap().len(), 2);
            ids.push(order["id"].as_i64().unwrap());
        }

        match &page["next"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => return ids,
        }
    }
}

#[tokio::test]
async fn the_status_goes_its_way_and_no_other() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 9);
        let id = shop.post(shop.order(&[(lamp, 1)])).await.id();
        shop.set_status(id, "shipped")
            .await
            .assert_problem(409, Some("status"));

        for status in ["paid", "shipped", "delivered"] {
            assert_eq!(shop.set_status(id, status).await.json()["status"], status);
        }
        shop.set_status(id, "cancelled")
            .await
            .assert_problem(409, Some("status"));
        shop.set_status(id, "lost")
            .await
            .assert_problem(422, Some("status"));
        shop.set_status(id + 1, "paid")
            .await
            .assert_problem(404, None);

        assert_eq!(
            shop.get(&format!("/orders/{id}")).await.json()["status"],
            "delivered"
        );
    })
    .await;
}

#[tokio::test]
async fn orders_of_a_closed_account_stay_without_an_address() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 9);
        let mut order = shop.order(&[(lamp, 1)]);
        order["delivery"] = json!({"name": "Ada", "street": "1 Lane", "postcode": "1", "city": "B", "country": "DE"});
        let [arrived, on_its_way, unpaid] = [
            shop.post(order.clone()).await.id(),
            shop.post(order.clone()).await.id(),
            shop.post(order.clone()).await.id(),
        ];
        for status in ["paid", "shipped"] {
            shop.set_status(on_its_way, status).await;
        }
        for status in ["paid", "shipped", "delivered"] {
            shop.set_status(arrived, status).await;
        }

        let parts = users::Parts {
            database: shop.database.clone(),
            auth: Auth::open(),
        };
        let users = users::router(&users::Config::default(), parts);
        let ask = async |request: axum::http::request::Builder| {
            let request = request.body(axum::body::Body::empty()).unwrap();
            let reply = tower::ServiceExt::oneshot(users.clone(), request).await;
            reply.unwrap().status()
        };
        let account = format!("/users/{}", shop.user_id);
        assert_eq!(ask(Request::delete(&account)).await, StatusCode::NO_CONTENT);
        assert_eq!(ask(Request::get(&account)).await, StatusCode::NOT_FOUND);
        assert_eq!(ask(Request::delete(&account)).await, StatusCode::NOT_FOUND);
        for left in ["name = 'Demo'", "email LIKE '%@test.com'", "password_hash IS NOT NULL"] {
            let table: &str = Box::leak(format!("users WHERE {left}").into_boxed_str());
            assert_eq!(shop.count(table).await, 0, "{left}");
        }

        shop.post(order).await.assert_problem(422, Some("user_id"));
        let address = async |id: i64| shop.get(&format!("/orders/{id}")).await.json()["delivery"].clone();
        let shutdown = chassis::Shutdown::new();
        let erased = async {
            while !address(arrived).await.is_null() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            shutdown.request();
        };
        let work = async { tokio::join!(shop.service.work(&shutdown), erased) };
        tokio::time::timeout(std::time::Duration::from_secs(30), work)
            .await
            .unwrap();

        for id in [on_its_way, unpaid] {
            assert_eq!(address(id).await["name"], "Ada");
        }
        assert_eq!(shop.count("orders").await, 3);
    })
    .await;
}
