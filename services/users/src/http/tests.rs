//! Tests that a request with an e-mail address does the same work whether the address has an account or not. The work
//! is counted, not timed: the hashes that are made and the mails that are stored.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chassis::auth::Auth;
use chassis::sql::Database;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::Config;
use crate::databases::on_each_database;

const PASSWORD: &str = "correct horse";
/// Addresses of an account with a password, of one without, and of none.
const OF_ADA: &str = "ada@test.com";
const OF_BOB: &str = "bob@test.com";
const OF_NOBODY: &str = "nobody@test.com";

struct Shop {
    router: Router,
    hasher: Arc<Hasher>,
    database: Database,
    /// Number of requests so far; each comes from another network.
    requests: u8,
}

/// The reply to a request, and the work that it took.
#[derive(Debug, Eq, PartialEq)]
struct Work {
    status: StatusCode,
    hashes: usize,
    mails: i64,
}

impl Shop {
    async fn open(database: Database) -> Self {
        crate::migrate(&database).await.unwrap();
        let config = Config::default();
        let users = Users {
            store: Store::new(database.clone()),
            hasher: Arc::new(Hasher::new(&config)),
            sessions: Sessions::new(&config, database.clone()),
            attempts: Arc::default(),
            is_open: true,
            shop_url: config.shop_url().into(),
        };

        let hasher = Arc::clone(&users.hasher);
        let mut shop = Self {
            router: Auth::open().protect(routes(users)),
            hasher,
            database,
            requests: 0,
        };
        shop.sign_up(OF_ADA, Some(PASSWORD)).await;
        shop.sign_up(OF_BOB, None).await;
        shop.confirm_all().await;
        shop
    }

    async fn sign_up(&mut self, email: &str, password: Option<&str>) -> Work {
        let new = json!({"name": "Somebody", "email": email, "password": password});
        self.work_of(Method::POST, "/users", new).await
    }

    /// Verifies each stated address, as the links in mail do.
    async fn confirm_all(&self) {
        for statement in [
            "UPDATE users SET email_verified_at_ms = 1, \
             email = (SELECT s.email FROM stated_addresses s WHERE s.user_id = users.id)",
            "DELETE FROM stated_addresses",
        ] {
            let done = sqlx::query(statement).execute(self.database.pool()).await;
            done.unwrap();
        }
    }

    async fn mails(&self) -> i64 {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM account_mail");
        count.fetch_one(self.database.pool()).await.unwrap()
    }

    async fn work_of(&mut self, method: Method, path: &str, body: Value) -> Work {
        // Lifts the limit of one mail of a kind in a while, which is not tested here.
        let reset = sqlx::query("UPDATE account_mail SET slot = NULL");
        reset.execute(self.database.pool()).await.unwrap();

        self.requests += 1;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header(
                "tidemark-client-address",
                format!("192.0.2.{}", self.requests),
            )
            .body(Body::from(body.to_string()))
            .unwrap();

        let hashes_before = self.hasher.made();
        let mails_before = self.mails().await;
        let response = self.router.clone().oneshot(request).await.unwrap();
        Work {
            status: response.status(),
            hashes: self.hasher.made() - hashes_before,
            mails: self.mails().await - mails_before,
        }
    }
}

async fn assert_same_work(wanted: Work, work_for: impl AsyncFn(&mut Shop, &str) -> Work) {
    on_each_database(async |database| {
        let mut shop = Shop::open(database).await;
        for email in [OF_NOBODY, OF_ADA, OF_BOB, "ADA@test.com"] {
            assert_eq!(work_for(&mut shop, email).await, wanted, "{email}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_sign_up_does_the_same_work_for_every_address() {
    let wanted = Work {
        status: StatusCode::CREATED,
        hashes: 1,
        mails: 1,
    };
    assert_same_work(wanted, async |shop, email| {
        shop.sign_up(email, Some("battery staple")).await
    })
    .await;
}

#[tokio::test]
async fn a_failed_log_in_does_the_same_work_for_every_address() {
    // The normal form of the second password differs from the text as sent, so both are compared.
    for (password, hashes) in [("wrong horse", 1), ("wrong horse \u{fb01}", 2)] {
        let wanted = Work {
            status: StatusCode::UNAUTHORIZED,
            hashes,
            mails: 0,
        };
        assert_same_work(wanted, async |shop, email| {
            let log_in = json!({"email": email, "password": password});
            shop.work_of(Method::POST, "/users/login", log_in).await
        })
        .await;
    }
}

#[tokio::test]
async fn a_request_for_a_new_password_does_the_same_work_for_every_address() {
    let wanted = Work {
        status: StatusCode::ACCEPTED,
        hashes: 0,
        mails: 1,
    };
    assert_same_work(wanted, async |shop, email| {
        let forgotten = json!({ "email": email });
        shop.work_of(Method::POST, "/users/forgotten-password", forgotten)
            .await
    })
    .await;
}

#[tokio::test]
async fn a_change_of_address_does_the_same_work_for_every_address() {
    for (password, status, mails) in [
        (PASSWORD, StatusCode::OK, 2),
        ("wrong horse", StatusCode::FORBIDDEN, 0),
    ] {
        let wanted = Work {
            status,
            hashes: 1,
            mails,
        };
        assert_same_work(wanted, async |shop, email| {
            let cyd = format!("cyd{}@test.com", shop.requests);
            shop.sign_up(&cyd, Some(PASSWORD)).await;
            let sql = "SELECT MAX(id) FROM users";
            let newest = sqlx::query_scalar(sql).fetch_one(shop.database.pool());
            let id: i64 = newest.await.unwrap();
            let sql = "UPDATE users SET email_verified_at_ms = 1 WHERE id = ?";
            let verify = sqlx::query(sql).bind(id).execute(shop.database.pool());
            verify.await.unwrap();

            let change = json!({"email": email, "current_password": password});
            shop.work_of(Method::PATCH, &format!("/users/{id}"), change)
                .await
        })
        .await;
    }
}
