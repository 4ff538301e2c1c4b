//! Sales of a product or of a category, by step of time.

use std::collections::{BTreeMap, BTreeSet};

use chassis::sql::Database;
use events::{Timestamp, numbers_of};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use crate::databases::on_each_database;
use crate::shop::Shop;

/// 2026-11-22T10:00:00Z.
const TEN_MS: u64 = 1_795_341_600_000;
const LAMP: Uuid = Uuid::from_u128(1);
const CUP: Uuid = Uuid::from_u128(2);

/// A line of an order that was placed this long after ten o'clock.
#[derive(Clone, Debug)]
struct Line {
    order: u64,
    after_ms: i64,
    currency: &'static str,
    product: Uuid,
    category: Option<&'static str>,
    quantity: u64,
    price: u64,
}

async fn check(test: impl AsyncFn(Shop)) {
    on_each_database(async |database| test(Shop::open(database).await).await).await;
}

fn moment(after_ms: i64) -> Timestamp {
    Timestamp::from_ms(TEN_MS.checked_add_signed(after_ms).unwrap()).unwrap()
}

/// Stores orders with these lines.
async fn store(database: &Database, user: i64, lines: &[Line]) {
    let mut transaction = database.write().await.unwrap();
    let mut stored = BTreeSet::new();
    for (index, line) in lines.iter().enumerate() {
        let created_at = moment(line.after_ms);
        let id = numbers_of(created_at, line.order).next().unwrap();
        if stored.insert(id) {
            let order = format!(
                "INSERT INTO orders (id, user_id, status, total_cents, currency, reservation_key, created_at_ms, updated_at_ms) \
                 VALUES ({id}, {user}, 'paid', 1, '{}', 'key-{id}', {1}, {1})",
                line.currency,
                created_at.as_ms()
            );
            let order = transaction.connection().execute(AssertSqlSafe(order));
            order.await.unwrap();
        }

        let category = line
            .category
            .map_or("NULL".to_owned(), |name| format!("'{name}'"));
        let item = format!(
            "INSERT INTO order_items (order_id, line, product_id, quantity, unit_price_cents, category) \
             VALUES ({id}, {index}, '{}', {}, {}, {category})",
            line.product, line.quantity, line.price
        );
        let item = transaction.connection().execute(AssertSqlSafe(item));
        item.await.unwrap();
    }
    transaction.commit().await.unwrap();
}

/// The sales of a step.
#[derive(Default)]
struct Step {
    orders: BTreeSet<u64>,
    units: u64,
    totals: BTreeMap<&'static str, u64>,
}

/// Returns the start, orders, units and totals of each step with such a line, added up by a loop.
fn folded(lines: &[Line], step_ms: u64, is_sold: impl Fn(&Line) -> bool) -> Vec<Value> {
    let mut steps: BTreeMap<u64, Step> = BTreeMap::new();
    for line in lines.iter().filter(|line| is_sold(line)) {
        let start = moment(line.after_ms).as_ms() / step_ms * step_ms;
        let step = steps.entry(start).or_default();
        step.orders.insert(line.order);
        step.units += line.quantity;
        *step.totals.entry(line.currency).or_default() += line.quantity * line.price;
    }

    let step = |(start, step): (u64, Step)| {
        let total = |(currency, sum)| json!({"currency": currency, "minor_units": sum});
        let totals: Vec<_> = step.totals.iter().map(total).collect();
        json!([start, step.orders.len(), step.units, totals])
    };
    steps.into_iter().map(step).collect()
}

