//! The rights of callers, if they must authenticate.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use axum::Router;
use chassis::auth::Auth;
use chassis::{Metrics, Shutdown};
use notifications::{Config, Parts, Service};
use serde_json::json;
use testbed::description::{assert_guarded, description};
use testbed::{Identities, TestClient};

use crate::{Running, log, order, order_ids};

testbed::on_both_dynamodbs!(a_customer_reads_its_own_mailbox_and_an_admin_every_one);

/// Returns the routes of a service that authenticates its callers, on the tables of one that does not.
async fn router(dynamodb: Client, auth: Auth) -> Router {
    let parts = Parts {
        dynamodb,
        log: Arc::new(log()),
        auth,
    };

    let service = Service::new(
        &Config::default(),
        parts,
        &Metrics::new("notifications"),
        Shutdown::new(),
    )
    .unwrap();
    service.prepare().await;

    service.router()
}

async fn a_customer_reads_its_own_mailbox_and_an_admin_every_one(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    running.receive(&[order(1, 7, 2), order(2, 8, 1)]).await;
    running.stop().await;

    let identities = Identities::default();
    let service = TestClient::new(router(dynamodb, identities.auth.clone()).await);
    let customer = service.showing(identities.user(7));
    let admin = service.showing(identities.admin());

    let orders = async |caller: &TestClient, path: &str| {
        let reply = caller.get(path).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        order_ids(reply.body["items"].as_array().unwrap())
    };
    assert_eq!(orders(&customer, "/notifications").await, [1]);
    assert_eq!(orders(&customer, "/notifications?user_id=7").await, [1]);
    assert_eq!(orders(&admin, "/notifications").await, [2, 1]);
    assert_eq!(orders(&admin, "/notifications?user_id=8").await, [2]);
    assert_eq!(customer.get("/notifications?user_id=8").await.status, 403);
    assert_eq!(service.get("/notifications").await.status, 401);

    // The links of account mail are for admins alone.
    let account_mail = "/notifications/account-mail";
    assert_eq!(customer.get(account_mail).await.status, 403);
    assert_eq!(admin.get(account_mail).await.status, 200);

    assert_eq!(
        customer
            .post("/notifications/retry", json!({}))
            .await
            .status,
        403
    );

    for caller in [admin, service.showing(identities.service())] {
        assert_eq!(
            caller.post("/notifications/retry", json!({})).await.status,
            200
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_routes_described_as_secured_need_credentials() {
    let router = router(testbed::embedded().await, Identities::default().auth).await;
    let document = description(&router).await;
    assert_guarded(&router, &document).await;
}
