//! The series of a product or of a category, with an orders service whose replies the test sets.

use serde_json::{Value, json};
use testbed::description::assert_fields;

use crate::Running;
use crate::audit::Orders;

const LAMP: &str = "0198a0b1-2c3d-7e4f-8a5b-6c7d8e9f0a1b";
const HOURS: &str = "step=1h&from=2026-11-22T10:00:00Z&to=2026-11-22T12:00:00Z";
const CSV: &str = "text/csv";

/// Starts a service whose orders service has sales of two currencies between ten and eleven o'clock.
async fn running() -> (Orders, Running) {
    let orders = Orders::none();
    let totals =
        json!([{"currency": "EUR", "minor_units": 500}, {"currency": "JPY", "minor_units": 70}]);
    let sales = json!({"id": 1_795_341_600_000_u64, "start": "2026-11-22T10:00:00.000Z", "orders": 2, "units": 5, "total_cents": null, "totals": totals});
    let reply = json!({"items": [sales], "next": null, "name": "=Lamp"});
    *orders.sales.lock().unwrap() = (200, reply, String::new());

    let running = orders.audited_by(&testbed::embedded().await).await;
    (orders, running)
}

async fn reply(running: &Running, query: &str, accept: &str) -> testbed::Reply {
    let path = format!("/analytics/series?{query}");
    running
        .client
        .send("GET", &path, &[("accept", accept)], None)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_and_a_category_have_a_point_for_each_step() {
    let (orders, running) = running().await;
    let asked = || orders.sales.lock().unwrap().2.clone();

    let of_product = running
        .get(&format!(
            "/analytics/series?{HOURS}&product={}",
            LAMP.to_uppercase()
        ))
        .await;
    let range = "from=2026-11-22T10%3A00%3A00.000Z&to=2026-11-22T12%3A00%3A00.000Z&step=1h";
    assert_eq!(asked(), format!("{range}&product={LAMP}"));
    assert_eq!(of_product["product"], json!({"id": LAMP, "name": "=Lamp"}));
    assert_eq!(of_product["category"], Value::Null);

    let points = of_product["items"].as_array().unwrap();
    let essence = |point: &Value| {
        let number = |field: &str| point[field].as_u64().unwrap();
        let totals = point["totals"].as_array().unwrap().len();
        (
            number("orders"),
            number("units"),
            totals,
            point["is_provisional"].as_bool().unwrap(),
        )
    };
    let essence: Vec<_> = points.iter().map(essence).collect();
    assert_eq!(essence, [(2, 5, 2, false), (0, 0, 0, false)]);
    assert_eq!(points[0]["total_cents"], Value::Null);

    let name = "Light%20%26%20shade%2Bmore";
    let of_category = running
        .get(&format!("/analytics/series?{HOURS}&category={name}"))
        .await;
    assert_eq!(asked(), format!("{range}&category=Light+%26+shade%2Bmore"));
    assert_eq!(of_category["category"], "Light & shade+more");
    assert_eq!(of_category["product"], Value::Null);
    assert_eq!(of_category["items"], of_product["items"]);

    let document: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
    assert_fields(&document, "Sales", &of_product);
    assert_fields(&document, "SoldProduct", &of_product["product"]);
    assert_fields(&document, "SalesPoint", &points[0]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_are_tables_by_accept() {
    let (_, running) = running().await;
    let query = format!("{HOURS}&product={LAMP}");

    let table = reply(&running, &query, CSV).await;
    assert_eq!(
        table.bytes,
        "id,start,end,orders,units,total_cents,totals,is_provisional\r\n\
         1795341600000,2026-11-22T10:00:00.000Z,2026-11-22T11:00:00.000Z,2,5,,EUR 500; JPY 70,false\r\n\
         1795345200000,2026-11-22T11:00:00.000Z,2026-11-22T12:00:00.000Z,0,0,0,,false\r\n"
    );
    let named = table.headers["content-disposition"].to_str().unwrap();
    assert_eq!(named, "attachment; filename=\"sales.csv\"");

    let lines = reply(&running, &query, "application/x-ndjson").await.bytes;
    let text = String::from_utf8(lines.to_vec()).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let json = running.get(&format!("/analytics/series?{query}")).await;
    assert_eq!(json["items"], json!(lines));

    let typed = reply(&running, &query, "application/vnd.apache.parquet").await;
    assert!(typed.bytes.starts_with(b"PAR1") && typed.bytes.ends_with(b"PAR1"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_that_cannot_be_added_up_are_a_problem() {
    let (orders, running) = running().await;
    for (of_orders, status, field) in [
        (422, 422, Some("from")),
        (500, 503, None),
        (401, 503, None),
        (200, 503, None),
    ] {
        *orders.sales.lock().unwrap() = (of_orders, json!({"items": 7}), String::new());
        for accept in ["application/json", CSV] {
            let reply = reply(&running, &format!("{HOURS}&product={LAMP}"), accept).await;
            assert_eq!(
                (reply.status.as_u16(), reply.body["field"].as_str()),
                (status, field),
                "{of_orders}: {}",
                reply.body
            );
        }
    }
    running.stop().await;
}