/// Returns the same of a reply.
async fn sold(shop: &Shop, query: &str) -> Vec<Value> {
    let page = shop.get(&format!("/orders/sales?{query}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let step = |item: &Value| json!([item["id"], item["orders"], item["units"], item["totals"]]);
    page.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(step)
        .collect()
}

/// Returns lines without a pattern: of several steps, products, categories and currencies.
fn lines() -> Vec<Line> {
    let currencies = ["USD", "EUR", "JPY"];
    let line = |number: u64| {
        let order = number / 2;
        Line {
            order,
            after_ms: i64::try_from(order * order * 7_919 % 9_000_000).unwrap() - 600_000,
            currency: currencies[usize::try_from(order % 3).unwrap()],
            product: if number % 5 < 2 { LAMP } else { CUP },
            category: [Some("Light"), None, Some("Light"), Some("Tables")]
                [usize::try_from(number % 4).unwrap()],
            quantity: 1 + number % 7,
            price: number * 13 % 997,
        }
    };
    (0..400).map(line).collect()
}

#[tokio::test]
async fn lines_are_added_up_by_product_category_step_and_currency() {
    check(async |shop| {
        let lines = lines();
        store(&shop.database, shop.user_id, &lines).await;
        let (from, to) = (moment(-600_000), moment(9_000_000));

        for (step, step_ms) in [("1m", 60_000), ("1h", 3_600_000), ("1d", 86_400_000)] {
            let query = format!("from={from}&to={to}&step={step}");
            let lamps = sold(&shop, &format!("{query}&product={LAMP}")).await;
            assert!(!lamps.is_empty());
            assert_eq!(lamps, folded(&lines, step_ms, |line| line.product == LAMP));

            let light = sold(&shop, &format!("{query}&category=Light")).await;
            assert_eq!(
                light,
                folded(&lines, step_ms, |line| line.category == Some("Light"))
            );
        }

        // The range ends before its end, and begins with its first instant.
        let (from, to) = (moment(0), moment(120_000));
        let part = sold(&shop, &format!("from={from}&to={to}&step=1m&product={CUP}")).await;
        let is_within = |line: &Line| line.product == CUP && (0..120_000).contains(&line.after_ms);
        assert_eq!(part, folded(&lines, 60_000, is_within));

        let none = format!("from={from}&to={to}&step=1m");
        assert!(
            sold(&shop, &format!("{none}&category=light"))
                .await
                .is_empty()
        );
        assert!(
            sold(&shop, &format!("{none}&product={}", Uuid::from_u128(9)))
                .await
                .is_empty()
        );
    })
    .await;
}

#[tokio::test]
async fn sums_beyond_64_bits_are_exact_or_at_the_limit() {
    check(async |shop| {
        let line = |order| Line {
            order,
            after_ms: 0,
            currency: "USD",
            product: LAMP,
            category: None,
            quantity: 10_000,
            price: 900_000_000_000_000,
        };
        let query = format!("from={}&to={}&step=1m&product={LAMP}", moment(0), moment(1));
        store(&shop.database, shop.user_id, &[line(1), line(2)]).await;
        assert_eq!(
            sold(&shop, &query).await[0][3][0]["minor_units"],
            json!(18_000_000_000_000_000_000_u64)
        );

        store(&shop.database, shop.user_id, &[line(3)]).await;
        assert_eq!(
            sold(&shop, &query).await[0][3][0]["minor_units"],
            json!(u64::MAX)
        );
    })
    .await;
}

#[tokio::test]
async fn an_order_is_sold_in_the_category_and_under_the_name_of_its_moment() {
    check(async |shop| {
        let lamp = shop.catalogue.add(1_999, "USD", 99);
        shop.catalogue.set_category(lamp, "Light & shade");
        // One order with two lines of the product, which is then cancelled.
        let first = shop.post(shop.order(&[(lamp, 1), (lamp, 2)])).await;
        shop.set_status(first.id(), "cancelled").await;
        shop.catalogue.set_category(lamp, "Tables");
        shop.catalogue.set_name(lamp, "Lantern");
        let second = shop.post(shop.order(&[(lamp, 4)])).await.json();

        let at = |order: &Value| {
            order["created_at"]
                .as_str()
                .unwrap()
                .parse::<Timestamp>()
                .unwrap()
        };
        let after = Timestamp::from_ms(at(&second).as_ms() + 1).unwrap();
        let query = format!("from={}&to={after}&step=1d", at(&first.json()));
        for (of, orders, units, cents, name) in [
            (format!("product={lamp}"), 2, 7, 13_993, json!("Lantern")),
            (
                "category=Light+%26+shade".to_owned(),
                1,
                3,
                5_997,
                Value::Null,
            ),
            ("category=Tables".to_owned(), 1, 4, 7_996, Value::Null),
        ] {
            let page = shop
                .get(&format!("/orders/sales?{query}&{of}"))
                .await
                .json();
            let sum = |field: &str| -> u64 {
                let items = page["items"].as_array().unwrap().iter();
                items.map(|item| item[field].as_u64().unwrap()).sum()
            };
            assert_eq!(
                (sum("orders"), sum("units"), sum("total_cents")),
                (orders, units, cents),
                "{of}"
            );
            assert_eq!(page["name"], name, "{of}");
        }
    })
    .await;
}

#[tokio::test]
async fn queries_that_cannot_be_are_refused_by_field() {
    check(async |shop| {
        let range = "from=2026-11-22T10:00:00Z&to=2026-11-22T11:00:00Z";
        let long = "from=2026-10-01T10:00:00Z&to=2026-11-22T11:00:00Z";
        for (query, field) in [
            (format!("{range}&step=1m"), "product"),
            (
                format!("{range}&step=1m&product={LAMP}&category=a"),
                "product",
            ),
            (format!("{range}&step=1m&product=lamp"), "product"),
            (format!("{range}&step=1m&category="), "category"),
            (
                format!("{range}&step=1m&category={}", "a".repeat(65)),
                "category",
            ),
            (format!("{range}&step=1m&category=%00"), "category"),
            (format!("{range}&step=5m&product={LAMP}"), "step"),
            (format!("{range}&product={LAMP}"), "step"),
            (format!("{long}&step=1d&product={LAMP}"), "from"),
            (format!("{long}&step=1m&product={LAMP}"), "step"),
            (format!("{range}&step=1m&product={LAMP}&user=1"), "user"),
        ] {
            let refused = shop.get(&format!("/orders/sales?{query}")).await;
            assert_eq!(
                (refused.status.as_u16(), refused.json()["field"].as_str()),
                (400, Some(field)),
                "{query}: {}",
                refused.text
            );
        }
    })
    .await;
}
