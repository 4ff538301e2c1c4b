//! The whole platform serves, keeps its data through a kill, and stops on request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::platform::{Platform, run, wait_until};

const STOP_LIMIT: Duration = Duration::from_secs(5);

#[test]
fn everything_starts_serves_and_stops_on_ctrl_c() {
    let platform = Platform::start(&["--ephemeral"]);
    platform.wait_until_healthy();
    let (status, health) = platform.get("/health");
    assert_eq!((status, &health["status"]), (200, &json!("ok")), "{health}");

    let (status, user) = platform.post(
        "/api/users",
        &json!({"name": "Demo User", "email": "demo@test.com"}),
    );

    assert_eq!(
        (status, &user["email"]),
        (201, &json!("demo@test.com")),
        "{user}"
    );

    for path in [
        "/api/users",
        "/api/products",
        "/api/orders",
        "/api/notifications",
        "/api/analytics/recent",
        "/api/files",
    ] {
        let (status, list) = platform.get(path);
        assert!(
            status == 200 && list["items"].is_array(),
            "{path}: {status} {list}"
        );
    }

    let (status, file) = platform.post("/api/files?name=list.json", &json!([{"a": 1}, {"a": 2}]));
    assert_eq!(
        (status, &file["status"]),
        (202, &json!("waiting")),
        "{file}"
    );

    let file = platform.get_when(
        &format!("/api/files/{}", file["id"].as_str().unwrap()),
        "status",
        &json!("processed"),
    );
    assert_eq!(file["summary"]["rows"], 2, "{file}");

    let (status, took) = platform.signal("INT");
    assert!(
        status.success() && took < STOP_LIMIT,
        "{status} after {took:?}"
    );
}

#[test]
fn it_stops_in_time_and_without_a_panic_while_orders_pour_in() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let errors = std::fs::File::create(&log).unwrap();
    let platform = Platform::start_writing(&["--ephemeral"], errors.into());
    platform.wait_until_healthy();
    let user = json!({"name": "Demo User", "email": "demo@test.com"});
    let user = platform.post("/api/users", &user).1["id"].clone();
    let lamp = json!({"name": "Lamp", "price_cents": 5, "stock": 1_000_000});
    let lamp = platform.post("/api/products", &lamp).1["id"].clone();

    let order = json!({"user_id": user, "items": [{"product_id": lamp, "quantity": 1}]});
    let url = platform.url("/api/orders");
    let accepted = Arc::new(AtomicUsize::new(0));
    let customers: Vec<_> = (0..16)
        .map(|_| {
            let client = platform.client.clone();
            let order = order.clone();
            let url = url.clone();
            let accepted = Arc::clone(&accepted);
            std::thread::spawn(move || {
                // The loop ends when the platform does.
                while let Ok(answer) = client.post(&url).json(&order).send() {
                    let is_accepted = answer.status() == 201;
                    accepted.fetch_add(usize::from(is_accepted), Ordering::Relaxed);
                }
            })
        })
        .collect();

    wait_until("orders pour in", || accepted.load(Ordering::Relaxed) > 30);
    let (status, took) = platform.signal("INT");
    for customer in customers {
        customer.join().unwrap();
    }

    let written = std::fs::read_to_string(&log).unwrap();
    assert!(!written.contains("panicked"), "{written}");
    assert!(
        status.success() && took < STOP_LIMIT,
        "{status} after {took:?}: {written}"
    );
}

#[test]
fn it_stops_on_terminate_even_before_it_is_ready() {
    let (status, took) = Platform::start(&["--ephemeral"]).signal("TERM");
    assert!(
        status.success() && took < STOP_LIMIT,
        "{status} after {took:?}"
    );
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--data", folder.path().to_str().unwrap()];
    let platform = Platform::start(&arguments);
    platform.wait_until_healthy();

    let (_, user) = platform.post(
        "/api/users",
        &json!({"name": "Ada", "email": "ada@test.com"}),
    );

    let (_, product) = platform.post(
        "/api/products",
        &json!({"name": "Kite", "price_cents": 1999, "stock": 5}),
    );

    platform.signal("KILL");

    let platform = Platform::start(&arguments);
    platform.wait_until_healthy();
    assert_eq!(
        platform.get(&format!("/api/users/{}", user["id"])),
        (200, user)
    );

    let path = format!("/api/products/{}", product["id"].as_str().unwrap());
    assert_eq!(platform.get(&path), (200, product));
}

