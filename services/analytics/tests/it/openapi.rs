//! Tests that the service conforms to its OpenAPI description.

use std::sync::Arc;

use analytics::{Config, Parts, Service};
use chassis::auth::Auth;
use chassis::{Metrics, Shutdown};
use serde_json::Value;

use crate::audit::Orders;
use crate::{Running, count, log, publish_counts, publish_summaries, summary};
use testbed::description::{assert_fields, assert_routes, description};

#[tokio::test(flavor = "multi_thread")]
async fn routes_and_replies_are_as_described() {
    let dynamodb = testbed::embedded().await;
    let running = Running::start(&dynamodb, &log()).await;
    publish_counts(&running.log, &[count(1, 0, 1, 0)]);
    publish_summaries(&running.log, &[summary(60_000, &[(1, 1)], 0)]);
    running.caught_up().await;

    let parts = Parts {
        dynamodb,
        log: Arc::new(running.log.clone()),
        auth: Auth::open(),
    };

    let router = Service::new(
        &Config::default(),
        parts,
        &Metrics::new("analytics"),
        Shutdown::new(),
    )
    .unwrap()
    .router();
    let document = description(&router).await;
    assert_routes(&router, &document).await;

    let summary = running.get("/analytics/summary").await;
    assert_fields(&document, "Summary", &summary);
    assert_fields(&document, "Newest", &summary["now"]);
    assert_fields(&document, "Span", &summary["last_day"]);
    assert_fields(&document, "Amount", &summary["now"]["revenue"][0]);
    let ranged = running
        .get("/analytics/summary?to=2026-11-22T11:00:00Z")
        .await;
    assert_fields(&document, "SummaryRange", &ranged["range"]);
    assert_fields(&document, "TopUser", &summary["now"]["top_users"][0]);
    assert_fields(&document, "Freshness", &summary["freshness"]);

    let page = running.get("/analytics/recent").await;
    assert_fields(&document, "CountPage", &page);
    assert_fields(&document, "Count", &page["items"][0]);

    let series = running.get("/analytics/series").await;
    assert_fields(&document, "Series", &series);
    assert_fields(&document, "Point", &series["items"][0]);
    let explanation = running
        .get("/analytics/explain?user=1&window=2026-11-22T10:00:00Z")
        .await;
    assert_fields(&document, "Explanation", &explanation);
    let board = running.get("/analytics/board").await;
    assert_fields(&document, "Board", &board);
    assert_fields(&document, "BoardWindow", &board["items"][0]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_is_as_described() {
    let orders = Orders::none();
    let running = orders.audited_by(&testbed::embedded().await).await;
    orders.store(2, 1);
    running.caught_up().await;

    let document: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
    let audit = running.get("/analytics/audit").await;
    assert_fields(&document, "Audit", &audit);
    assert_fields(&document, "AuditedMinute", &audit["items"][0]);
    assert_fields(&document, "Sum", &audit["counted"]);
    let summary = running.get("/analytics/summary").await;
    assert_fields(&document, "Current", &summary["current"]);
    running.stop().await;
}
