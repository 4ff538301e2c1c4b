//! The service conforms to its description.

use std::sync::Arc;

use chassis::auth::Auth;
use chassis::{Metrics, Shutdown};
use notifications::{Config, Parts, Service};
use serde_json::json;

use crate::{Running, log, order, publish_orders};
use testbed::description::{assert_fields, assert_routes, description};

#[tokio::test(flavor = "multi_thread")]
async fn routes_and_replies_are_as_described() {
    let dynamodb = testbed::embedded().await;
    let running = Running::start(&dynamodb, &log()).await;
    publish_orders(&running.log, &[order(1, 1, 0)]);
    running.caught_up().await;

    let parts = Parts {
        dynamodb,
        log: Arc::new(running.log.clone()),
        auth: Auth::open(),
    };

    let router = Service::new(
        &Config::default(),
        parts,
        &Metrics::new("notifications"),
        Shutdown::new(),
    )
    .unwrap()
    .router();
    let document = description(&router).await;
    assert_routes(&router, &document).await;

    let page = running.client.get("/notifications").await.body;
    assert_fields(&document, "NotificationPage", &page);
    assert_fields(&document, "Notification", &page["items"][0]);

    let retried = running
        .client
        .post("/notifications/retry", json!({}))
        .await
        .body;
    assert_fields(&document, "Retried", &retried);
    running.stop().await;
}
