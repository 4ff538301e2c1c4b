//! The OWASP API Security Top 10 of 2023, one test for each, against a whole platform with
//! authentication on.
//!
//! - This file tests the identity and the rights of callers (API1 to 3, API5).
//! - `resources` tests the limits on resources, and calls to other servers.
//! - `exposure` tests that replies reveal nothing internal.

mod exposure;
mod resources;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::shop::{PASSWORD, shop};

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
    let stranger = shop.stranger();
    let wrong = customer.log_in("wrong horse");

    assert_eq!(
        wrong.expect(401),
        stranger.log_in("wrong horse").expect(401),
        "the reply is the same with and without an account"
    );

    let weak = json!({"name": "Demo", "email": stranger.email, "password": "short"});
    stranger.post("/api/users", weak).expect(422);

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

    // A refresh token is used once. Its second use ends the session with the newer token as well.
    let renew = || customer.post("/api/users/refresh", json!({"refresh_token": refresh}));
    let second = renew().expect(200)["refresh_token"].take();
    renew().expect(401);
    customer
        .post("/api/users/refresh", json!({"refresh_token": second}))
        .expect(401);

    let mut victim = shop.customer();
    // From a new address: a client that has used the account before has a larger allowance.
    victim.move_on();
    let refused = (0..100).find(|_| victim.log_in("wrong horse").status == 429);
    assert!(refused.is_some_and(|guesses| guesses >= 10), "{refused:?}");
}

/// Returns tokens that must be refused: unsigned, changed or cut short, and a valid refresh token.
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
    assert_eq!(
        fields,
        [
            "created_at",
            "email",
            "id",
            "name",
            "phone",
            "verified_email"
        ]
    );
    customer.get("/api/users").expect(403);

    // A stated total is compared with the prices. It does not set the order's total.
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
        ("GET", "/api/notifications/account-mail", json!({})),
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
