//! Tests that a database of an earlier version is migrated, with its orders.

use sqlx::{Executor, Row};

use crate::databases::on_each_database;

const ORDERS: [&str; 6] = [
    "INSERT INTO users (id, name, email, created_at_ms) VALUES (1, 'A', 'a@test.com', 0), (2, 'B', 'b@test.com', 0)",
    "INSERT INTO orders (id, user_id, status, total_cents, currency, reservation_key, created_at_ms, updated_at_ms) \
     VALUES (1, 1, 'pending', 5, 'USD', 'k1', 1000, 1000)",
    "INSERT INTO orders (id, user_id, status, total_cents, currency, reservation_key, created_at_ms, updated_at_ms) \
     VALUES (2, 1, 'pending', 5, 'USD', 'k2', 1000, 1000)",
    "INSERT INTO orders (id, user_id, status, total_cents, currency, reservation_key, created_at_ms, updated_at_ms) \
     VALUES (3, 2, 'shipped', 5, 'USD', 'k3', 1000, 1000)",
    "INSERT INTO order_items (order_id, line, product_id, quantity, unit_price_cents) VALUES (1, 0, 'p', 2, 1), (1, 1, 'p', 3, 1)",
    "INSERT INTO order_items (order_id, line, product_id, quantity, unit_price_cents) VALUES (2, 0, 'p', 4, 1), (3, 0, 'p', 9, 1)",
];

#[tokio::test]
async fn orders_of_earlier_versions_have_a_day_to_be_paid() {
    on_each_database(async |database| {
        users::migrate(&database).await.unwrap();
        orders::migrate_up_to(&database, "0003-orders-by-currency")
            .await
            .unwrap();
        let mut transaction = database.write().await.unwrap();
        for statement in ORDERS {
            transaction.connection().execute(statement).await.unwrap();
        }
        transaction.commit().await.unwrap();

        orders::migrate(&database).await.unwrap();
        let rows =
            sqlx::query("SELECT id FROM orders WHERE expires_at_ms > 1700000000000 ORDER BY id")
                .fetch_all(database.pool())
                .await
                .unwrap();
        let waiting: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(waiting, [1, 2]);

        let row = sqlx::query("SELECT user_id, orders, pieces FROM unpaid_orders")
            .fetch_all(database.pool())
            .await
            .unwrap();
        let held: Vec<[i64; 3]> = row
            .iter()
            .map(|row| [row.get(0), row.get(1), row.get(2)])
            .collect();
        assert_eq!(held, [[1, 2, 9]]);
    })
    .await;
}
