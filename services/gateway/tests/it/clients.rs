//! The rate limits of addresses, accounts and sign-ups, and the origins whose pages may call.

use std::num::NonZeroU32;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use chassis::auth::Auth;
use reqwest::Method;
use testbed::Identities;

use crate::{Gateway, config, problem, upstream};

/// Far more requests than a limit of one a second admits, even on a slow machine.
const PLENTY: u8 = 50;

/// Starts a gateway before an orders service that replies with the `X-Forwarded-For` header that it received.
async fn gateway(change: impl FnOnce(&mut gateway::Config)) -> Gateway {
    let chain =
        get(async |headers: HeaderMap| headers["x-forwarded-for"].to_str().unwrap().to_owned());

    let mut config = config();
    config.orders_url = upstream(Router::new().route("/orders", chain))
        .await
        .parse()
        .unwrap();

    change(&mut config);
    Gateway::start(config).await
}

#[tokio::test]
async fn an_address_beyond_its_limit_gets_429_and_still_the_pages() {
    let gateway = gateway(|config| {
        config.rate_limit = Some(NonZeroU32::MIN);
        config.rate_burst = NonZeroU32::new(3);
    })
    .await;

    for _ in 0..3 {
        assert_eq!(gateway.get("/api/orders").await.status(), 200);
    }

    let refused = gateway.get("/api/orders").await;
    assert_eq!(refused.headers()["retry-after"], "1");
    problem(refused, 429).await;

    assert_eq!(gateway.get("/").await.status(), 200);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_limit() {
    let gateway = gateway(|config| {
        config.rate_limit = Some(NonZeroU32::MIN);
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;

    let ask = |chain: &str| {
        gateway
            .request(Method::GET, "/api/orders")
            .header("x-forwarded-for", chain)
            .send()
    };

    let first = ask("198.51.100.1").await.unwrap();
    assert_eq!(first.text().await.unwrap(), "198.51.100.1, 127.0.0.1");
    assert_eq!(ask("198.51.100.2").await.unwrap().status(), 200);

    assert_eq!(
        ask("203.0.113.77, 198.51.100.2").await.unwrap().status(),
        429,
        "the requests are not counted by an address that the client invents"
    );
}

#[tokio::test]
async fn an_account_has_one_limit_for_all_its_addresses() {
    let identities = Identities::default();
    let orders = Router::new().route("/orders", get("orders"));
    let config = gateway::Config {
        orders_url: upstream(orders).await.parse().unwrap(),
        account_rate_limit: Some(NonZeroU32::MIN),
        account_rate_burst: NonZeroU32::new(2),
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..config()
    };
    let gateway = Gateway::start_knowing(config, identities.auth.clone()).await;

    let ask = async |from: &str, token: &str| {
        let request = gateway
            .request(Method::GET, "/api/orders")
            .header("x-forwarded-for", from)
            .bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };

    let ada = identities.user(1);
    let bob = identities.user(2);
    let mut seen = Vec::new();

    for number in 0..PLENTY {
        seen.push(ask(&format!("198.51.100.{number}"), &ada).await);
    }

    assert!(
        seen[0] == 200 && seen.contains(&429),
        "requests of an account count from any address: {seen:?}"
    );

    assert_eq!(
        ask("198.51.100.0", &bob).await,
        200,
        "another account at the same address has its own limit"
    );

    let mut seen = Vec::new();
    for number in 0..PLENTY {
        seen.push(ask("203.0.113.9", &format!("forged {number}")).await);
    }

    assert!(
        seen[0] == 200 && seen.contains(&429),
        "requests without a valid token count by address: {seen:?}"
    );
}

/// Starts a gateway that authenticates callers by `auth`, before a users service that accepts every request.
async fn before_users(sign_up_limit: Option<u32>, auth: Auth) -> Gateway {
    let users = Router::new()
        .route("/users", get("users").post("welcome"))
        .route("/users/login", post("welcome"));
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let users_url = upstream(users).await.parse().unwrap();

    Gateway::start_knowing(
        gateway::Config {
            users_url,
            sign_up_limit,
            trusted_proxies,
            ..config()
        },
        auth,
    )
    .await
}

/// Sends `count` requests from the address `from`, and returns the statuses of the replies.
async fn statuses(
    gateway: &Gateway,
    count: u8,
    method: Method,
    path: &str,
    from: &str,
) -> Vec<u16> {
    let mut seen = Vec::new();
    for _ in 0..count {
        let request = gateway
            .request(method.clone(), path)
            .header("x-forwarded-for", from);
        seen.push(request.send().await.unwrap().status().as_u16());
    }

    seen
}

#[tokio::test]
async fn an_address_beyond_its_sign_ups_may_still_log_in_and_read() {
    let gateway = before_users(Some(3), Identities::default().auth).await;
    let ada = "198.51.100.1";
    assert_eq!(
        statuses(&gateway, 4, Method::POST, "/api/users", ada).await,
        [200, 200, 200, 429]
    );

    let refused = gateway
        .request(Method::POST, "/api/users")
        .header("x-forwarded-for", ada)
        .send()
        .await
        .unwrap();

    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();

    assert!(
        (1_000..=1_200).contains(&wait),
        "the wait is a third of an hour, not {wait} s"
    );

    assert_eq!(
        problem(refused, 429).await,
        "too many sign-ups from this address"
    );

    assert_eq!(
        statuses(&gateway, 4, Method::POST, "/api/users/login", ada).await,
        [200; 4]
    );

    assert_eq!(
        statuses(&gateway, 4, Method::GET, "/api/users", ada).await,
        [200; 4]
    );

    assert_eq!(
        statuses(&gateway, 1, Method::POST, "/api/users", "198.51.100.2").await,
        [200],
        "another address"
    );
}

#[tokio::test]
async fn without_a_setting_sign_ups_are_limited_if_callers_log_in() {
    let enforced = before_users(None, Identities::default().auth).await;
    let seen = statuses(&enforced, 70, Method::POST, "/api/users", "198.51.100.1").await;
    assert_eq!((seen[59], seen[69]), (200, 429));

    for (limit, auth) in [(None, Auth::open()), (Some(0), Identities::default().auth)] {
        let unlimited = before_users(limit, auth).await;
        let seen = statuses(&unlimited, 70, Method::POST, "/api/users", "198.51.100.1").await;
        assert_eq!(seen, [200; 70]);
    }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_call_and_another_may_not() {
    let gateway =
        gateway(|config| config.allowed_origins = vec!["https://shop.example".parse().unwrap()])
            .await;

    let preflight = |origin: &str| {
        let request = gateway
            .request(Method::OPTIONS, "/api/orders")
            .header("origin", origin);
        let request = request.header("access-control-request-method", "POST");

        request
            .header(
                "access-control-request-headers",
                "content-type,idempotency-key",
            )
            .send()
    };

    let allowed = preflight("https://shop.example").await.unwrap();
    assert_eq!(allowed.status(), 200);

    assert_eq!(
        allowed.headers()["access-control-allow-origin"],
        "https://shop.example"
    );

    assert!(
        allowed.headers()["access-control-allow-headers"]
            .to_str()
            .unwrap()
            .contains("idempotency-key")
    );

    let other = preflight("https://elsewhere.example").await.unwrap();
    assert!(!other.headers().contains_key("access-control-allow-origin"));
    assert_eq!(
        gateway.get("/api/orders").await.text().await.unwrap(),
        "127.0.0.1"
    );
}

#[tokio::test]
async fn without_the_setting_no_other_origin_is_allowed() {
    let gateway = gateway(|_| {}).await;
    let request = gateway
        .request(Method::OPTIONS, "/api/orders")
        .header("origin", "https://shop.example");

    let refused = request
        .header("access-control-request-method", "GET")
        .send()
        .await
        .unwrap();

    assert!(
        !refused
            .headers()
            .contains_key("access-control-allow-origin")
    );
    problem(refused, 405).await;
}