#[test]
fn simulated_customers_order_and_refill_what_they_empty() {
    let platform = Platform::start(&["--ephemeral", "--demo-load", "1200"]);
    platform.wait_until_healthy();

    let orders = || platform.get("/api/orders?limit=100").1["items"].clone();
    wait_until("orders are placed", || {
        orders().as_array().unwrap().len() > 3
    });

    let stocks = || -> Vec<(String, i64)> {
        let (_, products) = platform.get("/api/products?limit=100");
        let stock = |product: &Value| {
            let id = product["id"].as_str()?.to_owned();
            Some((id, product["stock"].as_i64()?))
        };
        products["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(stock)
            .collect()
    };
    let sold_down = stocks().first().unwrap().0.clone();
    let (status, product) =
        platform.patch(&format!("/api/products/{sold_down}"), &json!({"stock": 1}));
    assert_eq!(status, 200, "{product}");
    wait_until("the product is refilled", || {
        stocks()
            .iter()
            .any(|(id, stock)| *id == sold_down && *stock > 10)
    });

    let (_, users) = platform.get("/api/users?limit=100");
    let addresses: Vec<_> = users["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["email"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        !addresses.is_empty() && addresses.iter().all(|it| it.ends_with("@demo.example")),
        "{addresses:?}"
    );

    let (status, took) = platform.signal("INT");
    assert!(
        status.success() && took < STOP_LIMIT,
        "{status} after {took:?}"
    );
}

#[test]
fn simulated_customers_are_refused_where_callers_authenticate() {
    let output = run(&["--ephemeral", "--auth", "enforced", "--demo-load", "20"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("--auth open"),
        "{said}"
    );
}

/// The job counts orders, and the analytics service finds the same orders in the log by its own reading.
#[test]
fn every_count_is_explained_by_the_orders_behind_it() {
    let platform = Platform::start(&["--ephemeral", "--window", "1s", "--demo", "false"]);
    platform.wait_until_healthy();
    let user = json!({"name": "Demo User", "email": "demo@test.com"});
    let user = platform.post("/api/users", &user).1["id"].clone();
    let lamp = json!({"name": "Lamp", "price_cents": 5, "stock": 1_000});
    let lamp = platform.post("/api/products", &lamp).1["id"].clone();

    let order = json!({"user_id": user, "items": [{"product_id": lamp, "quantity": 1}]});
    let mut placed: Vec<Value> = (0..20)
        .map(|_| {
            let (status, order) = platform.post("/api/orders", &order);
            assert_eq!(status, 201, "{order}");
            order["id"].clone()
        })
        .collect();

    let counts = format!("/api/analytics/users/{user}?limit=100");
    let counted = || platform.get(&counts).1["items"].as_array().unwrap().clone();
    wait_until("all orders are counted", || {
        let counts = counted();
        let numbers = counts.iter().map(|count| count["order_count"].as_u64());
        numbers.map(Option::unwrap).sum::<u64>() == 20
    });

    let mut explained = Vec::new();
    for count in counted() {
        let window = count["window_start"].as_str().unwrap();
        let path = format!("/api/analytics/explain?user={user}&window={window}");
        let (status, explanation) = platform.get(&path);
        assert_eq!(status, 200, "{explanation}");
        assert_eq!(explanation["agrees"], true, "{explanation}");
        assert_eq!(explanation["published"]["id"], count["id"]);

        let items = explanation["items"].as_array().unwrap();
        explained.extend(items.iter().map(|item| item["order_id"].clone()));
    }

    let number = |id: &Value| id.as_u64();
    placed.sort_by_key(number);
    explained.sort_by_key(number);
    assert_eq!(explained, placed);
}
