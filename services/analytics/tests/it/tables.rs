//! Series, and replies as tables for spreadsheets and scripts.

use aws_sdk_dynamodb::Client;
use events::Timestamp;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Row, RowAccessor};
use serde_json::{Value, json};
use testbed::Reply;

use crate::audit::Orders;
use crate::{Running, amounts, count, log, minute, publish_counts, publish_summaries, summary};

testbed::on_both_dynamodbs!(
    a_table_has_every_count_of_its_range_once_and_a_name,
    every_table_is_a_parquet_file_on_request,
    a_series_adds_up_the_windows_by_step,
    the_minute_that_runs_is_there_and_provisional,
    a_summary_is_a_table_of_its_spans,
    series_that_cannot_be_are_refused_by_field,
);

const CSV: &str = "text/csv";
const NDJSON: &str = "application/x-ndjson";
const PARQUET: &str = "application/vnd.apache.parquet";

impl Running {
    async fn table(&self, path: &str, accept: &str) -> Reply {
        let reply = self
            .client
            .send("GET", path, &[("accept", accept)], None)
            .await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply
    }

    /// Returns the lines of a table, each of which must end with `end`.
    async fn lines(&self, path: &str, accept: &str, end: &str) -> Vec<String> {
        let reply = self.table(path, accept).await;
        // The client parses a body of a single line of JSON.
        let text = match reply.body {
            Value::String(text) => text,
            object => format!("{object}\n"),
        };
        let text = text.strip_suffix(end).unwrap();
        text.split(end).map(str::to_owned).collect()
    }

