//! Creating, reading, listing, changing and deleting products.

use aws_sdk_dynamodb::Client;
use serde_json::{Value, json};
use testbed::TestClient;

use crate::{add, service};

testbed::on_both_dynamodbs!(
    a_product_is_shown_as_it_was_given,
    an_invalid_product_is_refused_and_its_field_named,
    lists_come_newest_first_in_pages,
    a_category_lists_its_own_products_only,
    several_products_are_found_by_id_and_unknown_ids_are_absent,
    a_patch_changes_only_the_fields_it_names,
    if_match_refuses_a_change_of_another_version,
    a_patch_honours_if_none_match,
    concurrent_patches_are_all_applied,
    a_deleted_product_is_gone,
    a_client_with_the_current_version_gets_304,
    paths_and_queries_that_cannot_be_read_are_refused,
    a_product_with_an_id_of_the_callers_is_added_once,
);

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Returns the page of a list that follows `page`.
async fn page_after(service: &TestClient, list: &str, page: &Value) -> Value {
    let cursor = page["next"].as_str().unwrap();
    service.get(&format!("{list}&cursor={cursor}")).await.body
}

async fn add_named(service: &TestClient, name: &str, category: Option<&str>) -> String {
    let product = add(
        service,
        json!({"name": name, "price_cents": 1, "category": category}),
    )
    .await;
    product["id"].as_str().unwrap().to_owned()
}

async fn a_product_is_shown_as_it_was_given(dynamodb: Client) {
    let service = service(dynamodb).await;
    let given = json!({
        "name": "Lamp", "price_cents": 1999, "currency": "EUR", "stock": 7, "category": "home",
        "description": "Bright. 💡", "sizes": [1, 2.5, -3], "maker": {"name": "Ö", "since": null, "vegan": true},
        "big": 18_446_744_073_709_551_615_u64, "empty": {"text": "", "list": [], "map": {}},
    });
    let created = service.post("/products", given.clone()).await;

    assert_eq!(
        (created.status.as_u16(), created.header("etag")),
        (201, "\"1\"")
    );

    assert_eq!(
        created.header("location"),
        format!("/products/{}", created.body["id"].as_str().unwrap())
    );

    let shown = service.get(created.header("location")).await;
    assert_eq!(
        (shown.status.as_u16(), shown.header("etag")),
        (200, "\"1\"")
    );

    assert_eq!(shown.body, created.body);
    for (field, value) in given.as_object().unwrap() {
        assert_eq!(&shown.body[field], value, "{field}");
    }
}

async fn an_invalid_product_is_refused_and_its_field_named(dynamodb: Client) {
    let service = service(dynamodb).await;
    for (body, field) in [
        (json!({"price_cents": 1}), "name"),
        (json!({"name": "Lamp"}), "price_cents"),
        (json!({"name": "Lamp", "price_cents": -1}), "price_cents"),
        (
            json!({"name": "Lamp", "price_cents": 1, "stock": 1.5}),
            "stock",
        ),
        (
            json!({"name": "Lamp", "price_cents": 1, "a": {"b": 1e300}}),
            "a.b",
        ),
    ] {
        let refused = service.post("/products", body).await;
        assert_eq!((refused.status.as_u16(), refused.blamed()), (422, field));
        assert_eq!(refused.header("content-type"), "application/problem+json");
    }

    assert_eq!(service.post("/products", json!([1])).await.status, 422);
    assert_eq!(ids(&service.get("/products").await.body), [""; 0]);
}

async fn lists_come_newest_first_in_pages(dynamodb: Client) {
    let service = service(dynamodb).await;
    let mut added = Vec::new();
    for number in 0..5 {
        added.push(add_named(&service, &format!("Lamp {number}"), None).await);
    }
    added.reverse();

    let first = service.get("/products?limit=2").await.body;
    let second = page_after(&service, "/products?limit=2", &first).await;
    let third = page_after(&service, "/products?limit=2", &second).await;

    assert_eq!([ids(&first), ids(&second), ids(&third)].concat(), added);
    assert_eq!(third["next"], Value::Null);
    assert_eq!(ids(&service.get("/products").await.body), added);
}

