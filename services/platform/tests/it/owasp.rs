//! The OWASP API Security Top 10 of 2023, one test for each, against a whole platform that asks who calls.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::TcpListener;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::hostile::Hostile;
use crate::platform::Platform;
use crate::shop::{Answer, BURST, PASSWORD, shop};

/// What everybody may do. Whatever else is described asks for a token.
const PUBLIC: [&str; 6] = [
    "POST /api/users",
    "POST /api/users/login",
    "POST /api/users/refresh",
    "POST /api/users/logout",
    "GET /api/products",
    "GET /api/products/{id}",
];

/// Far more requests than the limit lets pass while they are sent one after the other.
const FLOOD: usize = 20 * BURST;

#[test]
fn api1_broken_object_level_authorization() {
    let shop = shop();
    let ada = shop.customer();
    let bob = shop.customer();
    let lamp = shop.product(9);
    let order = bob.order(&lamp, 1).expect(201)["id"].clone();
    let his = format!("/api/users/{}", bob.id);

    for path in [
        his.clone(),
        format!("/api/orders?user_id={}", bob.id),
        format!("/api/analytics/users/{}", bob.id),
    ] {
        ada.get(&path).expect(403);
        bob.get(&path).expect(200);
    }

    ada.get(&format!("/api/notifications?user_id={}", bob.id))
        .expect(403);
    ada.send("PATCH", &his, json!({"name": "Eve"})).expect(403);
    ada.send("DELETE", &his, json!({})).expect(403);

    let password = json!({"current_password": PASSWORD, "new_password": "battery staple"});
    ada.send("PUT", &format!("{his}/password"), password)
        .expect(403);

    let his_order = format!("/api/orders/{order}");
    ada.get(&his_order).expect(404);
    ada.send("PATCH", &his_order, json!({"status": "cancelled"}))
        .expect(404);

    let for_bob = json!({"user_id": bob.id, "items": [{"product_id": lamp, "quantity": 1}]});
    ada.post("/api/orders", for_bob).expect(403);
    assert_eq!(ada.get("/api/orders").expect(200)["items"], json!([]));
    assert_eq!(bob.get(&his_order).expect(200)["status"], "pending");
}

#[test]
fn api2_broken_authentication() {
    let shop = shop();
    let customer = shop.customer();
    let nobody = shop.stranger();
    let wrong = customer.log_in("wrong horse");

    assert_eq!(
        wrong.expect(401),
        nobody.log_in("wrong horse").expect(401),
        "nobody learns who has an account"
    );

    let weak = json!({"name": "Demo", "email": nobody.email, "password": "short"});
    nobody.post("/api/users", weak).expect(422);

    let mut tokens = customer.log_in(PASSWORD).expect(200);
    let access = tokens["access_token"].take();
    let refresh = tokens["refresh_token"].take();
    let path = format!("/api/users/{}", customer.id);

    for forged in forgeries(access.as_str().unwrap(), refresh.as_str().unwrap()) {
        let refused = shop.stranger().showing(&forged).get(&path);
        refused.expect(401);
        assert_eq!(
            refused.header("www-authenticate"),
            Some("Bearer error=\"invalid_token\""),
            "{forged}"
        );
    }

    let renew = || customer.post("/api/users/refresh", json!({"refresh_token": refresh}));
    let second = renew().expect(200)["refresh_token"].take();
    renew().expect(401);
    customer
        .post("/api/users/refresh", json!({"refresh_token": second}))
        .expect(401);

    let mut victim = shop.customer();
    victim.move_on(); // at home it may guess longer
    let refused = (0..100).find(|_| victim.log_in("wrong horse").status == 429);
    assert!(refused.is_some_and(|guesses| guesses >= 10), "{refused:?}");
}

/// Tokens that are none: unsigned, changed, cut short, and a good one of another kind.
fn forgeries(access: &str, refresh: &str) -> Vec<String> {
    let (head, signature) = access.rsplit_once('.').unwrap();
    let (header, payload) = head.split_once('.').unwrap();
    let mut claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    claims["roles"] = json!(["admin"]);

    let promoted = URL_SAFE_NO_PAD.encode(claims.to_string());
    let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt","kid":"x"}"#);
    vec![
        format!("{unsigned}.{promoted}."),
        format!("{unsigned}.{payload}.{signature}"),
        format!("{header}.{promoted}.{signature}"),
        format!("{header}.{payload}."),
        refresh.to_owned(),
    ]
}

