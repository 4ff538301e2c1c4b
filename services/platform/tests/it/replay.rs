//! Messages whose delivery was given up are sent again from the command line.

use std::net::TcpListener;

use serde_json::json;

use crate::platform::{Platform, run, wait_until};
use crate::shop::{ADMIN, Answer, PASSWORD};

const SECRET: &str = "a secret of these tests and no others";

/// Runs the command; returns whether it succeeded, and its output.
fn replay(platform: &Platform, arguments: &[&str]) -> (bool, String) {
    let url = platform.url_of("notifications");
    let output = run(&[&["notifications", "replay", "--url", url], arguments].concat());
    let said = if output.status.success() {
        output.stdout
    } else {
        output.stderr
    };
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// Places an order whose message cannot be sent, and waits until the message is given up.
fn give_up_a_message(platform: &Platform) {
    let (_, mut tokens) = platform.post(
        "/api/users/login",
        &json!({"email": ADMIN, "password": PASSWORD}),
    );
    let token = tokens["access_token"].take();

    let ask = |path: &str| {
        platform
            .client
            .get(platform.url(path))
            .bearer_auth(token.as_str().unwrap())
    };

    let tell = |path: &str| {
        platform
            .client
            .post(platform.url(path))
            .bearer_auth(token.as_str().unwrap())
    };

    let lamp = Answer::to(
        tell("/api/products").json(&json!({"name": "Lamp", "price_cents": 1999, "stock": 5})),
    );
    let items = json!([{"product_id": lamp.expect(201)["id"], "quantity": 1}]);
    let admin = &Answer::to(ask("/api/users")).expect(200)["items"][0]["id"];
    Answer::to(tell("/api/orders").json(&json!({"user_id": admin, "items": items}))).expect(201);
    wait_until("the order's message is given up", || {
        Answer::to(ask("/api/notifications")).expect(200)["items"][0]["status"] == "dead"
    });
}

#[test]
fn what_was_given_up_is_sent_again_by_whoever_has_the_secret() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mail = format!("--notifications-email=smtp://{nobody}");
    let access = ["--auth", "enforced", "--service-secret", SECRET];

    let admin = [
        "--users-admin-email",
        ADMIN,
        "--users-admin-password",
        PASSWORD,
    ];

    let platform = Platform::start(
        &[
            &["--ephemeral", &mail, "--notifications-attempts", "1"][..],
            &access,
            &admin,
        ]
        .concat(),
    );
    platform.wait_until_healthy();

    give_up_a_message(&platform);

    let (done, said) = replay(&platform, &[]);
    assert!(!done && said.contains("--service-secret"), "{said}");
    let (done, said) = replay(
        &platform,
        &["--service-secret", "the secret of quite another platform"],
    );
    assert!(!done && said.contains("--service-secret"), "{said}");

    let with_secret = ["--service-secret", SECRET];
    assert_eq!(
        replay(&platform, &with_secret),
        (true, "1 message is on the way again\n".to_owned())
    );

    let unknown = "0198c0de-0000-7000-8000-000000000000";
    let (done, said) = replay(&platform, &[&[unknown][..], &with_secret].concat());
    assert!(
        !done && said.contains("there is no such notification"),
        "{said}"
    );
}

#[test]
fn a_missing_service_is_named_with_its_flag() {
    let output = run(&["notifications", "replay", "--url", "http://127.0.0.1:1"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("http://127.0.0.1:1") && said.contains("--url"),
        "{said}"
    );
}
