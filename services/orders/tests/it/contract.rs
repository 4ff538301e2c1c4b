//! The contract with clients.

use axum::http::{Request, StatusCode};
use chassis::auth::Auth;
use serde_json::{Value, json};
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
            json!({"product_id": lamp, "quantity": 2, "unit_price_cents": 1999})
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
async fn what_is_not_valid_is_a_4xx_naming_its_field_and_stores_nothing() {
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
async fn an_order_at_another_total_than_was_shown_is_refused_with_the_new_one() {
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
async fn a_total_that_cannot_be_counted_and_mixed_currencies_are_refused_and_the_stock_goes_back() {
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

        for number in 0..5 {
            let mut order = shop.order(&[(lamp, 1), (lamp, 1)]);
            order["user_id"] = json!(if number % 2 == 0 { shop.user_id } else { other });
            ids.push(shop.post(order).await.id());
        }

        ids.reverse();
        assert_eq!(walk(&shop, "/orders?limit=2").await, ids);
        assert_eq!(
            walk(&shop, &format!("/orders?limit=1&user_id={other}")).await,
            [ids[1], ids[3]]
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
        shop.get("/orders/0").await.assert_problem(404, None);
        shop.get("/orders/x").await.assert_problem(400, Some("id"));
    })
    .await;
}

/// The ids of every page's orders, each of which has both of its items.
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
async fn an_account_that_has_ordered_is_closed_and_its_orders_stay_without_an_address() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1, "USD", 9);
        let mut order = shop.order(&[(lamp, 1)]);
        order["delivery"] = json!({"name": "Ada", "street": "1 Lane", "postcode": "1", "city": "B", "country": "DE"});
        let [arrived, on_its_way] = [
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

        assert_eq!(address(on_its_way).await["name"], "Ada");
        assert_eq!(shop.count("orders").await, 2);
    })
    .await;
}
