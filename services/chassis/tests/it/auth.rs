//! Tokens that are accepted, and tokens that are rejected.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::auth::{AccessClaims, Admin, Auth, Caller, Secret, Trusted};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use testbed::{PublishedKeys, Reply, Signer, TestClient, claims};
use tower::ServiceExt;

/// Seconds; more than the accepted difference between two clocks.
const LONG: u64 = 3600;

/// A service that enforces authentication, and the key that signs its users' tokens.
struct Guarded {
    keys: PublishedKeys,
    signer: Signer,
    auth: Auth,
    service: TestClient,
}

impl Guarded {
    fn new() -> Self {
        let keys = PublishedKeys::default();
        let signer = Signer::new("first", 1);
        keys.publish([signer.jwk()]);

        let auth = Auth::enforced(keys.clone(), Some(&Secret::random()));
        Self {
            keys,
            signer,
            service: service(&auth),
            auth,
        }
    }

    async fn show(&self, token: String) -> Reply {
        self.service.showing(token).get("/caller").await
    }

    /// Asserts that a token with changed claims is rejected.
    async fn assert_refused(&self, change: impl FnOnce(&mut AccessClaims)) {
        let mut claims = claims(7, true);
        change(&mut claims);
        assert_refused(&self.show(self.signer.sign(&claims)).await);
    }
}

fn service(auth: &Auth) -> TestClient {
    TestClient::new(auth.protect(routes()))
}

fn routes() -> Router {
    Router::new()
        .route("/caller", get(async |caller: Caller| format!("{caller:?}")))
        .route("/admin", get(async |_: Admin| "welcome"))
        .route("/service", get(async |_: Trusted| "welcome"))
        .route("/anybody", get("welcome"))
}

fn assert_refused(reply: &Reply) {
    assert_eq!(reply.status, 401, "{}", reply.body);
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(
        reply.header("www-authenticate"),
        "Bearer error=\"invalid_token\""
    );
}

#[tokio::test]
async fn a_user_is_known_by_its_token_and_an_admin_by_its_role() {
    let guarded = Guarded::new();
    let user = guarded.show(guarded.signer.sign(&claims(7, false))).await;
    assert_eq!(user.body, "User { id: 7, is_admin: false }");
    let admin = guarded.show(guarded.signer.sign(&claims(8, true))).await;
    assert_eq!(admin.body, "User { id: 8, is_admin: true }");
    assert_eq!(guarded.keys.asked(), 1);
}

#[tokio::test]
async fn without_credentials_a_route_is_a_401_unless_it_is_open() {
    let guarded = Guarded::new();
    let reply = guarded.service.get("/caller").await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("www-authenticate")),
        (401, "Bearer")
    );

    for value in ["Basic dXNlcjpwYXNz", "Bearer", "Digest x"] {
        assert_eq!(
            guarded
                .service
                .send("GET", "/caller", &[("authorization", value)], None)
                .await
                .status,
            401
        );
    }

    assert_eq!(guarded.service.get("/anybody").await.body, "welcome");
    assert_eq!(
        guarded
            .service
            .showing("nonsense".to_owned())
            .get("/anybody")
            .await
            .body,
        "welcome"
    );
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused_whatever_its_algorithm_says() {
    let guarded = Guarded::new();
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims(7, true)).unwrap());
    for algorithm in ["none", "None", "NONE", "EdDSA", "HS256"] {
        let header = format!(r#"{{"alg":"{algorithm}","typ":"at+jwt","kid":"first"}}"#);
        let unsigned = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(header));
        assert_refused(&guarded.show(unsigned).await);
    }
}