async fn a_category_lists_its_own_products_only(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add_named(&service, "Lamp", Some("home")).await;
    let pen = add_named(&service, "Pen", Some("paper & ink")).await;
    let mat = add_named(&service, "Mat", Some("home")).await;
    add_named(&service, "Thing", None).await;

    assert_eq!(
        ids(&service.get("/products?category=home").await.body),
        [mat.clone(), lamp.clone()]
    );

    assert_eq!(
        ids(&service
            .get("/products?category=paper%20%26%20ink")
            .await
            .body),
        [pen]
    );

    assert_eq!(
        ids(&service.get("/products?category=none").await.body),
        [""; 0]
    );

    let first = service.get("/products?category=home&limit=1").await.body;
    let rest = page_after(&service, "/products?category=home", &first).await;
    assert_eq!([ids(&first), ids(&rest)], [[mat], [lamp.clone()]]);

    let moved = service
        .send(
            "PATCH",
            &format!("/products/{lamp}"),
            &[],
            Some(json!({"category": null})),
        )
        .await;

    assert_eq!(
        (moved.status.as_u16(), &moved.body["category"]),
        (200, &Value::Null)
    );
    assert!(!ids(&service.get("/products?category=home").await.body).contains(&lamp));
}

async fn several_products_are_found_by_id_and_unknown_ids_are_absent(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add_named(&service, "Lamp", None).await;
    let pen = add_named(&service, "Pen", None).await;
    let unknown = "00000000-0000-7000-8000-000000000000";

    let found = service
        .get(&format!("/products?ids={pen},{unknown},{lamp},{pen}"))
        .await
        .body;

    assert_eq!(
        (ids(&found), &found["next"]),
        (vec![pen, lamp], &Value::Null)
    );

    assert_eq!(ids(&service.get("/products?ids=").await.body), [""; 0]);
    let refused = service.get("/products?ids=a,b").await;
    assert_eq!((refused.status.as_u16(), refused.blamed()), (400, "ids"));

    let too_many = vec![unknown; 101].join(",");
    assert_eq!(
        service
            .get(&format!("/products?ids={too_many}"))
            .await
            .blamed(),
        "ids"
    );
}

async fn a_patch_changes_only_the_fields_it_names(dynamodb: Client) {
    let service = service(dynamodb).await;
    let lamp = add(
        &service,
        json!({"name": "Lamp", "price_cents": 5, "stock": 1, "size": {"w": 1, "h": 2}}),
    )
    .await;
    let path = format!("/products/{}", lamp["id"].as_str().unwrap());
    let patch = json!({"price_cents": 6, "stock": null, "size": {"h": null}, "colour": "red"});
    let patched = service.send("PATCH", &path, &[], Some(patch)).await;

    assert_eq!(
        (patched.status.as_u16(), patched.header("etag")),
        (200, "\"2\"")
    );

    let shown = service.get(&path).await.body;
    assert_eq!(shown, patched.body);
    assert_eq!(
        [&shown["name"], &shown["price_cents"], &shown["stock"]],
        [&json!("Lamp"), &json!(6), &Value::Null]
    );

    assert_eq!(
        [&shown["size"], &shown["colour"]],
        [&json!({"w": 1}), &json!("red")]
    );

    let refused = service
        .send("PATCH", &path, &[], Some(json!({"name": null})))
        .await;
    assert_eq!((refused.status.as_u16(), refused.blamed()), (422, "name"));

    let unknown = "/products/00000000-0000-7000-8000-000000000000";
    assert_eq!(
        service
            .send("PATCH", unknown, &[], Some(json!({})))
            .await
            .status,
        404
    );
}

async fn if_match_refuses_a_change_of_another_version(dynamodb: Client) {
    let service = service(dynamodb).await;
    let path = format!("/products/{}", add_named(&service, "Lamp", None).await);
    let patch = async |tag: &str| {
        let body = Some(json!({"price_cents": 2}));
        service
            .send("PATCH", &path, &[("if-match", tag)], body)
            .await
    };

    assert_eq!(patch("\"1\"").await.status, 200);

    let stale = patch("\"1\"").await;
    assert_eq!((stale.status.as_u16(), stale.blamed()), (412, "If-Match"));
    assert_eq!(patch("*").await.status, 200);

    assert_eq!(
        service
            .send("DELETE", &path, &[("if-match", "\"2\"")], None)
            .await
            .status,
        412
    );

    assert_eq!(
        service
            .send("DELETE", &path, &[("if-match", "\"3\"")], None)
            .await
            .status,
        204
    );
}

