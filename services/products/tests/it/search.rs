//! Searching the catalogue over HTTP, on both kinds of DynamoDB.

use aws_sdk_dynamodb::Client;
use serde_json::{Value, json};
use testbed::TestClient;

use crate::{add, service};

testbed::on_both_dynamodbs!(
    a_catalogue_longer_than_any_page_is_searched_as_a_whole,
    what_is_written_is_found_as_it_is_now,
    a_catalogue_that_others_wrote_is_searched,
    a_list_that_the_caller_has_is_not_sent_again,
    what_cannot_be_searched_is_refused_by_parameter,
    prices_are_compared_within_one_currency,
);

async fn names(service: &TestClient, query: &str) -> Vec<String> {
    let page = service.get(&format!("/products?{query}")).await.body;
    let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
    items
        .iter()
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn a_catalogue_longer_than_any_page_is_searched_as_a_whole(dynamodb: Client) {
    let service = service(dynamodb).await;
    for number in 0..130 {
        let category = ["Home", "Desk"][number % 2];
        add(&service, json!({"name": format!("Widget number{number}"), "price_cents": number, "category": category})).await;
    }

    for number in [0, 64, 129] {
        let found = names(&service, &format!("q=widget%20number{number}&limit=1")).await;
        assert_eq!(found, [format!("Widget number{number}")]);
    }

    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path =
            format!("/products?q=WIDGET&category=Desk&price=10-&sort=dearest&limit=25{cursor}");
        let page = service.get(&path).await.body;
        assert_eq!(page["total"], 60);

        assert_eq!(
            page["categories"],
            json!([{"name": "Desk", "count": 60}, {"name": "Home", "count": 60}])
        );

        found.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["price_cents"].as_u64().unwrap()),
        );

        let Some(next) = page["next"].as_str() else {
            break;
        };

        cursor = format!("&cursor={next}");
    }

    let expected: Vec<u64> = (10..130).rev().filter(|price| price % 2 == 1).collect();
    assert_eq!(found, expected);
}

async fn what_is_written_is_found_as_it_is_now(dynamodb: Client) {
    let service = service(dynamodb).await;
    assert_eq!(names(&service, "q=cafe").await, [""; 0]);
    let product = add(
        &service,
        json!({"name": "Café crème", "price_cents": 300, "category": "Food"}),
    )
    .await;

    for query in ["cafe", "CAF%C3%89", "caf%C3%A9%20creme", "creem", "food"] {
        assert_eq!(
            names(&service, &format!("q={query}")).await,
            ["Café crème"],
            "{query}"
        );
    }

    let path = format!("/products/{}", product["id"].as_str().unwrap());
    service
        .send("PATCH", &path, &[], Some(json!({"name": "Tea"})))
        .await;

    assert_eq!(names(&service, "q=cafe").await, [""; 0]);
    assert_eq!(names(&service, "q=tea").await, ["Tea"]);
    service.send("DELETE", &path, &[], None).await;

    assert_eq!(names(&service, "sort=name").await, [""; 0]);
}

async fn a_catalogue_that_others_wrote_is_searched(dynamodb: Client) {
    let writer = service(dynamodb.clone()).await;
    for number in 0..120 {
        add(
            &writer,
            json!({"name": format!("Lamp {number}"), "price_cents": 1}),
        )
        .await;
    }

    let reader = service(dynamodb).await;
    let page = reader.get("/products?q=lamp").await.body;
    assert_eq!(
        (&page["total"], page["items"].as_array().unwrap().len()),
        (&json!(120), 20)
    );
}

async fn a_list_that_the_caller_has_is_not_sent_again(dynamodb: Client) {
    let service = service(dynamodb).await;
    add(&service, json!({"name": "Lamp", "price_cents": 1})).await;
    for path in [
        "/products",
        "/products?q=lamp",
        "/products?category=x",
        "/products?sort=name",
    ] {
        let list = service.get(path).await;
        assert_eq!(list.header("cache-control"), "no-cache", "{path}");
        let tag = list.header("etag").to_owned();

        let again = service
            .send(
                "GET",
                path,
                &[("if-none-match", &format!("\"x\", {tag}"))],
                None,
            )
            .await;

        assert_eq!(
            (again.status.as_u16(), again.header("etag")),
            (304, tag.as_str()),
            "{path}"
        );
    }

    let tag = service
        .get("/products?q=lamp")
        .await
        .header("etag")
        .to_owned();

    add(&service, json!({"name": "Lamp II", "price_cents": 1})).await;
    let changed = service
        .send("GET", "/products?q=lamp", &[("if-none-match", &tag)], None)
        .await;
    assert_eq!(changed.status.as_u16(), 200);
}

async fn what_cannot_be_searched_is_refused_by_parameter(dynamodb: Client) {
    let service = service(dynamodb).await;
    let long = "x".repeat(201);
    let refused = [
        ("price=", "price"),
        ("price=5", "price"),
        ("price=-", "price"),
        ("price=9-1", "price"),
        ("price=1.5-2", "price"),
        ("price=a-b", "price"),
        ("price=1-99999999999999999999", "price"),
        ("price=%2B1-2", "price"),
        ("currency=", "currency"),
        ("currency=eur", "currency"),
        ("price=1-2&currency=XXX", "currency"),
        ("sort=price", "sort"),
        ("sort=", "sort"),
        ("q=a&cursor=x", "cursor"),
        ("sort=name&category=", "category"),
        (&format!("q={long}"), "q"),
    ];

    for (query, field) in refused {
        let reply = service.get(&format!("/products?{query}")).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body["field"]),
            (400, &json!(field)),
            "{query}"
        );
    }

    for (query, field) in [
        ("query=lamp", "query"),
        ("q=lamp&page=2", "page"),
        ("Limit=1", "Limit"),
    ] {
        let reply = service.get(&format!("/products?{query}")).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body["field"]),
            (400, &json!(field)),
            "{query}"
        );
    }

    assert_eq!(
        service.get("/products?q=").await.body["items"],
        Value::Array(vec![])
    );
}

async fn prices_are_compared_within_one_currency(dynamodb: Client) {
    let service = service(dynamodb).await;
    for (name, price, currency) in [
        ("Lamp", 1500, "JPY"),
        ("Desk lamp", 1500, "EUR"),
        ("Pen", 900, "EUR"),
        ("Rug", 1400, "EUR"),
    ] {
        add(
            &service,
            json!({"name": name, "price_cents": price, "currency": currency}),
        )
        .await;
    }

    // 1,500 yen are not 15 euros.
    for query in ["price=1000-2000", "q=lamp&price=-2000&sort=cheapest"] {
        let refused = service.get(&format!("/products?{query}")).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.body["field"]),
            (400, &json!("currency")),
            "{query}"
        );
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("EUR, JPY"), "{detail}");
        assert!(detail.ends_with("add currency=EUR"), "{detail}");
    }

    let cheap = "price=1000-2000&sort=cheapest&currency=";
    assert_eq!(
        names(&service, &format!("{cheap}EUR")).await,
        ["Rug", "Desk lamp"]
    );
    assert_eq!(names(&service, &format!("{cheap}JPY")).await, ["Lamp"]);
    assert_eq!(
        names(&service, &format!("{cheap}USD")).await,
        Vec::<String>::new()
    );

    // If all matches have one currency, it need not be named.
    assert_eq!(names(&service, "q=pen&price=-1000").await, ["Pen"]);
    assert_eq!(names(&service, "q=lamp&currency=JPY").await, ["Lamp"]);
}
