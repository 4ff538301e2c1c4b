//! It serves, keeps what it was told through a kill, and stops when asked.

use std::time::Duration;

use serde_json::json;

use crate::platform::Platform;

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
