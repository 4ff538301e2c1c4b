//! The merged description of the API.

use axum::http::Method;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::{Gateway, config, upstream};

#[tokio::test]
async fn the_description_lists_the_services_that_publish_none() {
    let document = json!({"openapi": "3.1.0", "paths": {"/users": {"get": {"operationId": "list", "responses": {}}}}});
    let users = Router::new().route("/openapi.json", get(async || Json(document)));
    let users_url = upstream(users).await.parse().unwrap();

    let orders_url = upstream(Router::new().route("/openapi.json", get("not JSON")))
        .await
        .parse()
        .unwrap();

    let gateway = Gateway::start(gateway::Config {
        users_url,
        orders_url,
        ..config()
    })
    .await;
    let described: Value = gateway.get("/openapi.json").await.json().await.unwrap();

    assert_eq!(
        described["paths"]["/api/users"]["get"]["operationId"],
        "users.list"
    );

    assert_eq!(
        described["x-missing"],
        json!(["products", "orders", "notifications", "analytics", "files"])
    );
}

#[tokio::test]
async fn the_description_is_sent_compressed_and_once() {
    let gateway = Gateway::start(config()).await;
    let ask = |name, value: &str| {
        gateway
            .request(Method::GET, "/openapi.json")
            .header(name, value)
            .send()
    };
    let zipped = ask("accept-encoding", "gzip").await.unwrap();
    assert_eq!(zipped.headers()["content-encoding"], "gzip");

    let etag = zipped.headers()["etag"].to_str().unwrap().to_owned();
    let again = ask("if-none-match", &etag.replace("-gzip", ""))
        .await
        .unwrap();
    assert_eq!(again.status(), 304);
}