async fn a_patch_honours_if_none_match(dynamodb: Client) {
    let service = service(dynamodb).await;
    let path = format!("/products/{}", add_named(&service, "Lamp", None).await);
    let patch = async |tag: &str| {
        let body = Some(json!({"price_cents": 2}));
        let headers = [("if-none-match", tag)];
        service.send("PATCH", &path, &headers, body).await
    };

    for excluded in ["*", "\"1\"", "W/\"1\"", "\"7\", \"1\""] {
        let refused = patch(excluded).await;
        let reply = (refused.status.as_u16(), refused.blamed());
        assert_eq!(reply, (412, "If-None-Match"), "{excluded}");
    }

    assert_eq!(service.get(&path).await.body["version"], json!(1));
    assert_eq!(patch("\"2\", \"3\"").await.status, 200);
}

async fn concurrent_patches_are_all_applied(dynamodb: Client) {
    let service = service(dynamodb).await;
    let path = format!("/products/{}", add_named(&service, "Lamp", None).await);
    let patches = (0..30).map(|number| {
        let service = service.clone();
        let path = path.clone();
        let body = Some(json!({format!("attribute_{number}"): number}));
        tokio::spawn(async move { service.send("PATCH", &path, &[], body).await.status })
    });

    for patch in patches.collect::<Vec<_>>() {
        assert_eq!(patch.await.unwrap(), 200);
    }

    let shown = service.get(&path).await.body;
    assert_eq!(shown["version"], json!(31));
    assert!(
        (0..30).all(|number| shown[format!("attribute_{number}")] == json!(number)),
        "{shown}"
    );
}

async fn a_deleted_product_is_gone(dynamodb: Client) {
    let service = service(dynamodb).await;
    let path = format!("/products/{}", add_named(&service, "Lamp", None).await);
    assert_eq!(service.send("DELETE", &path, &[], None).await.status, 204);
    assert_eq!(service.send("DELETE", &path, &[], None).await.status, 404);

    assert_eq!(
        service
            .send("DELETE", &path, &[("if-match", "\"1\"")], None)
            .await
            .status,
        404
    );

    assert_eq!(service.get(&path).await.status, 404);
    assert_eq!(ids(&service.get("/products").await.body), [""; 0]);
}

async fn a_client_with_the_current_version_gets_304(dynamodb: Client) {
    let service = service(dynamodb).await;
    let path = format!("/products/{}", add_named(&service, "Lamp", None).await);
    let again = service
        .send("GET", &path, &[("if-none-match", "\"1\"")], None)
        .await;

    assert_eq!(
        (again.status.as_u16(), again.header("etag"), &again.body),
        (304, "\"1\"", &Value::Null)
    );

    assert_eq!(
        service
            .send("GET", &path, &[("if-none-match", "\"0\"")], None)
            .await
            .status,
        200
    );
}

async fn paths_and_queries_that_cannot_be_read_are_refused(dynamodb: Client) {
    let service = service(dynamodb).await;
    let blamed = async |path: &str| {
        let reply = service.get(path).await;
        (reply.status.as_u16(), reply.blamed().to_owned())
    };

    assert_eq!(blamed("/products/lamp").await, (400, "id".to_owned()));
    assert_eq!(blamed("/products?limit=0").await, (400, "limit".to_owned()));

    assert_eq!(
        blamed("/products?limit=101").await,
        (400, "limit".to_owned())
    );

    assert_eq!(
        blamed("/products?cursor=nonsense").await,
        (400, "cursor".to_owned())
    );

    assert_eq!(
        blamed(&format!("/products?category={}", "x".repeat(65))).await,
        (400, "category".to_owned())
    );
}

async fn a_product_with_an_id_of_the_callers_is_added_once(dynamodb: Client) {
    let service = service(dynamodb).await;
    let path = "/products/0199c82c-c001-7000-8000-000000000001";
    let lamp = |stock: u64| json!({"name": "Lamp", "price_cents": 1999, "stock": stock});
    let put = async |stock, headers: &[(&str, &str)]| {
        service.send("PUT", path, headers, Some(lamp(stock))).await
    };

    assert_eq!(put(3, &[]).await.status, 428);

    let added = put(3, &[("if-none-match", "*")]).await;
    assert_eq!(
        (added.status.as_u16(), &added.body["id"]),
        (201, &json!(&path["/products/".len()..]))
    );

    // The same product in the same millisecond would be taken for a request that is repeated.
    let another = put(4, &[("if-none-match", "*")]).await;
    assert_eq!(
        (another.status.as_u16(), another.blamed()),
        (412, "If-None-Match")
    );
    assert_eq!(service.get(path).await.body, added.body);
}
