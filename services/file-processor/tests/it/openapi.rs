//! The service conforms to its description.

use testbed::description::{assert_fields, assert_guarded, assert_routes, description};
use testbed::{Identities, TestClient};

use crate::service::Running;

#[tokio::test]
async fn routes_and_replies_are_as_described() {
    let running = Running::start().await;
    let router = running.router.clone();
    let document = description(&router).await;
    assert_routes(&router, &document).await;

    let service = TestClient::new(router);
    let shown = service
        .send("POST", "/files?name=a.csv", &[], None)
        .await
        .body;
    assert_fields(&document, "File", &shown);
}

#[tokio::test]
async fn only_routes_described_as_secured_need_credentials() {
    let running = Running::known_by(Identities::default().auth).await;
    let document = description(&running.router).await;
    assert_guarded(&running.router, &document).await;
}
