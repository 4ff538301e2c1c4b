//! Services that run apart, each in a process of its own.

use serde_json::{Value, json};

use crate::platform::Platform;
use crate::shop::{ADMIN, Answer, PASSWORD};

const SECRET: &str = "a secret of these tests and no others";

/// Starts a service that authenticates its callers, and waits until it is ready.
fn start(service: &str, secret: &str, arguments: &[&str]) -> Platform {
    let enforced = [
        "--ephemeral",
        "--auth",
        "enforced",
        "--service-secret",
        secret,
    ];
    let running = Platform::start_alone(service, &[&enforced, arguments].concat());
    running.wait_for(service);

    running
}

fn post(service: &Platform, url: &str, token: Option<&str>, body: &Value) -> Answer {
    let request = service.client.post(url).json(body);
    Answer::to(match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    })
}

#[test]
fn services_verify_tokens_by_published_keys_and_share_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("--mysql=sqlite://{}/shop.sqlite", folder.path().display());
    let admin = [
        "--users-admin-email",
        ADMIN,
        "--users-admin-password",
        PASSWORD,
    ];

    let users = start(
        "users",
        SECRET,
        &[&[database.as_str()][..], &admin].concat(),
    );
    let users_url = users.url_of("users");
    let keys = format!("--jwks-url={users_url}/.well-known/jwks.json");
    let products = start("products", SECRET, &[&keys, "--demo=false"]);
    let catalogue = format!("{}/products", products.url_of("products"));

    let login = json!({"email": ADMIN, "password": PASSWORD});
    let mut tokens = post(&users, &format!("{users_url}/users/login"), None, &login).expect(200);
    let token = tokens["access_token"].take();
    let lamp = json!({"name": "Lamp", "price_cents": 1999, "stock": 5});
    post(&products, &catalogue, None, &lamp).expect(401);

    let lamp = post(&products, &catalogue, token.as_str(), &lamp).expect(201)["id"].take();

    let list = users.client.get(format!("{users_url}/users"));
    let listed = Answer::to(list.bearer_auth(token.as_str().unwrap())).expect(200);
    let admin = &listed["items"][0]["id"];
    let order = json!({"user_id": admin, "items": [{"product_id": lamp, "quantity": 1}]});
    let upstream = format!("--orders-products-url={}", products.url_of("products"));
    for (secret, status) in [
        (SECRET, 201),
        ("another secret, which nobody else knows", 503),
    ] {
        let orders = start("orders", secret, &[&database, &keys, &upstream]);
        let url = format!("{}/orders", orders.url_of("orders"));
        post(&orders, &url, token.as_str(), &order).expect(status);
        post(&orders, &url, None, &order).expect(401);
    }
}
