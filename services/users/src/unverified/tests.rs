//! Tests that unverified accounts are removed when they are due, with a simulated time.

use chassis::auth::Auth;
use chassis::sql::Database;
use serde_json::json;
use sqlx::Row;
use testbed::{CapturedLog, Identities, Reply, TestClient};

use super::*;
use crate::databases::on_each_database;

const DAY_MS: u64 = 24 * 3600 * 1000;
const PASSWORD: &str = "correct horse";
/// The table of the orders service, with only the columns that refer to users.
const ORDERS: &str = "CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, user_id BIGINT NOT NULL, \
                      FOREIGN KEY (user_id) REFERENCES users (id))";

struct Shop {
    users: Unverified,
    database: Database,
    client: TestClient,
    /// The last account that was examined.
    examined: Examined,
}

/// A customer with a session.
struct Customer {
    id: i64,
    email: &'static str,
    access_token: String,
    refresh_token: String,
}

impl Shop {
    async fn open(database: Database) -> Self {
        crate::migrate(&database).await.unwrap();
        let config = Config::default();
        let auth = Identities::default().auth;
        let parts = Parts {
            database: database.clone(),
            auth,
        };

        Self {
            users: Unverified::new(&config, &parts),
            client: TestClient::new(crate::router(&config, parts)),
            database,
            examined: Examined::default(),
        }
    }

    async fn customer(&self, email: &'static str) -> Customer {
        let new = json!({"name": "Somebody", "email": email, "password": PASSWORD});
        let created = self.client.post("/users", new).await;
        let tokens = self.log_in(email).await.body;
        let text = |field: &str| tokens[field].as_str().unwrap().to_owned();

        Customer {
            id: created.body["id"].as_i64().unwrap(),
            email,
            access_token: text("access_token"),
            refresh_token: text("refresh_token"),
        }
    }

    async fn log_in(&self, email: &str) -> Reply {
        let body = json!({"email": email, "password": PASSWORD});
        self.client.post("/users/login", body).await
    }

    async fn run(&self, statement: &'static str, id: i64) {
        let query = sqlx::query(statement).bind(id);
        query.execute(self.database.pool()).await.unwrap();
    }

    /// Removes the accounts that will be due this number of days from now.
    async fn remove_after_days(&mut self, days: u64) {
        let then = Timestamp::from_ms(Timestamp::now().as_ms() + days * DAY_MS).unwrap();
        let removed = self.users.remove_due(&mut self.examined, then);
        removed.await.unwrap();
    }

    async fn exists(&self, customer: &Customer) -> bool {
        let find = sqlx::query("SELECT id FROM users WHERE id = ?").bind(customer.id);
        let found = find.fetch_optional(self.database.pool()).await.unwrap();
        found.is_some()
    }

    async fn is_logged_in(&self, customer: &Customer) -> bool {
        let client = self.client.showing(customer.access_token.clone());
        let account = client.get(&format!("/users/{}", customer.id)).await;
        account.status == 200
    }
}

#[tokio::test]
async fn an_account_is_removed_after_its_time_with_its_sessions() {
    on_each_database(async |database| {
        let mut shop = Shop::open(database).await;
        let ada = shop.customer("ada@test.com").await;
        shop.remove_after_days(29).await;
        assert!(shop.is_logged_in(&ada).await);

        let log = CapturedLog::begin();
        shop.remove_after_days(31).await;
        assert!(!shop.exists(&ada).await);
        let events = log.security();
        assert_eq!(
            (&events[0]["event"], &events[0]["user_id"], events.len()),
            (&json!("unverified_account_removed"), &json!(ada.id), 1)
        );

        assert!(!shop.is_logged_in(&ada).await);
        let epochs = shop.client.get("/.well-known/token-epochs.json").await;
        let for_others = &epochs.body["epochs"][ada.id.to_string()];
        assert_eq!(
            for_others, 1,
            "the other services must refuse its tokens, too"
        );
        assert_eq!(shop.log_in(ada.email).await.status, 401);
        let body = json!({"refresh_token": ada.refresh_token});
        let refreshed = shop.client.post("/users/refresh", body).await;
        assert_eq!(refreshed.status, 401);
    })
    .await;
}

#[tokio::test]
async fn verified_accounts_buyers_and_admins_stay() {
    on_each_database(async |database| {
        let mut shop = Shop::open(database).await;
        let verified = shop.customer("verified@test.com").await;
        let admin = shop.customer("admin@test.com").await;
        let buyer = shop.customer("buyer@test.com").await;
        let last = shop.customer("last@test.com").await;

        shop.run(
            "UPDATE users SET email_verified_at_ms = 1 WHERE id = ?",
            verified.id,
        )
        .await;
        shop.run("INSERT INTO admins (user_id) VALUES (?)", admin.id)
            .await;
        let orders = sqlx::query(ORDERS).execute(shop.database.pool());
        orders.await.unwrap();
        shop.run("INSERT INTO orders (id, user_id) VALUES (1, ?)", buyer.id)
            .await;

        shop.remove_after_days(31).await;
        for customer in [&verified, &admin, &buyer] {
            assert!(shop.exists(customer).await, "{}", customer.email);
            assert!(shop.is_logged_in(customer).await, "{}", customer.email);
        }
        assert!(
            !shop.exists(&last).await,
            "an account that stays must not keep others from being removed"
        );

        let store = Store::new(shop.database.clone());
        let verified_meanwhile = store.remove_unverified(verified.id, Timestamp::now());
        assert!(!verified_meanwhile.await.unwrap());
        assert!(shop.is_logged_in(&verified).await);
    })
    .await;
}

#[tokio::test]
async fn more_accounts_than_a_page_are_removed_in_one_round() {
    on_each_database(async |database| {
        let mut shop = Shop::open(database).await;
        for number in 0..101 {
            let insert = sqlx::query(
                "INSERT INTO users (name, email, created_at_ms) VALUES ('Somebody', ?, 7)",
            );
            let insert = insert.bind(format!("unverified-{number}@invalid"));
            insert.execute(shop.database.pool()).await.unwrap();
        }

        shop.remove_after_days(0).await;
        let count = sqlx::query("SELECT COUNT(*) FROM users");
        let left: i64 = count.fetch_one(shop.database.pool()).await.unwrap().get(0);
        assert_eq!(left, 0);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_removed_without_authentication_or_with_the_setting_zero() {
    on_each_database(async |database| {
        let parts = |auth| Parts {
            database: database.clone(),
            auth,
        };
        let open = Unverified::new(&Config::default(), &parts(Auth::open()));
        assert_eq!(open.kept_for, None);

        let config = Config {
            users_unverified_for: Duration::ZERO,
            ..Config::default()
        };
        let kept = Unverified::new(&config, &parts(Identities::default().auth));
        assert_eq!(kept.kept_for, None);
    })
    .await;
}
