//! The rights of callers if they must authenticate.

use std::sync::Arc;

use analytics::{Config, Parts, Service};
use aws_sdk_dynamodb::Client;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use chassis::auth::Auth;
use chassis::{Metrics, Shutdown};
use testbed::description::{assert_guarded, description};
use testbed::{Identities, TestClient};

use crate::log;

testbed::on_both_dynamodbs!(counts_of_a_user_are_for_that_user_and_the_shops_for_admins);

async fn router(dynamodb: Client, auth: Auth, orders_url: String) -> Router {
    let parts = Parts {
        dynamodb,
        log: Arc::new(log()),
        auth,
    };

    let config = Config {
        orders_url,
        ..Config::default()
    };
    let service =
        Service::new(&config, parts, &Metrics::new("analytics"), Shutdown::new()).unwrap();
    service.prepare().await;

    service.router()
}

async fn counts_of_a_user_are_for_that_user_and_the_shops_for_admins(dynamodb: Client) {
    let identities = Identities::default();
    let orders_url = "http://127.0.0.1:1".to_owned();
    let service = TestClient::new(router(dynamodb, identities.auth.clone(), orders_url).await);
    let customer = service.showing(identities.user(7));
    let admin = service.showing(identities.admin());

    assert_eq!(service.get("/analytics/users/7").await.status, 401);
    for (path, status) in [("/analytics/users/7", 200), ("/analytics/users/8", 403)] {
        assert_eq!(
            (
                customer.get(path).await.status.as_u16(),
                admin.get(path).await.status.as_u16()
            ),
            (status, 200),
            "{path}"
        );
    }

    for path in [
        "/analytics/summary",
        "/analytics/recent",
        "/analytics/audit",
        "/analytics/stream",
        "/analytics/series",
        "/analytics/explain?user=7&window=2026-11-22T10:01:00Z",
    ] {
        assert_eq!(
            [
                service.get(path).await.status,
                customer.get(path).await.status
            ],
            [401, 403],
            "{path}"
        );
    }

    assert_eq!(admin.get("/analytics/summary").await.status, 200);
    assert_eq!(service.get("/analytics/board").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_orders_service_is_shown_who_asks_for_its_books() {
    let identities = Identities::default();
    let auth = identities.auth.clone();
    let books = get(
        async move |headers: HeaderMap| match auth.caller(&headers).await {
            Ok(chassis::auth::Caller::Service) => (StatusCode::OK, r#"{"items":[]}"#),
            _ => (StatusCode::UNAUTHORIZED, "{}"),
        },
    );

    let orders_url = testbed::serve(Router::new().route("/orders/minutes", books)).await;

    let service = TestClient::new(
        router(
            testbed::embedded().await,
            identities.auth.clone(),
            orders_url,
        )
        .await,
    );

    let audited = service
        .showing(identities.admin())
        .get("/analytics/audit")
        .await;

    assert_eq!(
        (audited.status.as_u16(), &audited.body["balanced"]),
        (200, &true.into()),
        "{}",
        audited.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_routes_described_as_secured_need_credentials() {
    let orders_url = "http://127.0.0.1:1".to_owned();
    let router = router(
        testbed::embedded().await,
        Identities::default().auth,
        orders_url,
    )
    .await;
    let document = description(&router).await;
    assert_guarded(&router, &document).await;
}