    /// Returns the rows of a table as a Parquet file.
    async fn typed(&self, path: &str) -> Vec<Row> {
        let reply = self.table(path, PARQUET).await;
        assert_eq!(reply.headers["content-type"], PARQUET);
        let named = reply.headers["content-disposition"].to_str().unwrap();
        assert!(named.ends_with(".parquet\""), "{named}");

        let file = SerializedFileReader::new(reply.bytes).unwrap();
        let rows = file.get_row_iter(None).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

async fn a_table_has_every_count_of_its_range_once_and_a_name(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    // The table has more than one page, and the second page begins within a window.
    let mut counts: Vec<_> = (0..3)
        .flat_map(|window| (1..=210).map(move |user| count(user, window, user, 0)))
        .collect();
    counts[7].amounts = amounts(&[("EUR", 5), ("JPY", 70)]);
    publish_counts(&running.log, &counts);
    running.caught_up().await;

    let all = running.lines("/analytics/recent", CSV, "\r\n").await;
    assert_eq!(
        all[0],
        "id,user_id,window_start,window_end,order_count,total_cents,totals,revision"
    );
    let row = |count: &events::WindowCount| {
        let totals = count.amounts.as_slice().iter();
        let totals: Vec<_> = totals
            .map(|amount| format!("{} {}", amount.currency, amount.minor_units))
            .collect();
        let cents = count.amounts.total_cents();
        format!(
            "{0}-{1},{0},{2},{3},{4},{5},{6},0",
            count.user_id,
            count.window_start.as_ms(),
            count.window_start,
            count.window_end,
            count.order_count,
            cents.map_or(String::new(), |cents| cents.to_string()),
            totals.join("; "),
        )
    };
    let mut expected: Vec<_> = counts.iter().map(row).collect();
    let mut rows = all[1..].to_vec();
    expected.sort();
    rows.sort();
    assert_eq!(rows, expected);

    let range = format!("?from={}&to={}", minute(1), minute(2));
    let of_range = running
        .lines(&format!("/analytics/recent{range}"), NDJSON, "\n")
        .await;
    assert_eq!(of_range.len(), 210);
    let first: Value = serde_json::from_str(&of_range[0]).unwrap();
    assert_eq!(first["window_start"], json!(minute(1)));

    for (path, rows) in [("?limit=7", 7), ("?user=9", 3), ("?user=999", 0)] {
        let lines = running
            .lines(&format!("/analytics/recent{path}"), CSV, "\r\n")
            .await;
        assert_eq!(lines.len(), 1 + rows, "{path}");
    }

    let reply = running.table("/analytics/recent?limit=1", CSV).await;
    let header = |name: &str| reply.headers[name].to_str().unwrap();
    assert_eq!(
        header("content-disposition"),
        "attachment; filename=\"counts.csv\""
    );
    assert_eq!(
        (header("content-type"), header("vary")),
        ("text/csv; charset=utf-8; header=present", "accept")
    );
    running.stop().await;
}

async fn every_table_is_a_parquet_file_on_request(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let mut counts: Vec<_> = (1..=700).map(|user| count(user, 0, user, 0)).collect();
    counts[6].amounts = amounts(&[("EUR", 5), ("JPY", 70)]);
    publish_counts(&running.log, &counts);
    let newest = summary(60_000, &[(1, 2), (2, 1)], 0);
    let earlier = events::WindowSummary {
        window_start: minute(1),
        window_end: minute(2),
        ..newest.clone()
    };
    publish_summaries(&running.log, &[earlier, newest]);
    running.caught_up().await;

    let mut rows = running.typed("/analytics/recent").await;
    rows.sort_by_key(|row| row.get_ulong(1).unwrap());
    assert_eq!(rows.len(), counts.len());
    for (row, count) in rows.iter().zip(&counts) {
        let start = count.window_start.as_ms();
        assert_eq!(
            *row.get_string(0).unwrap(),
            format!("{}-{start}", count.user_id)
        );
        assert_eq!(row.get_timestamp_millis(2).unwrap().cast_unsigned(), start);
        assert_eq!(row.get_ulong(4).unwrap(), count.order_count);
        assert_eq!(row.get_ulong(5).ok(), count.amounts.total_cents());
        let amounts = row.get_list(6).unwrap().elements();
        assert_eq!(amounts.len(), count.amounts.as_slice().len());
    }

    let range = format!("from={}&to={}", minute(0), minute(120));
    let hours = running
        .typed(&format!("/analytics/series?step=1h&{range}"))
        .await;
    let orders: Vec<_> = hours.iter().map(|row| row.get_ulong(3).unwrap()).collect();
    assert_eq!(orders, [3, 0]);

    let spans = running.typed("/analytics/summary").await;
    let names: Vec<_> = spans
        .iter()
        .map(|row| row.get_string(0).unwrap().clone())
        .collect();
    assert_eq!(names, ["now", "last_hour", "last_day"]);
    running.stop().await;
}

async fn a_series_adds_up_the_windows_by_step(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let of = |window: u64, orders: u64, currency: &str| events::WindowSummary {
        window_start: minute(window),
        window_end: minute(window + 1),
        amounts: amounts(&[(currency, orders * 100)]),
        ..summary(0, &[(1, orders)], 0)
    };
    let windows = [
        of(0, 1, "USD"),
        of(1, 2, "USD"),
        of(59, 3, "EUR"),
        of(60, 4, "USD"),
        of(200, 9, "USD"),
    ];
    publish_summaries(&running.log, &windows);
    publish_counts(&running.log, &[count(7, 1, 2, 0), count(7, 60, 1, 0)]);
    running.caught_up().await;

    let range = format!("from={}&to={}", minute(0), minute(120));
    let hours = running
        .get(&format!("/analytics/series?step=1h&{range}"))
        .await;
    let essence = |point: &Value| {
        (
            point["orders"].as_u64().unwrap(),
            point["totals"].as_array().unwrap().len(),
            point["is_provisional"].as_bool().unwrap(),
        )
    };
    let points = hours["items"].as_array().unwrap();
    assert_eq!(
        points.iter().map(essence).collect::<Vec<_>>(),
        [(6, 2, false), (4, 1, false)]
    );
    assert_eq!(
        points[0]["totals"],
        json!([{"currency": "EUR", "minor_units": 300}, {"currency": "USD", "minor_units": 300}])
    );

    let minutes = running
        .lines(&format!("/analytics/series?step=1m&{range}"), CSV, "\r\n")
        .await;
    assert_eq!(minutes.len(), 1 + 120);
    assert_eq!(
        minutes[2],
        format!(
            "{},{},{},2,200,USD 200,false",
            minute(1).as_ms(),
            minute(1),
            minute(2)
        )
    );
    assert!(minutes[3].ends_with(",0,0,,false"), "{}", minutes[3]);

    let own = running
        .get(&format!("/analytics/series?step=1h&{range}&user=7"))
        .await;
    let own: Vec<_> = own["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(essence)
        .collect();
    assert_eq!(own, [(2, 1, false), (1, 1, false)]);
    running.stop().await;
}

async fn the_minute_that_runs_is_there_and_provisional(dynamodb: Client) {
    let orders = Orders::none();
    let running = orders.audited_by(&dynamodb).await;
    publish_summaries(&running.log, &[orders.window(1, 3, 0)]);
    orders.store(0, 2);
    running.caught_up().await;

    let series = running.get("/analytics/series?step=1d").await;
    let points = series["items"].as_array().unwrap();
    let sum: u64 = points
        .iter()
        .map(|point| point["orders"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 5, "{series}");
    assert_eq!(points.last().unwrap()["is_provisional"], json!(true));

    let now = running.get("/analytics/summary").await;
    let minute_began = now["current"]["from"].as_str().unwrap();
    // The minute may have ended since the orders were stored.
    let is_same = minute_began.parse::<Timestamp>().unwrap() == orders.minute(0);
    let expected = if is_same { 2 } else { 0 };
    assert_eq!(now["current"]["orders"], json!(expected), "{now}");
    assert_eq!(now["current"]["is_provisional"], json!(true));
    assert_eq!(now["last_day"]["orders"], json!(3));
    running.stop().await;
}

async fn a_summary_is_a_table_of_its_spans(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    publish_summaries(&running.log, &[summary(60_000, &[(1, 2), (2, 1)], 0)]);
    running.caught_up().await;

    let lines = running.lines("/analytics/summary", CSV, "\r\n").await;
    let spans: Vec<_> = lines
        .iter()
        .map(|line| line.split(',').next().unwrap())
        .collect();
    assert_eq!(spans, ["span", "now", "last_hour", "last_day"]);
    assert!(lines[1].ends_with(",3,2,true,300,USD 300"), "{}", lines[1]);

    let path = format!("/analytics/summary?from={}&to={}", minute(0), minute(60));
    let ranged = running.lines(&path, NDJSON, "\n").await;
    let range: Value = serde_json::from_str(&ranged[3]).unwrap();
    assert_eq!(
        (&range["span"], &range["from"], &range["orders"]),
        (&json!("range"), &json!(minute(0)), &json!(0))
    );
    running.stop().await;
}

async fn series_that_cannot_be_are_refused_by_field(dynamodb: Client) {
    let running = Running::start(&dynamodb, &log()).await;
    let hour = format!("from={}&to={}", minute(60), minute(0));

    for (query, field) in [
        ("step=5m", "step"),
        ("step=", "step"),
        ("from=yesterday", "from"),
        ("user=-1", "user"),
        ("product=lamp", "product"),
        ("product=", "product"),
        ("category=", "category"),
        ("category=a%00", "category"),
        (
            "user=1&product=0198a0b1-2c3d-7e4f-8a5b-6c7d8e9f0a1b",
            "product",
        ),
        ("user=1&category=a", "category"),
        (
            "category=a&product=0198a0b1-2c3d-7e4f-8a5b-6c7d8e9f0a1b",
            "category",
        ),
        ("products=a", "products"),
        (hour.as_str(), "to"),
        (
            "step=1m&from=2026-11-20T00:00:00Z&to=2026-11-22T00:00:00Z",
            "step",
        ),
        (
            "step=1d&from=2026-01-01T00:00:00Z&to=2026-11-22T00:00:00Z",
            "from",
        ),
        ("steps=1m", "steps"),
    ] {
        for accept in ["application/json", CSV] {
            let path = format!("/analytics/series?{query}");
            let reply = running
                .client
                .send("GET", &path, &[("accept", accept)], None)
                .await;
            assert_eq!(
                (reply.status.as_u16(), reply.body["field"].as_str()),
                (400, Some(field)),
                "{query}: {}",
                reply.body
            );
        }
    }

    running.stop().await;
}