#[tokio::test]
async fn the_public_key_is_no_secret_to_sign_with() {
    let guarded = Guarded::new();
    let jwk = serde_json::to_value(guarded.signer.jwk()).unwrap();
    let text = jwk["x"].as_str().unwrap();

    for secret in [
        URL_SAFE_NO_PAD.decode(text).unwrap(),
        text.as_bytes().to_vec(),
    ] {
        for typ in ["at+jwt", "service+jwt"] {
            let mut header = Header {
                alg: Algorithm::HS256,
                ..guarded.signer.header()
            };
            header.typ = Some(typ.to_owned());

            let forged = encode(
                &header,
                &claims(7, true),
                &EncodingKey::from_secret(&secret),
            )
            .unwrap();
            assert_refused(&guarded.show(forged).await);
        }
    }
}

#[tokio::test]
async fn a_token_that_was_changed_is_refused() {
    let guarded = Guarded::new();
    let token = guarded.signer.sign(&claims(7, false));
    let (head, signature) = token.rsplit_once('.').unwrap();
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims(7, true)).unwrap());
    let promoted = format!("{}.{payload}.{signature}", head.split_once('.').unwrap().0);
    let stranger = Signer::new("first", 9).sign(&claims(7, true));

    for forged in [
        promoted,
        stranger,
        head.to_owned(),
        "a.b.c".to_owned(),
        "x".repeat(100_000),
    ] {
        assert_refused(&guarded.show(forged).await);
    }
}

#[tokio::test]
async fn a_token_of_another_issuer_audience_or_type_is_refused() {
    let guarded = Guarded::new();
    guarded
        .assert_refused(|claims| claims.iss = "somebody".to_owned())
        .await;
    guarded
        .assert_refused(|claims| claims.aud = "another-shop".to_owned())
        .await;

    for typ in [None, Some("JWT"), Some("id+jwt"), Some("service+jwt")] {
        let header = Header {
            typ: typ.map(str::to_owned),
            ..guarded.signer.header()
        };
        let token = encode(&header, &claims(7, true), &guarded.signer.key).unwrap();
        assert_refused(&guarded.show(token).await);
    }
}

#[tokio::test]
async fn a_token_is_good_in_its_time_only() {
    let guarded = Guarded::new();
    let now = get_current_timestamp();
    guarded
        .assert_refused(|claims| claims.exp = now - LONG)
        .await;

    let mut early = serde_json::to_value(claims(7, false)).unwrap();
    early["nbf"] = (now + LONG).into();
    let token = encode(&guarded.signer.header(), &early, &guarded.signer.key).unwrap();
    assert_refused(&guarded.show(token).await);

    let mut endless = serde_json::to_value(claims(7, false)).unwrap();
    endless.as_object_mut().unwrap().remove("exp");
    let token = encode(&guarded.signer.header(), &endless, &guarded.signer.key).unwrap();
    assert_refused(&guarded.show(token).await);
}

#[tokio::test]
async fn a_subject_that_is_no_user_is_refused() {
    let guarded = Guarded::new();
    for subject in ["", "0", "-1", "admin", "7.0", "99999999999999999999"] {
        guarded
            .assert_refused(|claims| claims.sub = subject.to_owned())
            .await;
    }
}

#[tokio::test]
async fn keys_nobody_published_are_refused_and_asked_for_once() {
    let guarded = Guarded::new();
    let stranger = Signer::new("stranger", 9);
    for _ in 0..20 {
        assert_refused(&guarded.show(stranger.sign(&claims(7, true))).await);
    }
    assert_eq!(guarded.keys.asked(), 1);
}

#[tokio::test]
async fn a_new_key_is_taken_up_and_a_withdrawn_one_forgotten() {
    let guarded = Guarded::new();
    let second = Signer::new("second", 2);
    guarded.keys.publish([guarded.signer.jwk(), second.jwk()]);

    assert_eq!(
        guarded.show(second.sign(&claims(7, false))).await.status,
        200
    );

    assert_eq!(
        guarded
            .show(guarded.signer.sign(&claims(7, false)))
            .await
            .status,
        200
    );

    let auth = Auth::enforced(guarded.keys.clone(), None);
    guarded.keys.publish([second.jwk()]);
    let reply = service(&auth)
        .showing(guarded.signer.sign(&claims(7, false)))
        .get("/caller")
        .await;
    assert_refused(&reply);
}

