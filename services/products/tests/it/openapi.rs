//! The service conforms to its description.

use chassis::Shutdown;
use chassis::auth::Auth;
use products::{Config, Parts};
use serde_json::json;

use testbed::description::{assert_guarded, assert_routes, description};

#[tokio::test]
async fn routes_and_replies_are_as_described() {
    let parts = Parts {
        dynamodb: testbed::embedded().await,
        auth: Auth::open(),
    };
    products::prepare(&Config::default(), &parts, &Shutdown::new()).await;

    let router = products::router(&parts);
    let document = description(&router).await;
    assert_routes(&router, &document).await;

    let service = testbed::TestClient::new(router);
    let shown = service
        .post("/products", json!({"name": "Lamp", "price_cents": 1}))
        .await
        .body;

    let described = document["components"]["schemas"]["Product"]["required"]
        .as_array()
        .unwrap();
    assert_eq!(shown.as_object().unwrap().len(), described.len());

    assert!(
        described
            .iter()
            .all(|field| shown.get(field.as_str().unwrap()).is_some()),
        "{shown}"
    );
}

#[tokio::test]
async fn only_routes_described_as_secured_need_credentials() {
    let auth = testbed::Identities::default().auth;
    let parts = Parts {
        dynamodb: testbed::embedded().await,
        auth,
    };
    products::prepare(&Config::default(), &parts, &Shutdown::new()).await;

    let router = products::router(&parts);
    let document = description(&router).await;
    assert_guarded(&router, &document).await;
}
