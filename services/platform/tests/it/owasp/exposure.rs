//! API8 and API9: disclosures by errors, headers, ports and undescribed paths.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::shop::{Answer, Visitor, shop};

/// The operations that need no token. All other described operations do.
const PUBLIC: [&str; 9] = [
    "POST /api/users",
    "POST /api/users/login",
    "POST /api/users/refresh",
    "POST /api/users/logout",
    "POST /api/users/forgotten-password",
    "POST /api/users/password-reset",
    "GET /api/products",
    "GET /api/products/{id}",
    "GET /api/analytics/board",
];

#[test]
fn api8_security_misconfiguration() {
    let shop = shop();
    let customer = shop.customer();
    let stranger = shop.stranger();

    headers_protect(&stranger, &customer);
    origins_are_those_of_the_settings(&stranger);
    stranger
        .send("TRACE", "/api/products", json!({}))
        .expect(405);
    errors_reveal_nothing(&customer);
}

fn headers_protect(stranger: &Visitor, customer: &Visitor) {
    let page = stranger.get("/");
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("default-src 'none'")
    );

    for answer in [
        &page,
        &stranger.get("/api/products"),
        &stranger.get("/api/users"),
        &stranger.get("/nothing"),
    ] {
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{answer:?}"
        );
        assert_eq!(
            (answer.header("server"), answer.header("x-powered-by")),
            (None, None)
        );
    }

    for path in [
        format!("/api/users/{}", customer.id),
        "/api/orders".to_owned(),
        "/api/notifications".to_owned(),
    ] {
        let personal = customer.get(&path);
        assert_eq!(personal.status, 200, "{path}");
        assert_eq!(personal.header("cache-control"), Some("no-store"), "{path}");
    }
}

fn origins_are_those_of_the_settings(stranger: &Visitor) {
    let from = |origin| {
        Answer::to(
            stranger
                .request("GET", "/api/products")
                .header("origin", origin),
        )
    };

    assert_eq!(
        from("https://shop.example").header("access-control-allow-origin"),
        Some("https://shop.example")
    );

    for elsewhere in [
        "https://evil.example",
        "https://shop.example.evil.example",
        "null",
    ] {
        let allowed = from(elsewhere)
            .header("access-control-allow-origin")
            .map(str::to_owned);
        assert!(
            allowed.is_none_or(|origin| origin == "https://shop.example"),
            "{elsewhere}"
        );
    }
}

fn errors_reveal_nothing(customer: &Visitor) {
    let broken = customer
        .request("POST", "/api/orders")
        .header("content-type", "application/json")
        .body("{\"user_id\"");

    let odd = [
        Answer::to(broken),
        customer.get("/api/orders/%27%20OR%201%3D1"),
        customer.get("/api/orders?cursor=AAAA"),
        customer.get("/api/products/%00"),
        customer.send("PATCH", "/api/users/9223372036854775808", json!({})),
    ];

    for answer in odd {
        assert!((400..500).contains(&answer.status), "{answer:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{answer:?}"
        );

        for inside in ["src/", ".rs", "panicked", "sqlx", "SQL", "DynamoDB", "/tmp"] {
            assert!(!answer.text.contains(inside), "{inside}: {answer:?}");
        }
    }
}

#[test]
fn api9_improper_inventory_management() {
    let shop = shop();
    let document = shop.stranger().get("/openapi.json").expect(200);
    assert_eq!(document["x-missing"], json!([]));

    let mut open = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        // Each request has a visitor of its own, because an address has a rate limit.
        let answer = shop
            .stranger()
            .send(&method, &path.replace("{id}", "9"), json!({}));
        let name = format!("{method} {path}");

        if operation["security"] == json!([{"bearerAuth": []}]) {
            answer.expect(401);
        } else {
            assert_ne!(answer.status, 401, "{name}");
            open.insert(name);
        }
    }

    assert_eq!(open, PUBLIC.map(str::to_owned).into());
    let admin = shop.admin();
    let hidden = [
        "/api/products/reservations",
        "/api/products/reservations/x",
        "/api/users/metrics",
        "/api/users/account-mail/take",
        "/api/account-mail/take",
        "/account-mail/take",
        "/api/admin",
    ];

    for path in hidden.into_iter().chain([
        "/api/v1/users",
        "/api/metrics",
        "/metrics",
        "/api/users/.well-known/token-epochs.json",
        "/api/health",
        "/api/openapi.json",
        "/debug",
    ]) {
        let answer = admin.get(path);
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
    }
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, operation)| operation.get("responses").is_some());
        methods.map(move |(method, operation)| {
            (path.clone(), method.to_uppercase(), operation.clone())
        })
    });

    operations.collect()
}
