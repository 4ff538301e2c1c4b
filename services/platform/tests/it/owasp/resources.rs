//! API4, API6, API7 and API10: resources that callers use up, and data from other servers.

use std::io::ErrorKind;
use std::net::TcpListener;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::hostile::Hostile;
use crate::platform::Platform;
use crate::shop::{Answer, BURST, shop};

/// Far more requests than the limit admits while they are sent one after the other.
const FLOOD: usize = 20 * BURST;

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

    // The notification shows that the services have processed the order.
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