#[test]
fn api3_broken_object_property_level_authorization() {
    let shop = shop();
    let customer = shop.customer();
    let lamp = shop.product(9);
    let own = format!("/api/users/{}", customer.id);

    for field in ["is_admin", "roles", "id", "password_hash", "created_at"] {
        customer
            .send("PATCH", &own, json!({ field: 1 }))
            .expect(422);
        let mut new = json!({"name": "Eve", "email": "eve@test.com", "password": PASSWORD});
        new[field] = json!(1);
        customer.post("/api/users", new).expect(422);
    }

    let shown = customer.get(&own).expect(200);
    let fields: Vec<&String> = shown.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["created_at", "email", "id", "name", "phone"]);
    customer.get("/api/users").expect(403);

    // A total may be stated; it is compared with the prices, and sets nothing.
    for (field, value, status) in [
        ("total_cents", json!(1), 409),
        ("status", json!("paid"), 422),
        ("currency", json!("XXX"), 422),
    ] {
        let mut order =
            json!({"user_id": customer.id, "items": [{"product_id": lamp, "quantity": 1}]});
        order[field] = value;
        customer.post("/api/orders", order).expect(status);
    }

    let priced = json!([{"product_id": lamp, "quantity": 1, "unit_price_cents": 1}]);
    customer
        .post(
            "/api/orders",
            json!({"user_id": customer.id, "items": priced}),
        )
        .expect(422);
}

#[test]
fn api4_unrestricted_resource_consumption() {
    let shop = shop();
    let customer = shop.customer();
    let lamp = shop.product(9);
    let large = customer
        .request("POST", "/api/orders")
        .body(vec![b' '; (1 << 20) + 1]);
    Answer::to(large.header("content-type", "application/json")).expect(413);
    customer.get("/api/products?limit=1000").expect(400);

    for _ in 0..10 {
        let unread = shop
            .stranger()
            .request("POST", "/api/orders")
            .body(vec![b' '; 900 << 10]);
        Answer::to(unread.header("content-type", "application/json")).expect(401);
    }

    let lines = vec![json!({"product_id": lamp, "quantity": 1}); 51];
    customer
        .post(
            "/api/orders",
            json!({"user_id": customer.id, "items": lines}),
        )
        .expect(422);

    let mut flooding = customer;
    let refused = (0..FLOOD).find_map(|_| {
        flooding.move_on();
        Some(flooding.get("/api/products")).filter(|answer| answer.status == 429)
    });
    let refused = refused.expect("an account has its limit, from however many addresses it comes");
    assert!(refused.header("retry-after").is_some());
    shop.customer().get("/api/products").expect(200);

    let stranger = shop.stranger();
    assert!(
        (0..FLOOD).any(|_| stranger.get("/api/products").status == 429),
        "and so has an address without one"
    );
}

#[test]
fn api5_broken_function_level_authorization() {
    let shop = shop();
    let admin = shop.admin();
    let customer = shop.customer();
    let stranger = shop.stranger();
    let lamp = shop.product(9);
    let product = format!("/api/products/{lamp}");
    let order = format!("/api/orders/{}", customer.order(&lamp, 1).expect(201)["id"]);

    let functions = [
        (
            "POST",
            "/api/products",
            json!({"name": "Lamp", "price_cents": 1}),
        ),
        ("PATCH", &product, json!({"price_cents": 1})),
        ("PATCH", &order, json!({"status": "paid"})),
        ("GET", "/api/users", json!({})),
        ("GET", "/api/analytics/summary", json!({})),
        ("GET", "/api/analytics/recent", json!({})),
        ("DELETE", &product, json!({})),
    ];

    for (method, path, body) in functions {
        stranger.send(method, path, body.clone()).expect(401);
        customer.send(method, path, body.clone()).expect(403);
        let answer = admin.send(method, path, body);

        assert!(
            (200..300).contains(&answer.status),
            "{method} {path}: {answer:?}"
        );
    }
}

