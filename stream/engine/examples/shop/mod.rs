//! The data of the examples: a few orders in an embedded log in a temporary folder.

use std::sync::Arc;
use std::time::Duration;

use events::{ORDERS, OrderCreated, OrderItem, Timestamp};
use record_log::{Cleanup, Delivery, LogSettings, NewRecord, Record, RecordLog, TopicSpec};
use stream::aggregate::{Aggregate, Key};
use stream::{Pipeline, Run, Settings, Stop};

/// Runs a job over ten minutes of orders, and prints what it published to `topic`.
pub fn run<K: Key, A: Aggregate>(pipeline: Pipeline<K, A>, topic: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let log = record_log::open(&LogSettings::Embedded {
        folder: folder.path().to_owned(),
    })?;
    put_orders(log.as_ref())?;

    let settings = Settings {
        until_end: true,
        ..Settings::default()
    };
    Run::new(pipeline, settings, Arc::clone(&log))?.run(&Stop::default())?;

    print_topic(log.as_ref(), topic)
}

/// Publishes ten minutes of orders for three products, one order every ten seconds.
fn put_orders(log: &dyn RecordLog) -> anyhow::Result<()> {
    let retention = Duration::from_secs(3600);
    log.ensure_topics(&[TopicSpec {
        name: ORDERS.to_owned(),
        partitions: 2,
        cleanup: Cleanup::Delete,
        retention,
    }])?;

    let mut publisher = log.publisher("example", Delivery::Transactional)?;
    let begin_ms = Timestamp::now().as_ms() - 600_000;
    for number in 0..60_u64 {
        let product_id = format!("00000000-0000-7000-8000-{:012}", number % 3).parse()?;
        let quantity = 1 + u32::try_from(number % 4)?;
        let unit_price_cents = 1999;

        let order = OrderCreated {
            event_id: format!("00000000-0000-7000-9000-{number:012}").parse()?,
            event_type: events::ORDER_CREATED.to_owned(),
            order_id: number,
            user_id: number % 7,
            total_cents: u64::from(quantity) * unit_price_cents,
            currency: "USD".to_owned(),
            items: vec![OrderItem {
                product_id,
                quantity,
                unit_price_cents,
            }],
            created_at: Timestamp::from_ms(begin_ms + number * 10_000)
                .expect("an instant of today"),
        };
        let key = order.user_id.to_string();
        let value = serde_json::to_vec(&order)?;
        let key = Some(key.as_bytes());
        let value = Some(value.as_slice());

        publisher.send(NewRecord {
            topic: ORDERS,
            partition: None,
            key,
            value,
            headers: &[],
        })?;
    }

    Ok(publisher.commit(&[])?)
}

#[allow(clippy::print_stdout, reason = "that is what the example is for")]
fn print_topic(log: &dyn RecordLog, topic: &str) -> anyhow::Result<()> {
    let from: Vec<(u32, u64)> = (0..log.partitions(topic)?)
        .map(|partition| (partition, 0))
        .collect();
    let mut reader = log.reader(topic, &from)?;
    let mut lines = Vec::new();

    for (partition, _) in from {
        let mut keep = |record: Record<'_>| {
            lines.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
        };
        while !reader.poll(partition, 1000, &mut keep)?.is_at_end() {}
    }

    lines.sort();
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}