#[tokio::test]
async fn without_keys_no_token_is_accepted_or_blamed() {
    let auth = Auth::enforced(Away, None);
    let reply = service(&auth)
        .showing(Signer::new("first", 1).sign(&claims(7, true)))
        .get("/caller")
        .await;

    assert_eq!(
        (reply.status.as_u16(), reply.header("retry-after")),
        (503, "1")
    );
}

/// A users service that does not answer.
struct Away;

impl chassis::auth::KeySource for Away {
    fn published(&self) -> chassis::auth::Published<'_> {
        Box::pin(std::future::ready(Err("nobody there".into())))
    }
}

#[tokio::test]
async fn services_authenticate_by_a_secret_and_customers_cannot() {
    let guarded = Guarded::new();
    let service_token = guarded.auth.service_token().unwrap();
    let admin_token = guarded.signer.sign(&claims(7, true));

    let ask = async |token: &str, path| {
        guarded
            .service
            .showing(token.to_owned())
            .get(path)
            .await
            .status
            .as_u16()
    };
    assert_eq!(ask(&service_token, "/service").await, 200);

    assert_eq!(
        ask(&guarded.signer.sign(&claims(7, false)), "/service").await,
        403
    );

    assert_eq!(
        ask(&admin_token, "/service").await,
        200,
        "an admin may do what services may"
    );

    assert_eq!(
        [
            ask(&service_token, "/admin").await,
            ask(&admin_token, "/admin").await
        ],
        [403, 200]
    );

    let other = Auth::enforced(guarded.keys.clone(), Some(&Secret::random()));
    assert_eq!(ask(&other.service_token().unwrap(), "/service").await, 401);
    let without = Auth::enforced(guarded.keys.clone(), None);
    assert_eq!(without.service_token(), None);

    assert_refused(
        &service(&without)
            .showing(service_token)
            .get("/service")
            .await,
    );
}

#[tokio::test]
async fn an_open_service_asks_nobody() {
    let service = service(&Auth::open());
    for path in ["/caller", "/admin", "/service", "/anybody"] {
        assert_eq!(service.get(path).await.status, 200, "{path}");
    }
    assert_eq!(Auth::open().service_token(), None);
}

#[tokio::test]
async fn a_route_that_asks_and_is_not_protected_lets_nobody_in() {
    let service = TestClient::new(Router::new().route("/caller", get(async |_: Caller| "welcome")));
    assert_eq!(service.get("/caller").await.status, 500);
}

#[test]
fn a_list_shows_a_user_its_own_and_an_admin_what_was_asked_for() {
    let user = Caller::User {
        id: 7,
        is_admin: false,
    };

    let admin = Caller::User {
        id: 8,
        is_admin: true,
    };

    assert_eq!(user.whose::<i64>(None), Ok(Some(7)));
    assert_eq!(user.whose(Some(7_u64)), Ok(Some(7)));
    assert!(user.whose(Some(9)).is_err() && user.whose(Some(u64::MAX)).is_err());

    assert_eq!(
        [admin.whose::<i64>(None), admin.whose(Some(9))],
        [Ok(None), Ok(Some(9))]
    );

    assert_eq!(Caller::Anonymous.whose(Some(9)), Ok(Some(9)));
    assert!(Caller::Service.whose::<i64>(None).is_err() && Caller::Service.whose(Some(7)).is_err());
}

#[tokio::test]
async fn two_tokens_in_one_request_are_no_token() {
    let guarded = Guarded::new();
    let token = guarded.signer.sign(&claims(7, true));
    for second in [token.as_str(), "x", ""] {
        let request = Request::get("/caller")
            .header("authorization", format!("Bearer {token}"))
            .header("authorization", format!("Bearer {second}"))
            .body(Body::empty())
            .unwrap();
        let router = guarded.auth.protect(routes());
        let reply = router.oneshot(request).await.unwrap();
        assert_eq!(reply.status(), 401, "{second}");
    }
}
