//! The end of an account: the data that are deleted with it, and the data that stay.

use std::time::Duration;

use axum::http::StatusCode;
use chassis::Shutdown;
use sqlx::Row;
use testbed::Identities;
use tokio::net::TcpListener;
use users::{Config, Parts};

use crate::mail::{ADA, PASSWORD, Shop, check, pair, token};

const NEW_PASSWORD: &str = "battery staple";
/// The longest time that a step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn count_users(shop: &Shop) -> i64 {
    let count = sqlx::query("SELECT COUNT(*) FROM users");
    count.fetch_one(shop.database.pool()).await.unwrap().get(0)
}

#[tokio::test]
async fn an_account_that_ends_revokes_no_link_of_a_stated_address() {
    check(async |shop| {
        shop.customer(ADA).await;
        shop.next_slot().await;
        shop.forget_password(ADA).await;
        let link = token(&shop.take().await, "reset_password", ADA);

        let eve = shop.sign_up(ADA).await;
        assert_eq!(shop.kinds().await, [pair("address_in_use", ADA)]);
        let left = eve.close().await;
        assert_eq!(left.status, StatusCode::NO_CONTENT);

        let reset = shop.reset(&link, NEW_PASSWORD).await;
        assert_eq!(reset.status, StatusCode::NO_CONTENT, "{}", reset.body);
    })
    .await;
}

#[tokio::test]
async fn an_inbox_is_not_filled_by_accounts_that_come_and_go() {
    check(async |shop| {
        for round in 0..3 {
            let eve = shop.sign_up("stranger@test.com").await;
            let mails = shop.kinds().await;
            assert_eq!(mails.len(), usize::from(round == 0), "{mails:?}");

            let left = eve.close().await;
            assert_eq!(left.status, StatusCode::NO_CONTENT);
        }
    })
    .await;
}

#[tokio::test]
async fn the_service_removes_accounts_that_were_never_verified() {
    check(async |shop| {
        shop.sign_up("stranger@test.com").await;
        shop.customer(ADA).await;
        shop.run("UPDATE users SET created_at_ms = 1").await;

        let parts = Parts {
            database: shop.database.clone(),
            auth: Identities::default().auth,
        };
        let shutdown = Shutdown::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = users::run(Config::default(), parts, listener, shutdown.clone());
        let service = tokio::spawn(service);

        let removed = async {
            while count_users(&shop).await > 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, removed).await.unwrap();
        shutdown.request();
        service.await.unwrap().unwrap();

        shop.client.logged_in(ADA, PASSWORD).await;
    })
    .await;
}