#[test]
fn api6_unrestricted_access_to_sensitive_business_flows() {
    let shop = shop();
    let customer = shop.customer();
    let lamp = shop.product(5);
    customer.order(&lamp, 10_001).expect(422);
    customer.order(&lamp, 6).expect(409);

    let basket = json!({"key": "hoard", "items": [{"product_id": lamp, "quantity": 5}]});
    customer
        .post("/api/products/reservations", basket.clone())
        .expect(404);

    let direct = format!("{}/products/reservations", shop.service("products"));
    customer.post(&direct, basket.clone()).expect(403);
    shop.stranger().post(&direct, basket).expect(401);

    let order = json!({"user_id": customer.id, "items": [{"product_id": lamp, "quantity": 2}]});
    let twins = [(); 2].map(|()| {
        let request = customer
            .request("POST", "/api/orders")
            .header("idempotency-key", "once")
            .json(&order);
        Answer::to(request).expect(201)
    });
    assert_eq!(twins[0], twins[1]);

    let product = format!("/api/products/{lamp}");
    assert_eq!(customer.get(&product).expect(200)["stock"], 3);
    let path = format!("/api/orders/{}", twins[0]["id"]);
    customer
        .send("PATCH", &path, json!({"status": "paid"}))
        .expect(403);
    customer
        .send("PATCH", &path, json!({"status": "cancelled"}))
        .expect(200);
    customer.get_until(&product, |product| product["stock"] == 5);
}

#[test]
fn api7_server_side_request_forgery() {
    let shop = shop();
    let admin = shop.admin();
    let customer = shop.customer();
    let canary = TcpListener::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();

    let bait = format!("http://{}/bait", canary.local_addr().unwrap());
    let new = json!({"name": bait, "price_cents": 5, "stock": 9, "image_url": bait, "webhook": {"url": bait}});
    let product = admin.post("/api/products", new).expect(201);
    assert_eq!(product["image_url"], json!(bait), "kept as given");

    admin
        .send(
            "PATCH",
            &format!("/api/users/{}", customer.id),
            json!({"name": bait}),
        )
        .expect(200);

    customer
        .get(&format!("/api/products?category={bait}"))
        .expect(200);

    let headers = customer
        .request("GET", "/api/products")
        .header("x-forwarded-host", &bait)
        .header("referer", &bait);
    Answer::to(headers).expect(200);
    customer
        .order(product["id"].as_str().unwrap(), 1)
        .expect(201);

    // When the customer was notified, everybody has seen the order.
    customer.get_until("/api/notifications", |list| {
        list["items"]
            .as_array()
            .is_some_and(|items| !items.is_empty())
    });

    assert_eq!(
        canary.accept().unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "somebody took the bait"
    );
}

#[test]
fn api8_security_misconfiguration() {
    let shop = shop();
    let customer = shop.customer();
    let stranger = shop.stranger();
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

    stranger
        .send("TRACE", "/api/products", json!({}))
        .expect(405);

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
        // A visitor for each, for an address has its limit.
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

#[test]
fn api10_unsafe_consumption_of_apis() {
    let hostile = Hostile::start();
    let url = hostile.url();
    let keys = format!("--jwks-url={url}/moved");
    let upstreams = ["users", "products", "orders", "notifications", "analytics"];
    let upstreams = upstreams.map(|name| format!("--gateway-{name}-url={url}"));

    let mut arguments = vec![
        "--auth",
        "enforced",
        &keys,
        "--gateway-account-rate-limit",
        "1000",
    ];
    arguments.extend(upstreams.iter().map(String::as_str));

    let gateway = Platform::start_alone("gateway", &arguments);
    let token = format!(
        "{}.e30.e30",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"x"}"#)
    );
    let ask = |path: &str| Answer::to(gateway.client.get(gateway.url(path)).bearer_auth(&token));

    assert_eq!(
        ask("/api/orders/moved").status,
        302,
        "a redirect is the client's to follow"
    );

    assert!(
        ask("/openapi.json").expect(200)["x-missing"]
            .as_array()
            .unwrap()
            .len()
            >= 5,
        "garbage is no description"
    );

    assert_eq!(ask("/api/orders/garbage").status, 502);
    assert_eq!(ask("/api/orders/silence").status, 502);
    assert_eq!(
        (hostile.asked("/moved"), hostile.asked("/lure")),
        (1, 0),
        "keys are asked for, and no detour is made"
    );
}
