//! The places that hand out temporary credentials of AWS, emulated: STS, a container's endpoint and the metadata of an
//! instance.

use std::net::SocketAddr;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use serde_json::json;

use super::{KEY, SECRET};
use crate::pages;

/// Serves credentials that expire at this time for as long as the process lives.
pub fn serve(expiry: &'static str) -> SocketAddr {
    let role = "/latest/meta-data/iam/security-credentials/";
    let pages = Router::new()
        .route("/sts/", post(async move || sts(expiry)))
        .route("/container", get(async move || credentials(expiry)))
        .route("/pod", get(async move |headers| of_pod(&headers, expiry)))
        .route("/refuses", get(StatusCode::FORBIDDEN))
        .route("/latest/api/token", put(session))
        .route(role, get("job"))
        .route(
            &format!("{role}job"),
            get(async move |headers| of_instance(&headers, expiry)),
        );

    pages::serve(pages)
}

fn credentials(expiry: &str) -> String {
    json!({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": "2020-01-01T00:00:00Z",
        "AccessKeyId": KEY,
        "SecretAccessKey": SECRET,
        "Token": "a session+/=",
        "Expiration": expiry,
    })
    .to_string()
}

/// EKS returns the credentials of a pod for a request with the token in the pod's file.
fn of_pod(headers: &HeaderMap, expiry: &str) -> axum::response::Response {
    match headers.get("authorization") {
        Some(token) if token == "a pod" => credentials(expiry).into_response(),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// The session of version 2 of an instance's metadata.
async fn session() -> impl IntoResponse {
    (
        [("x-aws-ec2-metadata-token-ttl-seconds", "600")],
        "a session",
    )
}

fn of_instance(headers: &HeaderMap, expiry: &str) -> axum::response::Response {
    match headers.get("x-aws-ec2-metadata-token") {
        Some(token) if token == "a session" => credentials(expiry).into_response(),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

fn sts(expiry: &str) -> String {
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">
<AssumeRoleWithWebIdentityResult>
<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/job/1</Arn><AssumedRoleId>A:1</AssumedRoleId></AssumedRoleUser>
<Credentials>
<AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>
<SessionToken>a session</SessionToken><Expiration>{expiry}</Expiration>
</Credentials>
</AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"
    )
}
