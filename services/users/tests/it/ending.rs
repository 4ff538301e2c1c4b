//! The end of an account: the data that are deleted with it, and the data that stay.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use chassis::Shutdown;
use serde_json::json;
use sqlx::{AssertSqlSafe, Row};
use testbed::Identities;
use tokio::net::TcpListener;
use users::{Config, Parts};

use crate::mail::{ADA, PASSWORD, Shop, check, pair, token};

const NEW_PASSWORD: &str = "battery staple";
/// The longest time that a step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn count(shop: &Shop, rows: &str) -> i64 {
    let count = AssertSqlSafe(format!("SELECT COUNT(*) FROM {rows}"));
    let row = sqlx::query(count).fetch_one(shop.database.pool()).await;
    row.unwrap().get(0)
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

/// A row in each table that has rows of accounts. The table `orders` belongs to another service.
const ROWS_OF_EVERY_KIND: [&str; 6] = [
    "CREATE TABLE orders (user_id BIGINT NOT NULL, FOREIGN KEY (user_id) REFERENCES users (id))",
    "INSERT INTO orders (user_id) SELECT id FROM users",
    "INSERT INTO admins (user_id) SELECT id FROM users",
    "INSERT INTO stated_addresses (user_id, email) SELECT id, 'new@test.com' FROM users",
    "INSERT INTO second_factors (user_id, secret, confirmed_at_ms, last_step) \
     SELECT id, 'ABC', NULL, 0 FROM users",
    "INSERT INTO recovery_codes (user_id, code_hash) SELECT id, 'hash' FROM users",
];

const SQLITE_TABLES: &str = "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c \
                             WHERE m.type = 'table' AND c.name = 'user_id'";
const MYSQL_TABLES: &str = "SELECT CAST(table_name AS CHAR) FROM information_schema.columns \
                            WHERE table_schema = DATABASE() AND column_name = 'user_id'";

/// Returns the tables that have a row of an account, and those that refer to accounts.
async fn tables(shop: &Shop) -> (BTreeSet<String>, BTreeSet<String>) {
    let pool = shop.database.pool();
    let in_sqlite = sqlx::query(SQLITE_TABLES).fetch_all(pool).await;
    let rows = match in_sqlite {
        Ok(rows) => rows,
        Err(_) => sqlx::query(MYSQL_TABLES).fetch_all(pool).await.unwrap(),
    };
    let all: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();

    let mut filled = BTreeSet::new();
    for table in &all {
        if count(shop, table).await > 0 {
            filled.insert(table.clone());
        }
    }
    (filled, all)
}

#[tokio::test]
async fn of_a_closed_account_only_orders_and_its_end_are_stored() {
    check(async |shop| {
        let ada = shop.customer(ADA).await;
        let mut elsewhere = shop.client.log_in(ADA, PASSWORD).await;
        for statement in ROWS_OF_EVERY_KIND {
            shop.run(statement).await;
        }
        shop.next_slot().await;
        shop.forget_password(ADA).await;
        let mail = "account_mail WHERE email = 'ada@test.com'";
        assert!(count(&shop, mail).await > 0, "the link is waiting");
        // The end of sessions has a row as soon as one has ended.
        let (filled, mut all) = tables(&shop).await;
        all.remove("token_epochs");
        assert_eq!(filled, all, "each kind of row must be there before");

        let closed = ada.close().await;
        assert_eq!(closed.status, StatusCode::NO_CONTENT, "{}", closed.body);

        let stays = ["orders", "token_epochs"].map(str::to_owned);
        assert_eq!(tables(&shop).await.0, BTreeSet::from(stays));
        let personal = "users WHERE name = 'Ada' OR phone IS NOT NULL OR password_hash IS NOT NULL \
                        OR email LIKE '%test.com'";
        for rows in [mail, "mail_tokens", personal] {
            assert_eq!(count(&shop, rows).await, 0, "{rows}");
        }

        let token = elsewhere.body["access_token"].take();
        let late = shop.client.showing(token.as_str().unwrap());
        late.get(&ada.path).await.assert_problem(401, None);
        let refresh = json!({"refresh_token": elsewhere.body["refresh_token"]});
        let refreshed = shop
            .client
            .send(Method::POST, "/users/refresh", Some(refresh));
        refreshed.await.assert_problem(401, None);
        shop.sign_up(ADA).await;
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
            while count(&shop, "users").await > 1 {
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
